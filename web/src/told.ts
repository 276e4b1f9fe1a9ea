/** Tensors as JSON: what samples.json has, and what a page answers when it is tried. */

import { ARRAYS, count, isBig, type Tensor } from "./arrays";

export interface Told {
  dtype: string;
  shape: number[];
  data: any[];
}

const WORDS: Record<string, number> = { NaN, Infinity, "-Infinity": -Infinity };

/** A tensor as JSON: what it has no word for as text, integers of 64 bits as text, bytes as base64. */
export function told({ dtype, shape, data }: Tensor): Told {
  const plain = (v: unknown): unknown =>
    typeof v === "bigint" || (typeof v === "number" && !Number.isFinite(v)) ? String(v) : v;
  return { dtype, shape, data: Array.from(data as ArrayLike<unknown>, plain) };
}

/** The inverse, for what samples.json has. */
export function read({ dtype, shape, data }: Told): Tensor {
  if (dtype === "bytes") {
    return { dtype, shape, data: data.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))) };
  }
  if (dtype === "string") return { dtype, shape, data };
  const made = new ARRAYS[dtype](count(shape));
  data.forEach((v, i) => {
    made[i] = (isBig(dtype) ? BigInt(v) : typeof v === "string" ? WORDS[v] : v) as never;
  });
  return { dtype, shape, data: made };
}
