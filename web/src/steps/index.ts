/**
 * Steps in TypeScript: what happens around a program. docs/steps.md has the meanings; tests/steps/*.json the cases
 * that this implementation passes, as Python's does.
 *
 * A kind is a function of a step's options and files; what it returns is called for every run with the values of the
 * step's inputs, never changes them, and gives those of its outputs.
 */

import type { Value } from "../arrays";
import { Fault, Unfit } from "../fault";
import * as image from "./image";
import { decode } from "./decode";
import { resize } from "./resize";
import * as scores from "./scores";
import * as table from "./table";
import { normalize } from "./text";
import { tokenize } from "./tokens";
import * as values from "./values";

export type Options = Record<string, any>;
export type Files = Record<string, Uint8Array>;
export type Apply = (inputs: any[]) => Value[] | Promise<Value[]>;
export type Kind = (options: Options, files: Files) => Apply;

export interface Step {
  kind: string;
  inputs: string[];
  outputs: string[];
  options: Options;
}

export const KINDS: Record<string, Kind> = {
  "text.normalize": normalize,
  "text.tokenize": tokenize,
  "image.decode": decode,
  "image.resize": resize,
  "image.crop": image.crop,
  "image.scale": image.scale,
  "image.stack": image.stack,
  "table.stack": table.stack,
  "table.levels": table.levels,
  "table.impute": table.impute,
  "scores.softmax": scores.softmax,
  "scores.sigmoid": scores.sigmoid,
  "scores.pair": scores.pair,
  "scores.one": scores.one,
  "scores.label": scores.label,
  "scores.top": scores.top,
  "scores.threshold": scores.threshold,
  "values.scale": values.scale,
  "values.map": values.mapped,
};

/** What does all of the steps, in order, to values by name. Throws a Fault that names the input, the row, the step. */
export function prepare(
  steps: Step[], files: Files,
): (given: Record<string, Value>) => Promise<Record<string, Value>> {
  const ready = steps.map((step) => ({ step, apply: KINDS[step.kind](step.options, files) }));
  return async (given) => {
    const done = { ...given };
    const origin: Record<string, string> = Object.fromEntries(Object.keys(done).map((name) => [name, name]));
    for (const { step, apply } of ready) {
      const gives = step.outputs.length ? step.outputs : step.inputs;
      try {
        const made = await apply(step.inputs.map((name) => done[name]));
        const sources = step.inputs.map((name) => origin[name]);
        gives.forEach((name, i) => {
          done[name] = made[i];
          origin[name] = sources[gives.length === sources.length ? i : 0];
        });
      } catch (fault) {
        if (!(fault instanceof Unfit)) throw fault;
        const field = origin[step.inputs[fault.place]];
        const told = `step ${step.kind}: input '${field}', row ${fault.row}, ${fault.what}`;
        throw new Fault(fault.code, told, { field, row: fault.row });
      }
    }
    return done;
  };
}
