"""Canonical JSON: one value, one spelling (`docs/format.md` §3)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["DEPTH", "decode", "encode", "spelled"]

DEPTH: Final = 32
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
# Possessive, and an unterminated string matches to the end: linear time on hostile text.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z|\\)', re.DOTALL)
_NO_BRACKET = re.compile(rb"[^][{}]+")


def encode(value: Any) -> bytes:
    """A JSON value to its canonical bytes. Raises `artifact.json` for NaN, infinities and what JSON has no form for."""
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as fault:
        raise SetsailError("artifact.json", "a value has no canonical JSON form", value=str(fault),
                           expected="finite numbers, texts, lists, objects", todo="Report this with the model's class",
                           ) from fault  # fmt: skip


def decode(data: bytes, what: str, depth: int = DEPTH) -> Any:
    """Canonical bytes to their value, refusing every other spelling. Raises `artifact.json`, naming the member."""
    found = _depth(data, depth)
    if found > depth:
        raise SetsailError("artifact.json", f"{what} is nested too deep", value=found, expected=f"up to {depth}")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise SetsailError("artifact.json", f"{what} is not valid JSON", value=str(fault),
                           expected="canonical JSON") from fault  # fmt: skip
    if encode(value) != data:
        raise SetsailError("artifact.json", f"{what} is not in canonical form",
                           expected="sorted keys, no white space, shortest numbers")  # fmt: skip
    return value


def _depth(data: bytes, limit: int) -> int:
    """Nesting without parsing (0 where it cannot matter): strings go, then brackets are counted."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return 0
    deepest = depth = 0
    for byte in _NO_BRACKET.sub(b"", _STRING.sub(b"", data)):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(k for k in keys if keys.count(k) > 1)!r}")
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def spelled(value: Any) -> Any:
    """Hyperparameters as JSON: NaN and infinities become texts, tuples lists, numpy scalars numbers.

    Anything else becomes its class name, never its repr, which may hold a path or an address.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return spelled(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(item) for item in value]
    return type(value).__name__
