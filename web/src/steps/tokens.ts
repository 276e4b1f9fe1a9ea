/**
 * Texts to token ids, by a `tokenizer.json`.
 *
 * A text's tokens are those of Hugging Face's own JavaScript library. What follows is done here, because the library
 * does not: cutting to a length, special tokens around pairs, types, padding. `targets/browser/tokenizers.py` lists
 * the kinds of tokenizers for which the library agrees with the one in Rust; others are refused when shipping.
 */

import { Tokenizer } from "@huggingface/tokenizers";
import { tensor, type Tensor, type Text } from "../arrays";
import { Fault, Unfit, misused } from "../fault";
import type { Files, Options } from "./index";

const CHARACTERS = 100_000;

interface Encoded {
  ids: number[];
  types: number[];
}

type Around = (parts: number[][]) => Encoded;

/** What stands around one text or two: a list of places, each of special tokens or of a text's. */
interface Place {
  text?: number;
  ids?: number[];
  type: number;
}

export function tokenize(options: Options, files: Files) {
  const around = reader(options, files);
  const limit: number = options.max_characters ?? CHARACTERS;
  return (inputs: Tensor[]): Tensor[] => {
    const columns = inputs.map((value) => value.data as Text[]);
    const encoded = columns[0].map((_, row) => {
      columns.forEach((column, place) => check(column[row], row, place, limit));
      return around(columns.map((column) => column[row] as string), row);
    });
    const length = Math.max(options.pad_to ?? 1, ...encoded.map(({ ids }) => ids.length));
    return (options.makes as string[]).map((what) => padded(encoded, what, length, options, inputs[0].shape));
  };
}

function check(text: Text, row: number, place: number, limit: number): void {
  let what = "";
  if (typeof text !== "string") what = "is missing";
  else if (text.length > limit && [...text].length > limit) what = "is too long";
  else if (!text.isWellFormed?.() && /\p{Surrogate}/u.test(text)) what = "cannot be split into tokens";
  if (!what) return;
  const fault = new Unfit("input.text", row, what);
  fault.place = place;
  throw fault;
}

function reader(options: Options, files: Files): (texts: string[], row: number) => Encoded {
  const file = JSON.parse(new TextDecoder().decode(files[options.file]));
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(translated(file), {});
  } catch (fault) {
    throw new Fault("model.failed", `the tokenizer ${options.file} cannot be read: ${String(fault)}`);
  }
  const longest: number | undefined = options.max_length;
  const left = options.truncate_side === "left";
  const forms = [places(file, 1), places(file, 2)];
  return (texts, row) => {
    const form = forms[texts.length - 1];
    const parts = texts.map((text) => (text ? tokenizer.encode(text, { add_special_tokens: false }).ids : []));
    const around = placed(form);
    if (longest !== undefined) {
      const special = around(texts.map(() => [])).ids.length;
      if (special > longest) throw misused("step 'text.tokenize' leaves no room between its special tokens");
      cut(parts, longest - special, left);
    }
    const made = around(parts);
    if (!made.ids.length) throw new Unfit("input.text", row, "has no tokens");
    return made;
  };
}

const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}";
const SPACE = "\\p{White_Space}";

/** A pre-tokenizer that keeps what a pattern matches; alone, or each match beside what lies between. */
const split = (pattern: string, alone: boolean): object =>
  ({ type: "Split", pattern: { Regex: pattern }, behavior: alone ? "Removed" : "Isolated", invert: alone });

/** Rust makes every letter small by itself; JavaScript's toLowerCase has another small sigma for the end of a word. */
function sigma(part: object): object {
  return { type: "Sequence", normalizers: [{ type: "Replace", pattern: { String: "\u03a3" }, content: "\u03c3" }, part] };
}

/**
 * Kinds that the library does by JavaScript's ideas of words, digits and white space, as what they are in Rust: there
 * a word has accents and joiners, a digit is any number of Unicode's, and U+FEFF is no space.
 */
