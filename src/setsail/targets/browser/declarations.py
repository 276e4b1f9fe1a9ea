"""What TypeScript knows of a model: `model.d.ts`, written from its signature."""

from __future__ import annotations

import json
from typing import Final

from setsail.signature import Signature, TensorSpec

__all__ = ["declarations"]

_HEAD: Final = """\
// {name}, version {version}: made by setsail from the model's signature.

/** A value that may be missing. */
type Maybe<T> = T | null;
/** A file's bytes, or base64. */
type Bytes = Uint8Array | ArrayBuffer | string;
"""
_TAIL: Final = """
export interface Model {
  readonly device: "webgpu" | "wasm";
  /** Columns or rows in, every output out. Rejects with a Fault that names the input and the row. */
  predict(given: Columns | Row[]TABLE): Promise<Outputs>;
  /** Let go of the program and its memory. */
  close(): Promise<void>;
}

export interface LoadOptions {
  /** Where model.json lies; by default beside this module. */
  base?: string | URL;
  device?: "auto" | "webgpu" | "wasm";
  /** Threads of WASM; more than one only on pages that are cross-origin isolated. */
  threads?: number;
  progress?: (what: string) => void;
}

export function load(options?: LoadOptions): Promise<Model>;

/** `code` is a row of setsail's docs/errors.md. */
export class Fault extends Error {
  readonly code: string;
  readonly facts: { field?: string; row?: number };
}
"""


def declarations(signature: Signature, name: str, version: int) -> str:
    """The text of model.d.ts."""
    table = signature.table
    inner = [(column, _one(table, given=True)) for column in table.columns] if table else []
    columns = [(c, f"ArrayLike<{t}>") for c, t in inner] or [(s.name, _tensor(s, given=True)) for s in signature.inputs]
    rows = inner or [(s.name, _tensor(s, given=True, less=1)) for s in signature.inputs]
    answers = [(s.name, _tensor(s, given=False)) for s in signature.outputs]
    parts = [
        _HEAD.format(name=json.dumps(name)[1:-1], version=version),
        _interface("Columns", "A value a row for each input, in arrays of one length.", columns),
        _interface("Row", "One row.", rows),
        _interface("Outputs", "A value a row for each output; integers beyond 2^53 are BigInt.", answers),
        _TAIL.replace("TABLE", f" | {{ {_key(table.name)}: number[][] }}" if table else ""),
    ]
    return "\n".join(parts)


def _interface(name: str, told: str, members: list[tuple[str, str]]) -> str:
    lines = "".join(f"  {_key(key)}: {value};\n" for key, value in members)
    return f"/** {told} */\nexport interface {name} {{\n{lines}}}\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else json.dumps(name, ensure_ascii=False)


def _tensor(spec: TensorSpec, *, given: bool, less: int = 0) -> str:
    one = _one(spec, given=given)
    depth = len(spec.shape) - less
    return one if depth <= 0 else (f"({one})" if " " in one else one) + "[]" * depth


def _one(spec: TensorSpec, *, given: bool) -> str:
    if spec.content and given:
        return "Bytes"
    kind = {"string": "string", "bool": "boolean", "float": "number"}.get(spec.dtype.kind, "number | bigint")
    levels = spec.categories if spec.closed and given else spec.labels if not given else ()
    if spec.dtype.kind == "string" and 0 < len(levels) <= 100:
        kind = " | ".join(json.dumps(level, ensure_ascii=False) for level in levels)
    return f"Maybe<{kind}>" if spec.nullable and given else kind
