/** Steps on texts. Lower case and decomposition are Unicode's, which every engine has, whatever its language. */

import type { Tensor, Text } from "../arrays";
import { eachInput } from "./each";
import type { Options } from "./index";

// What Python's str.strip takes off; JavaScript's trim also takes U+FEFF, and not U+001C to U+001F and U+0085.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "gu");

// Characters with a combining class: marks, but for the few marks whose class is 0 (enclosing, spacing, some vowels).
const MARKED = /\p{M}/u;

/**
 * Whether a character has a combining class other than 0, which JavaScript does not tell: such a character changes
 * places with one of another class when a text is put in order, and one of class 0 never does.
 */
export function combining(mark: string): boolean {
  if (!MARKED.test(mark)) return false;
  // U+0334 has the lowest class there is (1), U+0345 the highest (240): a mark between comes after the one, before the other
  const [low, high] = ["\u0334", "\u0345"];
  if (mark === low || mark === high) return true;
  return (mark + low).normalize("NFD").startsWith(low) || (high + mark).normalize("NFD").endsWith(high);
}

const ACCENTS: Record<string, (text: string) => string> = {
  null: (text) => text,
  unicode: (text) => [...text.normalize("NFKD")].filter((c) => !combining(c)).join(""),
  // eslint-disable-next-line no-control-regex
  ascii: (text) => text.normalize("NFKD").replace(/[^\x00-\x7f]/gu, ""),
};

/** White space off the ends, lower case, accents off, in that order. Missing texts stay so. */
export function normalize(options: Options) {
  const strip = ACCENTS[String(options.strip_accents ?? null)];
  return eachInput<Tensor>((value) => ({
    ...value,
    data: (value.data as Text[]).map((text) => {
      if (text === null) return null;
      const around = options.strip ? text.replace(AROUND, "") : text;
      return strip(options.lowercase ? around.toLowerCase() : around);
    }),
  }));
}
