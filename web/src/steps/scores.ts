/** Steps on a classifier's scores. The last axis is the classes, whatever stands before it. */

import { count, tensor, type Numbers, type Tensor } from "../arrays";
import { Fault, misused } from "../fault";
import { eachInput } from "./each";
import type { Options } from "./index";

const rounder = (dtype: string): ((x: number) => number) => (dtype === "float32" ? Math.fround : (x) => x);

/** A tensor of scores, one function a row of classes. */
function byRow(one: (scores: Numbers, made: Numbers, dtype: string) => void) {
  return eachInput<Tensor>((value) => {
    const classes = value.shape.at(-1) ?? 1;
    const made = tensor(value.dtype, value.shape, value.data as Numbers);
    for (let i = 0; i < count(value.shape); i += classes) {
      one((value.data as Numbers).subarray(i, i + classes), (made.data as Numbers).subarray(i, i + classes), value.dtype);
    }
    return made;
  });
}

/** exp(x - max) / sum, in the scores' own dtype. */
export const softmax = () =>
  byRow((scores, made, dtype) => {
    if (scores.length < 1) throw misused("step 'scores.softmax' takes a score for every class");
    const round = rounder(dtype);
    const greatest = Math.max(...(scores as Float64Array));
    let sum = 0;
    for (let i = 0; i < scores.length; i++) sum = round(sum + (made[i] = round(Math.exp(round(scores[i] - greatest)))));
    for (let i = 0; i < scores.length; i++) made[i] = made[i] / sum;
  });

/** 1 / (1 + exp(-x)), by the form that does not overflow. */
export const sigmoid = () =>
  byRow((scores, made) => {
    for (let i = 0; i < scores.length; i++) {
      const raised = Math.exp(-Math.abs(scores[i]));
      made[i] = scores[i] >= 0 ? 1 / (1 + raised) : raised / (1 + raised);
    }
  });

/** `[N]` or `[N, 1]` scores of the second class to `[N, 2]`. */
export const pair = () =>
  eachInput<Tensor>((value) => {
    if (!value.shape.length || (value.shape.length > 1 && value.shape.at(-1) !== 1)) {
      throw misused("step 'scores.pair' takes one score a row");
    }
    const round = rounder(value.dtype);
    const flat = Array.from(value.data as Numbers);
    const shape = value.shape.length === 1 ? value.shape : value.shape.slice(0, -1);
    return tensor(value.dtype, [...shape, 2], flat.flatMap((p) => [round(1 - p), p]));
  });

/** The scores of one class. */
export const one = ({ position }: Options) =>
  eachInput<Tensor>((value) => {
    const classes = value.shape.at(-1) ?? 0;
    if (value.shape.length < 2 || position >= classes) throw misused("step 'scores.one' takes more classes");
    const picked = (value.data as Numbers).filter((_, i) => i % classes === position);
    return tensor(value.dtype, value.shape.slice(0, -1), picked);
  });

/** Labels by their places: integers as int64; else texts, and what is an integer among them as its text. */
function labelled(labels: (string | number)[], places: number[], shape: number[]): Tensor {
  if (labels.every((label) => typeof label === "number")) {
    return tensor("int64", shape, places.map((place) => labels[place] as number));
  }
  return { dtype: "string", shape, data: places.map((place) => String(labels[place])) };
}

/** Places of the greatest scores of each row, falling; of equal ones the first class first, and NaN as numpy has it. */
function greatest(value: Tensor, k: number, labels: unknown[], kind: string, nanFirst: boolean): number[] {
  const classes = value.shape.at(-1) ?? 0;
  if (value.shape.length < 2 || classes !== labels.length) {
    throw misused(`step '${kind}' has not a label for every class`);
  }
  const scores = value.data as Numbers;
  const places: number[] = [];
  const rank = (x: number): number => (x === x ? x : nanFirst ? Infinity : -Infinity);
  for (let i = 0; i < scores.length; i += classes) {
    const order = Array.from({ length: classes }, (_, place) => place);
    const loose = (place: number): number => Number(Number.isNaN(scores[i + place])) * (nanFirst ? -1 : 1);
    order.sort((a, b) => loose(a) - loose(b) || compare(rank(scores[i + b]), rank(scores[i + a])) || a - b);
    places.push(...order.slice(0, k));
  }
  return places;
}

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

/** The label of the greatest score, of the first where several are. */
export const label = ({ labels }: Options) =>
  eachInput<Tensor>((value) =>
    labelled(labels, greatest(value, 1, labels, "scores.label", true), value.shape.slice(0, -1)),
  );

/** The k greatest scores, falling, and their labels. */
export function top({ k, labels }: Options) {
  if (k > labels.length) throw new Fault("model.failed", "step 'scores.top' wants more labels than there are");
  return ([value]: Tensor[]): Tensor[] => {
    const classes = value.shape.at(-1) ?? 0;
    const places = greatest(value, k, labels, "scores.top", false);
    const shape = [...value.shape.slice(0, -1), k];
    const picked = places.map((place, i) => (value.data as Numbers)[Math.floor(i / k) * classes + place]);
    return [tensor(value.dtype, shape, picked), labelled(labels, places, shape)];
  };
}

/** labels[1] where the score is greater than `at`, rounded to the scores' dtype; else labels[0]. */
export const threshold = ({ at, labels }: Options) =>
  eachInput<Tensor>((value) => {
    const bound = rounder(value.dtype)(at);
    return labelled(labels, Array.from(value.data as Numbers, (v) => Number(v > bound)), value.shape);
  });
