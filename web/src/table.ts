/** Tables as text: what is pasted from a spreadsheet (tabs) or a file (commas, semicolons), with a line of names. */

import { isFloat } from "./arrays";
import { Fault } from "./fault";
import type { Spec } from "./signature";

/** Lines of cells, by RFC 4180: quotes hold separators, line ends, and quotes that are doubled. */
export function cells(text: string): string[][] {
  const head = text.split("\n", 1)[0];
  const separator = ["\t", ";", ","].find((mark) => head.includes(mark)) ?? ",";
  const lines: string[][] = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const line = lines[lines.length - 1];
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') line[line.length - 1] += text[++i];
      else if (c === '"') quoted = false;
      else line[line.length - 1] += c;
    } else if (c === '"' && line[line.length - 1] === "") quoted = true;
    else if (c === separator) line.push("");
    else if (c === "\n") lines.push([""]);
    else if (c !== "\r") line[line.length - 1] += c;
  }
  return lines.filter((line) => line.length > 1 || line[0] !== "");
}

/** What a cell or a field means to an input. Nothing in it is a missing value, where there may be one. */
export function meant(spec: Pick<Spec, "name" | "dtype" | "nullable">, text: string): unknown {
  if (spec.dtype === "string") return text === "" && spec.nullable ? null : text;
  const bare = text.trim();
  if (bare === "") {
    if (spec.nullable) return null;
    throw new Fault("input.null", `'${spec.name}' is empty`, { field: spec.name });
  }
  if (spec.dtype === "bool") {
    const truth = { true: true, "1": true, yes: true, false: false, "0": false, no: false }[bare.toLowerCase()];
    if (truth !== undefined) return truth;
    throw new Fault("input.dtype", `'${spec.name}' is neither true nor false: ${bare}`, { field: spec.name });
  }
  if (isFloat(spec.dtype) && /^nan$/i.test(bare) && spec.nullable) return NaN;
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(bare)) {
    throw new Fault("input.dtype", `'${spec.name}' is no number: ${bare}`, { field: spec.name });
  }
  if (isFloat(spec.dtype)) return Number(bare);
  if (/^[-+]?\d+$/.test(bare)) return BigInt(bare.replace(/^\+/, ""));
  throw new Fault("input.dtype", `'${spec.name}' is no integer: ${bare}`, { field: spec.name });
}
