// The console's charts: asks for counts every two seconds while the page is seen, and draws what came between.

import "uplot/dist/uPlot.min.css";

import uPlot from "uplot";

import "./routes";
import { between, key, told, type Live, type Moment } from "./traffic";

const EVERY = 2000; // milliseconds
const KEPT = 150; // looks: five minutes
const MOST = 6; // versions with a line of their own: those with the most requests

const box = document.getElementById("traffic");
if (box !== null) start(box);

function start(box: HTMLElement): void {
  const rates = chart(box.querySelector<HTMLElement>("[data-chart=rate]")!, "requests/s");
  const delays = chart(box.querySelector<HTMLElement>("[data-chart=latency]")!, "p99, ms");
  const button = box.querySelector<HTMLButtonElement>("button")!;
  const looks: { at: number; of: Map<string, Moment> }[] = [];
  let last: Live | null = null;
  let paused = false;
  box.hidden = false;

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
  });

  async function look(): Promise<void> {
    if (paused || document.hidden) return;
    const reply = await fetch(box.dataset["live"]!, { cache: "no-store" });
    if (!reply.ok) throw new Error(reply.statusText);
    const now = (await reply.json()) as Live;
    if (last !== null) {
      const moments = between(last, now);
      looks.push({ at: now.at, of: moments });
      if (looks.length > KEPT) looks.shift();
      cells(now, moments);
      const names = busiest(now);
      const at = looks.map((look) => look.at);
      rates.draw(at, names, (name) => looks.map((look) => look.of.get(name)?.rate ?? null));
      delays.draw(at, names, (name) => looks.map((look) => look.of.get(name)?.p99 ?? null));
    }
    last = now;
  }

  async function turn(): Promise<void> {
    try {
      await look();
      box.classList.remove("away");
    } catch {
      box.classList.add("away"); // the server is not there: the next look may find it
    }
    window.setTimeout(turn, last !== null && looks.length === 0 ? 500 : EVERY);
  }
  void turn();
}

function busiest(now: Live): string[] {
  const asked = now.versions.filter((v) => v.requests > 0).sort((a, b) => b.requests - a.requests);
  return asked.slice(0, MOST).map(key).sort();
}

/** The numbers in the table of models. */
function cells(now: Live, moments: Map<string, Moment>): void {
  for (const version of now.versions) {
    const moment = moments.get(key(version));
    const row = document.querySelector(`tr[data-version="${CSS.escape(key(version))}"]`);
    if (row === null || moment === undefined) continue;
    for (const what of ["rate", "failed", "p50", "p99", "batch"] as const) {
      const cell = row.querySelector(`[data-cell=${what}]`);
      if (cell !== null) cell.textContent = told(moment[what]);
    }
  }
}

interface Chart {
  draw(at: number[], names: string[], values: (name: string) => (number | null)[]): void;
}

function chart(place: HTMLElement, title: string): Chart {
  let plot: uPlot | null = null;
  let drawn = "";
  const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function made(names: string[], data: uPlot.AlignedData): uPlot {
    const text = getComputedStyle(document.body).color;
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return new uPlot(
      {
        width: place.clientWidth,
        height: 200,
        title,
        cursor: { points: { size: 6 } },
        axes: [axis, { ...axis, size: 60 }],
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1e-3) * 1.1] } },
        series: [
          { label: "time" },
          ...names.map((name, at) => ({
            label: name,
            stroke: colour(`--series-${at + 1}`),
            width: 2,
            points: { show: false },
            spanGaps: false,
            value: (_: uPlot, value: number | null) => told(value),
          })),
        ],
      },
      data,
      place,
    );
  }

  function draw(at: number[], names: string[], values: (name: string) => (number | null)[]): void {
    const data = [at, ...names.map(values)] as uPlot.AlignedData;
    const wanted = names.join("\n") + matchMedia("(prefers-color-scheme: dark)").matches;
    if (plot === null || wanted !== drawn) {
      plot?.destroy();
      place.replaceChildren();
      plot = made(names, data);
      drawn = wanted;
    } else {
      plot.setData(data);
    }
  }

  addEventListener("resize", () => plot?.setSize({ width: place.clientWidth, height: 200 }));
  return { draw };
}
