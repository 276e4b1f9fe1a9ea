/** Tensors as the browser holds them: a dtype, a shape, values in a row. A missing text is null. */

export type Numbers =
  | Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
export type Whole = BigInt64Array | BigUint64Array;
export type Text = string | null;

export interface Tensor {
  dtype: string;
  shape: number[];
  data: Numbers | Whole | Text[] | Uint8Array[];
}

/** One decoded image: `[height, width, channels]`, uint8 until it is scaled. */
export interface Image {
  shape: [number, number, number];
  data: Uint8Array | Float32Array;
}

/** What is between steps: a tensor, or an array of images of different sizes. */
export interface Images {
  dtype: "images";
  shape: number[];
  data: Image[];
}

export type Value = Tensor | Images;

/** Which typed array holds a dtype; texts and bytes have plain arrays. */
export const ARRAYS: Record<string, { new (size: number): Numbers | Whole }> = {
  bool: Uint8Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  float32: Float32Array, float64: Float64Array,
};

export const NULL = "\ufdd0"; // a missing text inside a program, which knows no null

export const isFloat = (dtype: string): boolean => dtype.startsWith("float");
export const isBig = (dtype: string): boolean => dtype === "int64" || dtype === "uint64";
export const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A tensor of a dtype from numbers, which are rounded as the dtype rounds. */
export function tensor(dtype: string, shape: number[], values: ArrayLike<number | bigint>): Tensor {
  const data = new ARRAYS[dtype](count(shape));
  const big = isBig(dtype);
  for (let i = 0; i < data.length; i++) data[i] = (big ? BigInt(values[i]) : Number(values[i])) as never;
  return { dtype, shape, data };
}

/** Rows `start` to `end` of a value whose first axis is rows. */
export function rows<V extends Value>(value: V, start: number, end: number): V {
  const width = count(value.shape.slice(1));
  const data = (value.data as Uint8Array).slice(start * width, end * width);
  return { ...value, shape: [Math.min(end, value.shape[0]) - start, ...value.shape.slice(1)], data } as V;
}

/** Values one after the other along the first axis. */
export function joined(parts: Tensor[]): Tensor {
  const first = parts[0];
  const shape = [parts.reduce((sum, part) => sum + part.shape[0], 0), ...first.shape.slice(1)];
  if (Array.isArray(first.data)) return { ...first, shape, data: parts.flatMap((part) => part.data as Text[]) };
  const data = new ARRAYS[first.dtype](count(shape));
  let place = 0;
  for (const part of parts) {
    (data as Uint8Array).set(part.data as Uint8Array, place);
    place += (part.data as Uint8Array).length;
  }
  return { ...first, shape, data };
}

/** Nested lists, as people read them: integers as numbers where they are exact, truth values as such. */
export function nested(value: Tensor): unknown {
  const plain = (v: unknown): unknown => {
    if (typeof v === "bigint") return Number.isSafeInteger(Number(v)) ? Number(v) : v;
    return value.dtype === "bool" ? Boolean(v) : v;
  };
  const build = (axis: number, start: number, size: number): unknown => {
    if (axis === value.shape.length) return plain((value.data as unknown[])[start]);
    const step = size / value.shape[axis];
    return Array.from({ length: value.shape[axis] }, (_, i) => build(axis + 1, start + i * step, step));
  };
  return build(0, 0, count(value.shape));
}
