/** Steps on decoded images. Arithmetic and rounding are those of runtime/steps/image.py. */

import { count, type Image, type Images } from "../arrays";
import { Unfit, misused } from "../fault";
import { eachImage, eachInput } from "./each";
import type { Options } from "./index";

/** Round half to even, as Python does. */
export function even(value: number): number {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(value);
}

function start(size: number, wanted: number, middle: boolean): number {
  if (!middle) return Math.floor((size - wanted) / 2);
  return size > wanted ? even((size - wanted) / 2) : -Math.floor((wanted - size) / 2);
}

/** The middle, `height` by `width`; an image that is smaller gets zeros around it. */
export function crop(options: Options) {
  const { height, width } = options as { height: number; width: number };
  const middle = options.middle === "even";
  return eachImage((image) => {
    const [rows, across, channels] = image.shape;
    const top = start(rows, height, middle);
    const left = start(across, width, middle);
    const data = image.data instanceof Uint8Array
      ? new Uint8Array(height * width * channels) : new Float32Array(height * width * channels);
    const low = Math.max(0, left);
    const high = Math.min(across, left + width);
    for (let y = Math.max(0, top); y < Math.min(rows, top + height); y++) {
      const line = image.data.subarray((y * across + low) * channels, (y * across + high) * channels);
      data.set(line, ((y - top) * width + low - left) * channels);
    }
    return { shape: [height, width, channels], data };
  });
}

/** value * factor as doubles, rounded to float32; then minus the mean, then divided by std, each as float32. */
export function scale(options: Options) {
  const { factor } = options as { factor?: number };
  const mean = options.mean && Float32Array.from(options.mean as number[]);
  const std = options.std && Float32Array.from(options.std as number[]);
  const parts = Math.max(mean?.length ?? 1, std?.length ?? 1);
  const scaled = (value: number, channel: number): number => {
    let done = factor === undefined ? Math.fround(value) : Math.fround(value * factor);
    if (mean) done = Math.fround(done - mean[channel % mean.length]);
    return std ? Math.fround(done / std[channel % std.length]) : done;
  };
  const table = Float32Array.from({ length: 256 * parts }, (_, i) => scaled(i % 256, Math.floor(i / 256)));
  return eachImage((image) => {
    const channels = image.shape[2];
    if (parts !== 1 && parts !== channels) throw misused("step 'image.scale' has not a mean and std for every channel");
    const data = new Float32Array(image.data.length);
    const whole = image.data instanceof Uint8Array;
    for (let i = 0; i < data.length; i++) {
      const channel = i % channels;
      data[i] = whole ? table[(channel % parts) * 256 + image.data[i]] : scaled(image.data[i], channel);
    }
    return { shape: image.shape, data };
  });
}

/** Images of one size as a tensor: channels first, last, or left out where there is one. */
export function stack(options: Options) {
  const { layout, dtype } = options as { layout: string; dtype?: string };
  return eachInput<Images>((images) => {
    const first: Image = images.data[0];
    images.data.forEach((image, row) => {
      if (image.shape.some((size, axis) => size !== first.shape[axis])) {
        throw new Unfit("input.media", row, "has another size than row 0");
      }
    });
    const [height, width, channels] = first.shape;
    if (layout === "NHW" && channels !== 1) throw misused("step 'image.stack' has no place for channels");
    const float = first.data instanceof Float32Array;
    if (dtype === "uint8" && float) throw misused("step 'image.stack' cannot make pixels of scaled values");
    const size = count(first.shape);
    const made = float || dtype === "float32"
      ? new Float32Array(size * images.data.length) : new Uint8Array(size * images.data.length);
    images.data.forEach((image, row) => {
      if (layout !== "NCHW") return made.set(image.data, row * size);
      for (let c = 0; c < channels; c++) {
        const plane = row * size + c * height * width;
        for (let p = 0; p < height * width; p++) made[plane + p] = image.data[p * channels + c];
      }
    });
    const last = { NCHW: [channels, height, width], NHWC: [height, width, channels], NHW: [height, width] }[layout]!;
    return { dtype: made instanceof Float32Array ? "float32" : "uint8", shape: [images.data.length, ...last], data: made };
  });
}
