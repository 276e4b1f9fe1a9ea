/** Answers as people read them: labels large, probabilities as bars, numbers as numbers, the rest as JSON. */

import { isFloat } from "./arrays";
import { make } from "./form";
import type { Signature, Spec } from "./signature";

const BARS = 10;

/** Seven digits say all that a float32 holds; a probability needs fewer. */
function written(value: unknown, spec: Spec): string {
  if (value === null) return "—";
  if (typeof value !== "number" || !isFloat(spec.dtype)) return String(value);
  return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : String(value);
}

/** One row's answer. `answers` has every output's values by name. */
export function card(signature: Signature, answers: Record<string, any>, row: number): HTMLElement {
  const list = make("dl", { class: "answer" });
  for (const spec of signature.outputs) {
    const batched = typeof spec.shape[0] === "string";
    const value = batched ? answers[spec.name][row] : answers[spec.name];
    const main = signature.defaults.includes(spec.name) || spec.name === "label";
    list.append(make("dt", {}, spec.name), make("dd", { class: main ? "main" : "" }, rendered(spec, value)));
  }
  return list;
}

function rendered(spec: Spec, value: unknown): Node | string {
  if (!Array.isArray(value)) return written(value, spec);
  const flat = value.every((one) => !Array.isArray(one));
  if (flat && value.length === spec.labels?.length && isFloat(spec.dtype)) return bars(spec, value);
  if (flat && value.length <= BARS) return value.map((one) => written(one, spec)).join(", ");
  const text = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one));
  const details = make("details", {}, make("summary", {}, `${shape(value).join(" × ")} values`));
  details.append(make("pre", {}, text.length > 20_000 ? `${text.slice(0, 20_000)} …` : text));
  return details;
}

function shape(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shape(value[0])] : [];
}

function bars(spec: Spec, values: number[]): Node {
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a]).slice(0, BARS);
  const list = make("ul", { class: "bars" });
  for (const i of order) {
    const share = values[i] >= 0 && values[i] <= 1;
    const bar = make("meter", { min: 0, max: 1, value: share ? values[i] : 0, "aria-hidden": "true", hidden: !share });
    const said = share ? `${(values[i] * 100).toFixed(1)} %` : written(values[i], spec);
    list.append(make("li", {}, make("span", {}, spec.labels![i]), bar, make("span", { class: "number" }, said)));
  }
  if (values.length > BARS) list.append(make("li", { class: "kind" }, `and ${values.length - BARS} more`));
  return list;
}

/** Many rows' answers as a table: the defaults, then one column for each other output of one value. */
export function table(signature: Signature, answers: Record<string, any>, count: number): HTMLElement {
  const specs = signature.outputs.filter((spec) => typeof spec.shape[0] === "string");
  const head = make("tr", {}, make("th", { scope: "col" }, "row"),
    ...specs.map((spec) => make("th", { scope: "col" }, spec.name)));
  const body = make("tbody");
  for (let row = 0; row < Math.min(count, 1000); row++) {
    const parts = specs.map((spec) => {
      const value = answers[spec.name][row];
      const best = Array.isArray(value) && spec.labels?.length === value.length
        ? value.map((v: number, i: number) => `${spec.labels![i]} ${written(v, spec)}`).join(", ") : JSON.stringify(value);
      return make("td", {}, Array.isArray(value) ? best : written(value, spec));
    });
    body.append(make("tr", {}, make("th", { scope: "row" }, String(row)), ...parts));
  }
  return make("div", { class: "wide", tabindex: 0 }, make("table", {}, make("thead", {}, head), body));
}
