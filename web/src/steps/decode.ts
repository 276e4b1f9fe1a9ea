/**
 * A file's bytes to pixels. PNG is decoded here, to the bit; JPEG, GIF, BMP and WebP by the browser, through a canvas:
 * what is transparent among those is refused, because a canvas does not keep the colour below.
 */

import type { Image, Images, Tensor } from "../arrays";
import { Unfit } from "../fault";
import { eachInput } from "./each";
import type { Options } from "./index";
import { Damaged, Deep, orientation, png, sizeOf, type Picture } from "./png";
import { PIXELS } from "./resize";

const starts = (raw: Uint8Array, text: string, at = 0): boolean =>
  raw.length >= at + text.length && [...text].every((c, i) => raw[at + i] === c.charCodeAt(0));

interface Format {
  name: string;
  is: (raw: Uint8Array) => boolean;
  /** Width and height out of the header. */
  size: (raw: Uint8Array) => [number, number];
  decode: (raw: Uint8Array) => Promise<Picture>;
}

const little = (raw: Uint8Array, at: number, bytes: number): number => {
  if (at + bytes > raw.length) throw new Damaged("it ends too early");
  return raw.subarray(at, at + bytes).reduceRight((sum, byte) => sum * 256 + byte, 0);
};

const FORMATS: Format[] = [
  { name: "PNG", is: (raw) => raw[0] === 0x89 && starts(raw, "PNG\r\n\x1a\n", 1), size: sizeOf, decode: png },
  { name: "JPEG", is: (raw) => raw[0] === 0xff && raw[1] === 0xd8 && raw[2] === 0xff, size: jpegSize, decode: jpeg },
  { name: "GIF", is: (raw) => starts(raw, "GIF87a") || starts(raw, "GIF89a"),
    size: (raw) => [little(raw, 6, 2), little(raw, 8, 2)], decode: (raw) => drawn(raw, "image/gif", 1) },
  { name: "BMP", is: (raw) => starts(raw, "BM"),
    size: (raw) => [Math.abs(little(raw, 18, 4) | 0), Math.abs(little(raw, 22, 4) | 0)],
    decode: (raw) => drawn(raw, "image/bmp", 1) },
  { name: "WebP", is: (raw) => starts(raw, "RIFF") && starts(raw, "WEBP", 8), size: webpSize, decode: webp },
];

/** A file's first picture as `[height, width, channels]` of uint8, three channels or one. */
export function decode(options: Options) {
  const limit: number = options.max_pixels ?? PIXELS;
  return eachInput<Tensor>(async (value): Promise<Images> => {
    const data: Image[] = [];
    for (const [row, raw] of (value.data as unknown[]).entries()) data.push(await one(raw, row, limit, options));
    return { dtype: "images", shape: value.shape, data };
  });
}

async function one(raw: unknown, row: number, limit: number, options: Options): Promise<Image> {
  const format = raw instanceof Uint8Array ? FORMATS.find((f) => f.is(raw)) : undefined;
  if (!format) throw new Unfit("input.media", row, "is no image that is read here");
  try {
    const [width, height] = format.size(raw as Uint8Array);
    if (width * height > limit) throw new Unfit("input.media", row, `has too many pixels: ${width}x${height}`);
    const picture = await format.decode(raw as Uint8Array);
    return plain(options.rotate ? turned(picture) : picture, options.mode, options.alpha === "white");
  } catch (fault) {
    if (fault instanceof Unfit) throw fault;
    if (fault instanceof Deep) throw new Unfit("input.media", row, "has pixels of more than 8 bits");
    if (fault instanceof Clear) {
      throw new Unfit("input.media", row, `is a ${format.name} file with transparency, which only PNG may have here`);
    }
    throw new Unfit("input.media", row, `is a damaged ${format.name} file (${String((fault as Error).message)})`);
  }
}

/** Transparency that a canvas would not keep. */
class Clear extends Error {}

