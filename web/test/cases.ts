/** The cases of tests/steps/*.json: read, run, compared. What runs them (Node or a browser) hands in the files. */

import { ARRAYS, count, isBig, type Image, type Value } from "../src/arrays";
import { Fault } from "../src/fault";
import { prepare } from "../src/steps";

export interface Case {
  what: string;
  options: Record<string, unknown>;
  inputs: any[];
  outputs?: any[];
  tolerance?: { absolute: number; relative: number };
  fault?: { code: string; row: number };
  files?: Record<string, string>;
}

const WORDS: Record<string, number> = { NaN, Infinity, "-Infinity": -Infinity };

export function array(told: any): Value {
  if (told.dtype === "images") {
    return { dtype: "images", shape: [told.data.length], data: told.data.map(array) as unknown as Image[] };
  }
  if (told.dtype === "bytes") {
    const data = told.data.map((text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    return { dtype: "bytes", shape: [data.length], data };
  }
  if (told.dtype === "string") return { dtype: "string", shape: told.shape, data: told.data };
  const data = new ARRAYS[told.dtype](count(told.shape));
  told.data.forEach((v: any, i: number) => {
    data[i] = (isBig(told.dtype) ? BigInt(v) : Number(typeof v === "string" ? WORDS[v] : v)) as never;
  });
  return { dtype: told.dtype, shape: told.shape, data };
}

/** Says what differs, or nothing. */
function difference(found: any, told: any, tolerance: { absolute: number; relative: number }): string {
  if (told.dtype === "images") {
    return told.data.map((one: any, i: number) => difference({ dtype: one.dtype, ...found.data[i] }, one, tolerance)).join("");
  }
  const expected: any = array(told);
  if (found.dtype !== expected.dtype) return `dtype ${found.dtype}, not ${expected.dtype}`;
  if (String(found.shape) !== String(expected.shape)) return `shape ${found.shape}, not ${expected.shape}`;
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [found.data[i], expected.data[i]];
    if (a === b || (a !== a && b !== b)) continue;
    if (typeof b === "number" && Math.abs(a - b) <= tolerance.absolute + tolerance.relative * Math.abs(b)) continue;
    return `at ${i}: ${String(a)}, not ${String(b)}`;
  }
  return "";
}

/** Run one case; gives what is wrong, or nothing. */
export async function run(kind: string, held: Case): Promise<string> {
  const inputs = Object.fromEntries(held.inputs.map((told, i) => [`in${i}`, array(told)]));
  const outputs = (held.outputs ?? held.inputs).map((_, i) => `out${i}`);
  const files = Object.fromEntries(
    Object.entries(held.files ?? {}).map(([name, text]) => [name, new TextEncoder().encode(text)]),
  );
  try {
    const step = { kind, inputs: Object.keys(inputs), outputs, options: held.options };
    const done = await prepare([step], files)(inputs);
    if (!held.outputs) return "it was taken";
    return held.outputs.map((told, i) => difference(done[outputs[i]], told, held.tolerance!)).join("; ").replace(/^(; )+$/, "");
  } catch (fault) {
    if (!held.fault || !(fault instanceof Fault)) return String((fault as Error).stack);
    const said = { code: fault.code, row: fault.facts.row };
    if (said.code !== held.fault.code || said.row !== held.fault.row) return JSON.stringify(said);
    return fault.message.startsWith(`step ${kind}: input 'in0', row ${held.fault.row}, `) ? "" : fault.message;
  }
}
