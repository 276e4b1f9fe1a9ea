/** Steps on columns of a table. */

import { count, isBig, isFloat, tensor, type Numbers, type Tensor, type Text } from "../arrays";
import { Fault, Unfit, misused } from "../fault";
import { eachInput } from "./each";
import type { Options } from "./index";

/** Columns `[N]`, and matrices `[N, columns]`, side by side as one matrix. */
export const stack = ({ dtype }: Options) => (inputs: Tensor[]): Tensor[] => {
  const length = inputs[0].shape[0];
  const widths = inputs.map((value) => count(value.shape.slice(1)));
  const made: number[] = [];
  for (let row = 0; row < length; row++) {
    inputs.forEach((value, place) => {
      for (let i = 0; i < widths[place]; i++) made.push(Number((value.data as Numbers)[row * widths[place] + i]));
    });
  }
  return [tensor(dtype, [length, widths.reduce((a, b) => a + b, 0)], made)];
};

/** Each value's place in the list of levels. A text is no integer, though it may look like one. */
export function levels(options: Options) {
  const places = new Map<string | number, number>((options.levels as (string | number)[]).map((l, i) => [l, i]));
  const unknown: number | undefined = options.unknown_nan ? NaN : options.unknown;
  const missing: number | undefined = options.missing_nan ? NaN : (options.missing ?? unknown);
  if (!isFloat(options.dtype) && [unknown, missing].some((v) => v !== undefined && !Number.isInteger(v))) {
    throw new Fault("model.failed", "step 'table.levels' gives what is no integer as one");
  }
  return eachInput<Tensor>((value) => {
    const found = Array.from(value.data as ArrayLike<unknown>, (given, row) => {
      const level = typeof given === "bigint" ? Number(given) : (given as string | number | null);
      const place = level === null || level !== level ? missing : (places.get(level) ?? unknown);
      if (place === undefined) throw new Unfit("input.category", row, `is an unknown category: ${String(given)}`);
      return place;
    });
    return tensor(options.dtype, value.shape, found);
  });
}

/** NaN in columns of floats, and null in columns of text, become a value; a list has one for each column. */
export const impute = ({ value }: Options) => (inputs: Tensor[]): Tensor[] => {
  const widths = inputs.map((given) => (given.shape.length > 1 ? given.shape[1] : 1));
  const total = widths.reduce((a, b) => a + b, 0);
  const values: (number | string)[] = Array.isArray(value) ? value : Array(total).fill(value);
  if (values.length !== total) throw misused("step 'table.impute' has not a value for every column");
  let first = 0;
  return inputs.map((given, place) => {
    const own = values.slice(first, (first += widths[place]));
    if (given.dtype === "string") {
      const data = (given.data as Text[]).map((text, i) => text ?? String(own[i % own.length]));
      return { ...given, data };
    }
    if (!isFloat(given.dtype) || isBig(given.dtype)) return given;
    const filled = Array.from(given.data as Numbers, (v, i) => (v !== v ? Number(own[i % own.length]) : v));
    return tensor(given.dtype, given.shape, filled);
  });
};
