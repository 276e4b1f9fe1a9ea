/** The same done to every input of a step, each giving an output. */

import type { Image, Images, Value } from "../arrays";
import { Unfit } from "../fault";

export function eachInput<I extends Value>(one: (value: I) => Value | Promise<Value>) {
  return async (inputs: Value[]): Promise<Value[]> => {
    const made: Value[] = [];
    for (const [place, value] of inputs.entries()) {
      try {
        made.push(await one(value as I));
      } catch (fault) {
        if (fault instanceof Unfit) fault.place = place;
        throw fault;
      }
    }
    return made;
  };
}

/** The same done to every image. */
export function eachImage(one: (image: Image, row: number) => Image) {
  return eachInput<Images>((images) => ({ dtype: "images", shape: images.shape, data: images.data.map(one) }));
}
