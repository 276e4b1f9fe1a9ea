/** The page: the model's form, a table to paste, the answer below. */

import { nested, type Tensor } from "./arrays";
import { field, fieldSpecs, make, type Field } from "./form";
import { load, type Model } from "./model";
import { card, table } from "./results";
import { cells, meant } from "./table";
import { read } from "./told";

const found = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const status = found("status");
const results = found("results");

const megabytes = (size: number): string => (size >= 1e6 ? `${(size / 1e6).toFixed(1)} MB` : `${Math.ceil(size / 1e3)} KB`);

function refuse(fault: unknown): void {
  const code = (fault as { code?: string }).code;
  results.replaceChildren(make("p", { class: "fault", role: "alert" },
    code ? `${(fault as Error).message} (${code})` : String((fault as Error).message ?? fault)));
}

async function timed<T>(model: Model, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const done = await work();
  const threads = model.threads > 1 ? `, ${model.threads} threads` : "";
  status.textContent = `answered in ${(performance.now() - start).toFixed(1)} ms on ${device(model)}${threads}`;
  return done;
}

const device = (model: Model): string => (model.device === "webgpu" ? "WebGPU" : "WebAssembly");

/** One row out of the form: a table's columns and columns of their own are records, a tensor stands in a list. */
async function entered(model: Model, fields: Field[]): Promise<unknown> {
  const values: [string, unknown][] = [];
  for (const { spec, value } of fields) values.push([spec.name, await value()]);
  const batched = model.signature.inputs.every((spec) => typeof spec.shape[0] === "string");
  return batched ? [Object.fromEntries(values)] : Object.fromEntries(values);
}

let latest = 0;

/** Show what a form's last submission came to: an earlier one may take longer, and is not what stands in the form. */
function submitted(form: string, answer: () => Promise<HTMLElement>): void {
  found<HTMLFormElement>(form).addEventListener("submit", (event) => {
    event.preventDefault();
    const mine = ++latest;
    const last = <T>(show: (what: T) => void) => (what: T): void => void (mine === latest && show(what));
    void answer().then(last((made: HTMLElement) => results.replaceChildren(made)), last(refuse));
  });
}

function one(model: Model, fields: Field[]): void {
  submitted("form", async () => {
    const row = await entered(model, fields);
    return card(model.signature, await timed(model, () => model.predict(row)), 0);
  });
}

function many(model: Model): void {
  const specs = fieldSpecs(model.signature);
  const pasted = found("paste");
  if (specs.some((spec) => spec.content || spec.shape.length !== 1)) return pasted.remove();
  pasted.hidden = false;
  const area = found<HTMLTextAreaElement>("rows");
  area.placeholder = `${specs.map((spec) => spec.name).join("\t")}\n…`;
  submitted("many", async () => {
    const [names, ...lines] = cells(area.value);
    if (!lines.length) throw new Error("paste a line of names, and at least one line of values");
    const places = specs.map((spec) => names.findIndex((name) => name.trim() === spec.name));
    const missing = specs.filter((_, i) => places[i] < 0).map((spec) => spec.name);
    if (missing.length) throw new Error(`the first line lacks ${missing.join(", ")}`);
    const rows = lines.map((line) =>
      Object.fromEntries(specs.map((spec, i) => [spec.name, meant(spec, line[places[i]] ?? "")])));
    return table(model.signature, await timed(model, () => model.predict(rows)), rows.length);
  });
}

/** Rows that are nobody's, to begin with. */
async function samples(model: Model, fields: Field[]): Promise<void> {
  const button = found<HTMLButtonElement>("sample");
  if (!model.manifest.samples) return button.remove();
  const body = await (await fetch(new URL(model.manifest.samples, document.baseURI))).json();
  const inputs = Object.fromEntries(Object.entries(body.inputs).map(([name, told]) => [name, read(told as never)]));
  const first = Object.values(inputs)[0] as Tensor;
  const whole = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, nested(value as Tensor)]));
  const batched = model.signature.inputs.every((spec) => typeof spec.shape[0] === "string");
  let place = 0;
  const fill = (): void => {
    const row = place++ % (first.shape[0] || 1);
    for (const [i, { spec, fill: put }] of fields.entries()) {
      const values = whole[spec.name] ?? whole[model.signature.inputs[0].name];
      const own = batched ? (values as unknown[])[row] : values;
      put(spec.name in whole ? own : (own as unknown[])[i]);
    }
  };
  button.hidden = first.shape[0] < 2;
  button.addEventListener("click", fill);
  fill();
}

/** Everything this page has loaded, for the service worker to keep. */
async function keep(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("sw.js");
  const ready = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  navigator.serviceWorker.addEventListener("message", (event) => {
    if (event.data?.kept) found("offline").hidden = false;
  });
  ready.active?.postMessage({ keep: loaded.filter((url) => !url.endsWith("/sw.js")) });
}

async function start(): Promise<void> {
  const wanted = new URLSearchParams(location.search).get("device");
  const model = await load({
    device: wanted === "wasm" || wanted === "webgpu" ? wanted : "auto",
    progress: (what) => (status.textContent = `${what} …`),
  });
  const { manifest } = model;
  found("weights").textContent = megabytes(manifest.bytes.weights);
  found("facts").textContent = `${manifest.framework} ${manifest.kind}`;
  const fields = fieldSpecs(model.signature).map(field);
  found("fields").replaceChildren(...fields.map(({ element }) => element));
  await samples(model, fields);
  one(model, fields);
  many(model);
  found<HTMLButtonElement>("run").disabled = false;
  status.textContent = `ready, on ${device(model)}`;
  document.documentElement.dataset.ready = model.device;
}

start().then(keep).catch((fault) => {
  status.textContent = "the model cannot be run here";
  document.documentElement.dataset.ready = "failed";
  refuse(fault);
});