/** Three channels or one; grey is ITU-R 601-2 as Pillow rounds it, and so is what lies on white. */
function plain({ width, height, rgba, alpha }: Picture, mode: string, white: boolean): Image {
  const channels = mode === "L" ? 1 : 3;
  const data = new Uint8Array(width * height * channels);
  const pixel = [0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixel[c] = white && alpha ? onWhite(rgba[i * 4 + c], rgba[i * 4 + 3]) : rgba[i * 4 + c];
    if (channels === 3) data.set(pixel, i * 3);
    else data[i] = (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
  }
  return { shape: [height, width, channels], data };
}

/** Pillow's alpha_composite over opaque white, in its fixed-point arithmetic. */
function onWhite(value: number, alpha: number): number {
  if (alpha === 0) return 255;
  const sum = value * alpha * 128 + 255 * (255 - alpha) * 128 + (0x80 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** Upright, as an EXIF orientation says. */
export function turned(picture: Picture): Picture {
  const { width, height, turn } = picture;
  if (turn < 2 || turn > 8) return picture;
  const swapped = turn > 4;
  const [across, down] = swapped ? [height, width] : [width, height];
  const from = new Uint32Array(picture.rgba.slice().buffer);
  const made = new Uint32Array(from.length);
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      const [a, b] = swapped ? [y, x] : [x, y]; // place along the source's width, and its height, before mirroring
      const right = [2, 3, 7, 8].includes(turn) ? width - 1 - a : a;
      const low = [3, 4, 6, 7].includes(turn) ? height - 1 - b : b;
      made[y * across + x] = from[low * width + right];
    }
  }
  return { ...picture, width: across, height: down, rgba: new Uint8Array(made.buffer), turn: 1 };
}

/** Drawn by the browser, and read back. Opaque pixels come back as they are in the file. */
async function drawn(raw: Uint8Array, type: string, turn: number): Promise<Picture> {
  const bitmap = await createImageBitmap(new Blob([raw as BlobPart], { type }), {
    colorSpaceConversion: "none", premultiplyAlpha: "none",
  });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) throw new Clear();
  return { width, height, rgba, alpha: false, turn };
}

/** The segments of a JPEG file up to its first scan: (marker, start, end). */
function* segments(raw: Uint8Array): Generator<[number, number, number]> {
  for (let at = 2; at + 4 <= raw.length; ) {
    const marker = raw[at + 1];
    if (raw[at] !== 0xff || marker === 0xff || marker === 0) throw new Damaged("a marker is not where it must be");
    const end = at + 2 + raw[at + 2] * 256 + raw[at + 3];
    yield [marker, at, end];
    if (marker === 0xda) return;
    at = end;
  }
  throw new Damaged("it ends too early");
}

function frame(raw: Uint8Array): number {
  for (const [marker, at] of segments(raw)) {
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return at;
  }
  throw new Damaged("it has no frame");
}

function jpegSize(raw: Uint8Array): [number, number] {
  const at = frame(raw);
  return [raw[at + 7] * 256 + raw[at + 8], raw[at + 5] * 256 + raw[at + 6]];
}

/** Without its EXIF data, by which the browser would turn it, and its colour profile. */
async function jpeg(raw: Uint8Array): Promise<Picture> {
  if (raw[frame(raw) + 9] > 3) throw new Damaged("its colours are those of print: CMYK");
  let turn = 1;
  const parts = [raw.subarray(0, 2)];
  let scan = raw.length;
  for (const [marker, at, end] of segments(raw)) {
    const exif = marker === 0xe1 && starts(raw, "Exif\0\0", at + 4);
    if (exif) turn = orientation(raw.subarray(at + 10, end));
    if (marker === 0xda) scan = at;
    else if (!exif && marker !== 0xe2) parts.push(raw.subarray(at, end));
  }
  let last = raw.length - 2;
  while (last > scan && !(raw[last] === 0xff && raw[last + 1] === 0xd9)) last--;
  if (last <= scan) throw new Damaged("it ends too early"); // the browser would leave the rest grey
  parts.push(raw.subarray(scan));
  return drawn(new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()), "image/jpeg", turn);
}

function webpSize(raw: Uint8Array): [number, number] {
  if (starts(raw, "VP8X", 12)) return [little(raw, 24, 3) + 1, little(raw, 27, 3) + 1];
  if (starts(raw, "VP8L", 12)) {
    const bits = little(raw, 21, 4);
    return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
  }
  return [little(raw, 26, 2) & 0x3fff, little(raw, 28, 2) & 0x3fff];
}

/** Its chunks without EXIF data and colour profile. */
async function webp(raw: Uint8Array): Promise<Picture> {
  let turn = 1;
  const parts: Uint8Array[] = [];
  for (let at = 12; at + 8 <= raw.length; ) {
    const end = at + 8 + little(raw, at + 4, 4);
    if (end > raw.length) throw new Damaged("it ends too early");
    const body = raw.subarray(at + 8, end);
    const padded = raw.slice(at, end + (end % 2));
    if (starts(raw, "EXIF", at)) turn = orientation(starts(body, "Exif\0\0") ? body.subarray(6) : body);
    else if (!starts(raw, "ICCP", at)) {
      if (starts(raw, "VP8X", at)) padded[8] &= ~0x28; // the bits that announce both
      parts.push(padded);
    }
    at = end + (end % 2);
  }
  const size = parts.reduce((sum, part) => sum + part.length, 4);
  const head = Uint8Array.from([..."RIFF"].map((c) => c.charCodeAt(0)).concat([0, 8, 16, 24].map((s) => (size >> s) & 255))
    .concat([..."WEBP"].map((c) => c.charCodeAt(0))));
  return drawn(new Uint8Array(await new Blob([head, ...parts] as BlobPart[]).arrayBuffer()), "image/webp", turn);
}
