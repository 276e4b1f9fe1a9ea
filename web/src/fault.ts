/** Faults with the codes of docs/errors.md. */

export class Fault extends Error {
  constructor(readonly code: string, message: string, readonly facts: { field?: string; row?: number } = {}) {
    super(message);
    this.name = "Fault";
  }
}

/** A value that a step can do nothing with: `row` of the arrays it was given, `place` of its inputs. */
export class Unfit extends Error {
  place = 0;
  constructor(readonly code: string, readonly row: number, readonly what: string) {
    super(what);
  }
}

/** A step whose options, or whose place, make no sense. */
export const misused = (what: string): Fault => new Fault("model.run", what);
