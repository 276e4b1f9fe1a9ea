/**
 * PNG files to their stored values, by the specification (ISO/IEC 15948). The browser's own way, through a canvas,
 * loses the colour below transparent pixels and may change colours by a profile.
 */

export interface Picture {
  width: number;
  height: number;
  /** RGBA; of what has no alpha, 255. */
  rgba: Uint8Array;
  /** Whether the file says of anything that it is transparent. */
  alpha: boolean;
  /** EXIF orientation, 1 to 8. */
  turn: number;
}

export class Damaged extends Error {}
/** More than 8 bits of grey: what other decoders cut off. */
export class Deep extends Error {}

const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

interface Chunks {
  header: DataView;
  data: Uint8Array[];
  palette: Uint8Array;
  clear?: Uint8Array;
  exif?: Uint8Array;
}

/** The chunks that matter; every chunk's checksum is held. */
function chunks(raw: Uint8Array): Chunks {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const found: Partial<Chunks> & { data: Uint8Array[]; palette: Uint8Array } = { data: [], palette: new Uint8Array() };
  for (let at = 8; ; ) {
    if (at + 12 > raw.length) throw new Damaged("it ends too early");
    const size = view.getUint32(at);
    const end = at + 8 + size;
    if (end + 4 > raw.length) throw new Damaged("it ends too early");
    const kind = String.fromCharCode(...raw.subarray(at + 4, at + 8));
    const body = raw.subarray(at + 8, end);
    if (crc(raw.subarray(at + 4, end)) !== view.getUint32(end)) throw new Damaged(`a wrong checksum of ${kind}`);
    if (kind === "IHDR") found.header = new DataView(body.buffer, body.byteOffset, body.byteLength);
    else if (kind === "PLTE") found.palette = body;
    else if (kind === "tRNS") found.clear = body;
    else if (kind === "eXIf") found.exif = body;
    else if (kind === "IDAT") found.data.push(body);
    else if (kind === "IEND") break;
    at = end + 4;
  }
  if (!found.header || found.header.byteLength !== 13) throw new Damaged("it has no header");
  return found as Chunks;
}

/** Width and height out of the first chunk. */
export function sizeOf(raw: Uint8Array): [number, number] {
  if (raw.length < 24) throw new Damaged("it ends too early");
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return [view.getUint32(16), view.getUint32(20)];
}

async function inflated(parts: Uint8Array[], size: number): Promise<Uint8Array> {
  const made = new Uint8Array(size);
  let place = 0;
  try {
    const source = new Blob(parts as BlobPart[]).stream().pipeThrough(new DecompressionStream("deflate"));
    const reader = source.getReader();
    while (place < size) {
      const { done, value } = await reader.read();
      if (done) break;
      made.set(value.subarray(0, size - place), place);
      place += Math.min(value.length, size - place);
    }
    await reader.cancel();
  } catch {
    throw new Damaged("its data cannot be decompressed");
  }
  if (place < size) throw new Damaged("it has too few pixels");
  return made;
}

const paeth = (a: number, b: number, c: number): number => {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
};

/** Undo the filters of one pass, in place; gives the position after it. */
function unfiltered(data: Uint8Array, at: number, lines: number, width: number, step: number): number {
  for (let y = 0; y < lines; y++) {
    const filter = data[at++];
    const up = at - width - 1;
    if (filter > 4) throw new Damaged("an unknown filter");
    for (let x = 0; x < width; x++) {
      const a = x >= step ? data[at + x - step] : 0;
      const b = y ? data[up + x] : 0;
      const c = y && x >= step ? data[up + x - step] : 0;
      data[at + x] += filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : filter === 4 ? paeth(a, b, c) : 0;
    }
    at += width;
  }
  return at;
}

/** Orientation out of EXIF data: the tag 0x0112 of its first directory. */
export function orientation(exif: Uint8Array): number {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(first, little); i++) {
      const entry = first + 2 + i * 12;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch {
    return 1; // what cannot be read says nothing
  }
  return 1;
}

/** Decode. Throws Damaged or Deep. */
export async function png(raw: Uint8Array): Promise<Picture> {
  const { header, data, palette, clear, exif } = chunks(raw);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [depth, colour, woven] = [header.getUint8(8), header.getUint8(9), header.getUint8(12)];
  if (!DEPTHS[colour]?.includes(depth) || woven > 1 || !width || !height) throw new Damaged("an unknown kind of PNG");
  if (colour === 0 && depth === 16) throw new Deep();
  const bits = CHANNELS[colour] * depth;
  const passes = (woven ? ADAM7 : [[0, 0, 1, 1]])
    .map(([x, y, right, down]) => ({ x, y, right, down,
      width: Math.ceil((width - x) / right), height: Math.ceil((height - y) / down) }))
    .filter((pass) => pass.width > 0 && pass.height > 0);
  const line = (pass: { width: number }): number => Math.ceil((pass.width * bits) / 8);
  const values = await inflated(data, passes.reduce((sum, pass) => sum + pass.height * (1 + line(pass)), 0));
  const rgba = new Uint8Array(width * height * 4);
  const put = painter(rgba, colour, depth, palette, clear);
  let at = 0;
  for (const pass of passes) {
    const size = line(pass);
    const end = unfiltered(values, at, pass.height, size, Math.max(1, bits >> 3));
    for (let y = 0; y < pass.height; y++) {
      const start = at + y * (size + 1) + 1;
      for (let x = 0; x < pass.width; x++) {
        put(values, start, x, ((pass.y + y * pass.down) * width + pass.x + x * pass.right) * 4);
      }
    }
    at = end;
  }
  return { width, height, rgba, alpha: colour > 3 || clear !== undefined, turn: exif ? orientation(exif) : 1 };
}

type Put = (values: Uint8Array, line: number, x: number, target: number) => void;

/** What writes one pixel of a line as RGBA. Of 16 bits the upper eight count. */
function painter(rgba: Uint8Array, colour: number, depth: number, palette: Uint8Array, clear?: Uint8Array): Put {
  const channels = CHANNELS[colour];
  const wide = depth === 16 ? 2 : 1;
  if (colour === 0 || colour === 3) {
    const [full, spread] = [(1 << depth) - 1, 255 / ((1 << depth) - 1)];
    const key = clear && colour === 0 ? (clear[0] << 8) | clear[1] : -1;
    return (values, line, x, target) => {
      const bit = x * depth;
      const value = (values[line + (bit >> 3)] >> (8 - depth - (bit & 7))) & full;
      if (colour === 3 && value * 3 + 2 >= palette.length) throw new Damaged("a colour that its palette lacks");
      for (let c = 0; c < 3; c++) rgba[target + c] = colour === 3 ? palette[value * 3 + c] : value * spread;
      rgba[target + 3] = colour === 3 ? (clear?.[value] ?? 255) : value === key ? 0 : 255;
    };
  }
  const grey = colour === 4;
  return (values, line, x, target) => {
    const from = line + x * channels * wide;
    for (let c = 0; c < 3; c++) rgba[target + c] = values[from + (grey ? 0 : c * wide)];
    rgba[target + 3] = channels % 2 ? 255 : values[from + (channels - 1) * wide];
    if (clear && colour === 2) {
      const same = [0, 1, 2].every((c) => rgba[target + c] === clear[c * 2 + (depth === 16 ? 0 : 1)]);
      if (same) rgba[target + 3] = 0;
    }
  };
}
