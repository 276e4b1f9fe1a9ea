/** The tensor contract of a model, and the one check of what is asked of it, with the codes of docs/errors.md. */

import { ARRAYS, count, isBig, isFloat, type Numbers, type Tensor, type Text } from "./arrays";
import { Fault } from "./fault";

export interface Spec {
  name: string;
  dtype: string;
  shape: (number | string)[];
  columns?: string[];
  categories?: string[];
  labels?: string[];
  closed?: boolean;
  nullable?: boolean;
  content?: string;
}

export interface Signature {
  inputs: Spec[];
  outputs: Spec[];
  defaults: string[];
}

const RANGES: Record<string, [bigint, bigint]> = Object.fromEntries(
  [8, 16, 32, 64].flatMap((bits) => [
    [`int${bits}`, [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]],
    [`uint${bits}`, [0n, (1n << BigInt(bits)) - 1n]],
  ]),
);

/** The one homogeneous table among the inputs, if that is what the model takes. */
export const tableOf = ({ inputs }: Signature): Spec | undefined =>
  inputs.length === 1 && inputs[0].columns && inputs[0].shape.length === 2 ? inputs[0] : undefined;

/**
 * What was given to `predict` as one tensor for each input.
 *
 * Taken are columns by the names of the inputs (or of a table's columns), rows as records by those names, and for a
 * table rows as lists. Values are nested arrays, typed arrays or tensors.
 */
export function bind(signature: Signature, given: unknown): Record<string, Tensor> {
  const columns = asColumns(signature, given);
  const known = new Set(signature.inputs.map((spec) => spec.name));
  for (const name of Object.keys(columns)) {
    if (!known.has(name)) throw new Fault("input.unknown", `there is no input '${name}'`, { field: name });
  }
  const sizes = new Map<string, number>();
  const bound: Record<string, Tensor> = {};
  for (const spec of signature.inputs) {
    if (!(spec.name in columns)) {
      throw new Fault("input.missing", `input '${spec.name}' is missing`, { field: spec.name });
    }
    bound[spec.name] = checked(spec, columns[spec.name], sizes);
  }
  return bound;
}

function asColumns(signature: Signature, given: unknown): Record<string, unknown> {
  if (given === null || typeof given !== "object") throw new Fault("request.form", "columns or rows were expected");
  const table = tableOf(signature);
  if (Array.isArray(given)) {
    if (table) return { [table.name]: given.map((row, i) => (Array.isArray(row) ? row : inOrder(table, row, i))) };
    if (given.some((row) => row === null || typeof row !== "object" || Array.isArray(row))) {
      throw new Fault("request.form", "rows are records by the names of the inputs");
    }
    const names = [...new Set(given.flatMap((row) => Object.keys(row)))];
    return Object.fromEntries(names.map((name) => [name, given.map((row, i) => {
      if (!(name in row)) throw new Fault("input.missing", `row ${i} has no '${name}'`, { field: name, row: i });
      return row[name];
    })]));
  }
  const columns = given as Record<string, any>;
  if (!table || table.name in columns) return columns;
  const first = columns[Object.keys(columns)[0]] ?? [];
  const rows = Array.from({ length: first.length }, (_, i) =>
    Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]])));
  return { [table.name]: rows.map((row, i) => inOrder(table, row, i)) };
}

function inOrder(table: Spec, row: any, place: number): unknown[] {
  for (const name of Object.keys(row)) {
    if (!table.columns!.includes(name)) throw new Fault("input.unknown", `there is no column '${name}'`, { field: name });
  }
  return table.columns!.map((name) => {
    if (!(name in row)) throw new Fault("input.missing", `row ${place} has no '${name}'`, { field: name, row: place });
    return row[name];
  });
}

const isTensor = (value: any): value is Tensor => typeof value?.dtype === "string" && Array.isArray(value.shape);

function checked(spec: Spec, given: unknown, sizes: Map<string, number>): Tensor {
  const { shape, values } = isTensor(given)
    ? { shape: given.shape, values: given.data as ArrayLike<unknown> } : flattened(spec, given);
  const fits = shape.length === spec.shape.length &&
    spec.shape.every((dim, axis) => typeof dim === "string" || dim === shape[axis]);
  if (shape.length && !count(shape)) throw new Fault("input.empty", `input '${spec.name}' is empty`, { field: spec.name });
  if (!fits) {
    const told = `input '${spec.name}' has the shape [${shape}], not [${spec.shape}]`;
    throw new Fault("input.shape", told, { field: spec.name });
  }
  spec.shape.forEach((dim, axis) => {
    if (typeof dim !== "string") return;
    const known = sizes.get(dim) ?? shape[axis];
    sizes.set(dim, known);
    if (known !== shape[axis]) {
      throw new Fault("input.length", `input '${spec.name}' has ${shape[axis]} where others have ${known}`,
        { field: spec.name });
    }
  });
  const width = Math.max(1, count(shape.slice(1)));
  const one = converter(spec);
  const converted = Array.from(values, (value, i) => one(value, Math.floor(i / width)));
  if (spec.dtype === "string") return { dtype: spec.content ? "bytes" : "string", shape, data: converted as Text[] };
  const data = new ARRAYS[spec.dtype](converted.length);
  converted.forEach((value, i) => (data[i] = value as never));
  if (isFloat(spec.dtype)) unbounded(spec, data as Numbers, converted as number[], width);
  return { dtype: spec.dtype, shape, data };
}

