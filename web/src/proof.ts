/**
 * Runs the model on rows that whoever shipped it hands over, and hands back the answers: `setsail ship` opens a page
 * with this in a browser and compares. No part of the site links to it.
 */

import { rows as rowsOf, type Tensor } from "./arrays";
import { load, type Model } from "./model";
import { read, told, type Told } from "./told";

async function answers(model: Model, inputs: Record<string, Tensor>, batch: number): Promise<Record<string, Told>[]> {
  const all = Object.values(inputs)[0].shape[0];
  const parts: Record<string, Told>[] = [];
  for (let start = 0; start < all; start += batch || all) {
    const part = batch ? Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => [name, rowsOf(value, start, start + batch)])) : inputs;
    const made = await model.tensors(part);
    parts.push(Object.fromEntries(Object.entries(made).map(([name, value]) => [name, told(value)])));
  }
  return parts;
}

/** GET `samples`, a list of {inputs, batch}; POST what came of them to `answer`. */
export async function prove(samples: string, answer: string, device: "auto" | "webgpu" | "wasm"): Promise<void> {
  let body: unknown;
  try {
    const model = await load({ device });
    const asked = await (await fetch(samples)).json();
    const made = [];
    for (const { inputs, batch } of asked) {
      const read_ = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, read(value as Told)]));
      made.push(await answers(model, read_, batch));
    }
    body = { device: model.device, threads: model.threads, answers: made };
  } catch (fault) {
    body = { fault: String((fault as Error).stack ?? fault) };
  }
  await fetch(answer, { method: "POST", body: JSON.stringify(body) });
}
