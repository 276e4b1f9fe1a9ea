/**
 * Pillow's `Image.resize`, to the bit: fixed-point arithmetic with 22 bits after the point, one pass across and one
 * down, each rounded to 8 bits. Which comes first makes a difference of a level here and there: since Pillow 13 it is
 * down where that takes off more than twice as many lines. The browser's own resizing has other filters.
 *
 * The method: each output pixel is a weighted sum of the pixels under a filter, which is widened when the image
 * shrinks. Nearest takes the pixel that the middle of the output pixel falls into.
 */

import type { Image } from "../arrays";
import { Fault, Unfit } from "../fault";
import { eachImage } from "./each";
import { even } from "./image";
import type { Options } from "./index";

export const PIXELS = 32_000_000;
const BITS = 22;

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Name -> how far a filter reaches, and its weight at a distance. */
const FILTERS: Record<string, { reach: number; weight: (x: number) => number }> = {
  box: { reach: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    reach: 1,
    weight: (x) => (Math.abs(x) >= 1 ? 0 : x === 0 ? 1 : sinc(Math.abs(x)) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
  bicubic: {
    reach: 2,
    weight: (given) => {
      const x = Math.abs(given);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
  lanczos: { reach: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** For each output place: the first input place under the filter, and the weights from there on. */
function weights(filter: string, from: number, to: number): { first: number; weights: Int32Array }[] {
  const { reach, weight } = FILTERS[filter];
  const scale = from / to;
  const wide = Math.max(scale, 1);
  const support = reach * wide;
  return Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, x) => weight((x + first - center + 0.5) * (1 / wide)));
    const total = raw.reduce((a, b) => a + b, 0);
    const fixed = raw.map((w) => {
      const part = (total !== 0 ? w / total : w) * (1 << BITS);
      return Math.trunc(part < 0 ? part - 0.5 : part + 0.5);
    });
    return { first, weights: Int32Array.from(fixed) };
  });
}

/** One pass: along an axis whose neighbours are `stride` values apart, for each of `lines` lines. */
function pass(
  data: Uint8Array, filter: string, from: number, to: number, lines: number, channels: number, across: boolean,
  width: number,
): Uint8Array {
  const made = new Uint8Array(lines * to * channels);
  const places = weights(filter, from, to);
  const clipped = (sum: number): number => (sum < 0 ? 0 : sum > 255 ? 255 : sum);
  for (let line = 0; line < lines; line++) {
    for (let place = 0; place < to; place++) {
      const { first, weights: under } = places[place];
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (BITS - 1);
        for (let i = 0; i < under.length; i++) {
          const at = across ? (line * from + first + i) * channels + c : ((first + i) * width + line) * channels + c;
          sum = (sum + Math.imul(data[at], under[i])) | 0;
        }
        const target = across ? (line * to + place) * channels + c : (place * width + line) * channels + c;
        made[target] = clipped(sum >> BITS);
      }
    }
  }
  return made;
}

/** Which input place each output place takes; added up as Pillow adds, which rounds along the way. */
function nearestPlaces(from: number, to: number): Int32Array {
  const step = from / to;
  const made = new Int32Array(to);
  let at = step * 0.5;
  for (let i = 0; i < to; i++, at += step) made[i] = Math.trunc(at);
  return made;
}

function nearest(image: Image, height: number, width: number): Uint8Array {
  const [from, across, channels] = image.shape;
  const [down, right] = [nearestPlaces(from, height), nearestPlaces(across, width)];
  const made = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        made[(y * width + x) * channels + c] = image.data[(down[y] * across + right[x]) * channels + c];
      }
    }
  }
  return made;
}

/** An image of uint8 in another size. */
export function resampled(image: Image, filter: string, height: number, width: number): Image {
  const [from, across, channels] = image.shape;
  let data = image.data as Uint8Array;
  if (filter === "nearest") {
    if (from !== height || across !== width) data = nearest(image, height, width);
  } else {
    const wide = (lines: number): void => {
      if (across !== width) data = pass(data, filter, across, width, lines, channels, true, width);
    };
    const high = (line: number): void => {
      if (from !== height) data = pass(data, filter, from, height, line, channels, false, line);
    };
    const downFirst = from > height && from - height > 2 * (across - width); // as Pillow 13 decides
    if (downFirst) {
      high(across);
      wide(height);
    } else {
      wide(from);
      high(width);
    }
  }
  return { shape: [height, width, channels], data };
}

type Size = (height: number, width: number) => [number, number];

const short = (height: number, width: number, edge: number): [number, number] =>
  width <= height ? [Math.trunc((edge * height) / width), edge] : [edge, Math.trunc((edge * width) / height)];

const long = (height: number, width: number, edge: number): [number, number] =>
  height >= width
    ? [edge, Math.max(1, Math.trunc((edge * width) / height))]
    : [Math.max(1, Math.trunc((edge * height) / width)), edge];

function within(height: number, width: number, shortest: number, longest: number): [number, number] {
  const [low, high] = [Math.min(height, width), Math.max(height, width)];
  let exact = shortest;
  if ((high / low) * shortest > longest) {
    exact = (longest * low) / high;
    shortest = Math.max(1, even(exact));
  }
  if (low === shortest) return [height, width];
  return width < height
    ? [Math.trunc((exact * height) / width), shortest] : [shortest, Math.trunc((exact * width) / height)];
}

/** From an image's height and width to those it gets, by which options there are. */
function sized(options: Options): Size {
  const { height, width, shortest, longest } = options;
  if (height && width && !shortest && !longest) return () => [height, width];
  if (height || width || !(shortest || longest)) throw new Fault("model.failed", "step 'image.resize' has no size");
  if (shortest && longest) return (h, w) => within(h, w, shortest, longest);
  return shortest ? (h, w) => short(h, w, shortest) : (h, w) => long(h, w, longest);
}

export function resize(options: Options) {
  const size = sized(options);
  return eachImage((image, row) => {
    const [height, width] = size(image.shape[0], image.shape[1]);
    if (height * width > PIXELS) throw new Unfit("input.media", row, "is too long and narrow");
    return resampled(image, options.resample, height, width);
  });
}
