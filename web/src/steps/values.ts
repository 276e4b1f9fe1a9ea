/** Steps on a regressor's values: computed as doubles, and rounded once to the values' own dtype. */

import { isFloat, tensor, type Numbers, type Tensor } from "../arrays";
import { misused } from "../fault";
import { eachInput } from "./each";
import type { Options } from "./index";

const FUNCTIONS: Record<string, (x: number) => number> = {
  exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, square: (x) => x * x, sqrt: Math.sqrt,
};

const done = (value: Tensor, one: (x: number, place: number) => number): Tensor =>
  tensor(isFloat(value.dtype) ? value.dtype : "float64", value.shape,
    Array.from(value.data as Numbers, (v, i) => one(Number(v), i)));

/** value * factor + offset, one or one for each place of the last axis. */
export function scale({ factor = 1, offset = 0 }: Options) {
  const [times, plus] = [factor, offset].map((part) => (Array.isArray(part) ? part : [part]) as number[]);
  return eachInput<Tensor>((value) => {
    const last = value.shape.at(-1) ?? 1;
    if ([times, plus].some((part) => part.length !== 1 && part.length !== last)) {
      throw misused("step 'values.scale' has not a factor and offset for every column");
    }
    return done(value, (x, i) => x * times[(i % last) % times.length] + plus[(i % last) % plus.length]);
  });
}

export const mapped = (options: Options) => eachInput<Tensor>((value) => done(value, FUNCTIONS[options.function]));