const TRANSLATED: Record<string, (part: any) => object> = {
  Whitespace: () => split(`[${WORD}]+|[^${WORD}${SPACE}]+`, true),
  WhitespaceSplit: () => split(`[^${SPACE}]+`, true),
  Digits: (part) => split(part.individual_digits ? "\\p{N}" : "\\p{N}+", false),
  Lowercase: sigma,
  BertNormalizer: (part) => (part.lowercase ? sigma(part) : part),
  Strip: (part) => ({
    type: "Sequence",
    normalizers: [part.strip_left && `^${SPACE}+`, part.strip_right && `${SPACE}+$`].filter(Boolean)
      .map((pattern) => ({ type: "Replace", pattern: { Regex: pattern }, content: "" })),
  }),
};

function translated(file: any): any {
  const change = (part: any): any => {
    if (part?.type !== "Sequence") return TRANSLATED[part?.type]?.(part) ?? part;
    const key = part.pretokenizers ? "pretokenizers" : "normalizers";
    return { ...part, [key]: part[key].map(change) };
  };
  const [normalizer, pre_tokenizer] = [change(file.normalizer), change(file.pre_tokenizer)];
  return { ...file, normalizer, pre_tokenizer, post_processor: null, truncation: null, padding: null };
}

/** The places around `many` texts, of the file's post-processor. */
function places(file: any, many: number): Place[] {
  const plain: Place[] = Array.from({ length: many }, (_, text) => ({ text, type: 0 }));
  const process = (part: any, before: Place[]): Place[] => {
    if (!part || part.type === "ByteLevel") return before;
    if (part.type === "Sequence") return part.processors.reduce((done: Place[], p: any) => process(p, done), before);
    if (part.type === "TemplateProcessing") {
      return (many === 1 ? part.single : part.pair).map((item: any): Place =>
        item.SpecialToken
          ? { ids: part.special_tokens[item.SpecialToken.id].ids, type: item.SpecialToken.type_id }
          : { text: item.Sequence.id === "A" ? 0 : 1, type: item.Sequence.type_id });
    }
    const [start, end] = [part.cls, part.sep].map(([, id]: [string, number]) => [id]);
    const bert = part.type === "BertProcessing";
    const one: Place[] = [{ ids: start, type: 0 }, { text: 0, type: 0 }, { ids: end, type: 0 }];
    if (many === 1) return one;
    const second = bert ? 1 : 0;
    const more: Place[] = [{ text: 1, type: second }, { ids: end, type: second }];
    return bert ? [...one, ...more] : [...one, { ids: end, type: 0 }, ...more];
  };
  if (many === 2) plain[1].type = 1;
  return process(file.post_processor, plain);
}

const placed = (form: Place[]): Around => (parts) => {
  const made: Encoded = { ids: [], types: [] };
  for (const place of form) {
    const ids = place.text === undefined ? place.ids! : (parts[place.text] ?? []);
    made.ids.push(...ids);
    made.types.push(...ids.map(() => place.type));
  }
  return made;
};

/**
 * Cut texts to a number of tokens together: the longer of two first, as the library in Rust does ("longest first"),
 * where of two that must both be cut the second gets the odd token.
 */
function cut(parts: number[][], room: number, left: boolean): void {
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  if (total <= room) return;
  const lengths = parts.map((part) => part.length);
  if (parts.length === 1) lengths[0] = room;
  else {
    const [one, two] = lengths;
    const short = Math.min(one, two);
    let long = short > room ? short : Math.max(short, room - short);
    let less = short;
    if (less + long > room) {
      less = Math.floor(room / 2);
      long = less + (room % 2);
    }
    [lengths[0], lengths[1]] = one > two ? [long, less] : [less, long];
  }
  parts.forEach((part, i) => (parts[i] = left ? part.slice(part.length - lengths[i]) : part.slice(0, lengths[i])));
}

function padded(encoded: Encoded[], what: string, length: number, options: Options, shape: number[]): Tensor {
  const fill: number = { ids: options.pad_id, types: options.pad_type, mask: 0 }[what] ?? 0;
  const values: number[] = [];
  for (const { ids, types } of encoded) {
    const own = what === "ids" ? ids : what === "types" ? types : ids.map(() => 1);
    const empty: number[] = Array(length - own.length).fill(fill);
    values.push(...(options.pad_side === "left" ? [...empty, ...own] : [...own, ...empty]));
  }
  return tensor("int64", [...shape, length], values);
}