/** A finite number that the dtype makes infinite does not fit. */
function unbounded(spec: Spec, data: Numbers, given: number[], width: number): void {
  const place = data.findIndex((value, i) => !Number.isFinite(value) && Number.isFinite(given[i]));
  if (place >= 0) refuse("input.range", spec, Math.floor(place / width), "is outside the dtype");
}

/** Nested lists in a row, with their shape. Bytes are values, not lists. */
function flattened(spec: Spec, given: unknown): { shape: number[]; values: unknown[] } {
  const list = (value: unknown): value is unknown[] =>
    Array.isArray(value) || (ArrayBuffer.isView(value) && !(spec.content && value instanceof Uint8Array));
  const shape: number[] = [];
  for (let at: unknown = given; list(at); at = at[0]) shape.push(at.length);
  const values: unknown[] = [];
  const walk = (value: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (list(value)) throw new Fault("input.ragged", `input '${spec.name}' is ragged`, { field: spec.name });
      values.push(value);
    } else if (!list(value) || value.length !== shape[axis]) {
      throw new Fault("input.ragged", `input '${spec.name}' has rows of different lengths`, { field: spec.name });
    } else for (const one of value as ArrayLike<unknown> as unknown[]) walk(one, axis + 1);
  };
  walk(given, 0);
  return { shape, values };
}

function refuse(code: string, spec: Spec, row: number, what: string): never {
  throw new Fault(code, `input '${spec.name}', row ${row} ${what}`, { field: spec.name, row });
}

/** From a value to what the dtype's array holds. */
function converter(spec: Spec): (value: unknown, row: number) => unknown {
  const level = (value: unknown, row: number): void => {
    if (spec.closed && !spec.categories!.includes(String(value))) {
      refuse("input.category", spec, row, `is an unknown category: ${String(value)}`);
    }
  };
  if (spec.content) return (value, row) => bytes(spec, value, row);
  if (spec.dtype === "string") {
    return (value, row) => {
      if (value === null || value === undefined) {
        if (!spec.nullable) refuse("input.null", spec, row, "is null");
        return null;
      }
      if (typeof value !== "string") refuse("input.dtype", spec, row, "is no text");
      level(value, row);
      return value;
    };
  }
  if (spec.dtype === "bool") {
    return (value, row) => {
      if (value !== true && value !== false && value !== 0 && value !== 1) refuse("input.dtype", spec, row, "is neither true nor false");
      return Number(value);
    };
  }
  if (isFloat(spec.dtype)) {
    return (value, row) => {
      if (value === null || value === undefined) {
        if (!spec.nullable) refuse("input.null", spec, row, "is null");
        return NaN;
      }
      if (typeof value !== "number" && typeof value !== "bigint") refuse("input.dtype", spec, row, "is no number");
      if (!spec.nullable && !Number.isFinite(Number(value))) refuse("input.nan", spec, row, "is not a finite number");
      return Number(value);
    };
  }
  const [low, high] = RANGES[spec.dtype];
  const big = isBig(spec.dtype);
  return (value, row) => {
    if (value === null || value === undefined) refuse("input.null", spec, row, "is null");
    if (typeof value !== "bigint" && !Number.isInteger(value)) refuse("input.dtype", spec, row, "is no integer");
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      refuse("input.range", spec, row, "is beyond what a JavaScript number holds exactly; give a BigInt");
    }
    const whole = BigInt(value as number);
    if (whole < low || whole > high) refuse("input.range", spec, row, "is outside the dtype");
    level(whole, row);
    return big ? whole : Number(whole);
  };
}

function bytes(spec: Spec, value: unknown, row: number): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (typeof value !== "string") refuse("input.dtype", spec, row, "is neither bytes nor base64");
  try {
    return Uint8Array.from(atob((value as string).replace(/^data:[^,]*,/, "")), (c) => c.charCodeAt(0));
  } catch {
    return refuse("input.dtype", spec, row, "is no base64");
  }
}
