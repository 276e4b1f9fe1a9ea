"""JSON in and out: parsing bodies, and arrays as JSON text, fast.

Numbers are written with the fewest digits that read back as the same value *of their own dtype*: a float32 0.1 is
`0.1`, not the `0.10000000149011612` its double would be. JSON has no NaN; each wire says what it writes instead
(a `NonFinite`), and all wires read the bare tokens `NaN`, `Infinity` and `-Infinity`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import orjson

from setsail.errors import SetsailError
from setsail.tensors import NULL, Array

__all__ = [
    "BARE", "STRICT", "UNREAD", "NonFinite", "array_json", "common_rows", "convert", "dump", "joined", "key_json",
    "parse", "parse_first", "records", "records_json", "row_texts", "texts", "value_json", "value_rows",
]  # fmt: skip


class NonFinite(NamedTuple):
    """What stands for a number JSON does not have."""

    nan: bytes
    inf: bytes
    minus: bytes


BARE: Final = NonFinite(b"NaN", b"Infinity", b"-Infinity")  # what TensorFlow Serving and Triton's clients read
STRICT: Final = NonFinite(b"null", b'"Infinity"', b'"-Infinity"')  # what every JSON parser reads


def parse(body: bytes | memoryview) -> Any:
    """A JSON body as Python values. An integer of any size is itself.

    Raises:
        SetsailError: `request.json`, with line and column.
    """
    try:
        return _anything(body)
    except UNREAD:
        return _parse_odd(body)


def parse_first(body: bytes | memoryview) -> Any:
    """The same, whatever follows the first JSON document: some servers stop reading there.

    Raises:
        SetsailError: `request.json`.
    """
    try:
        return parse(body)
    except SetsailError as fault:
        raw = bytes(body)
        try:
            text = raw.decode()
            _, end = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
        except (ValueError, RecursionError):
            raise fault from None
        if not text[end:].strip():
            raise
        return parse(text[:end].encode())


_anything: Final = msgspec.json.Decoder().decode
# What msgspec's decoders raise. The slower readers say why, or know better.
UNREAD: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


def _parse_odd(body: bytes | memoryview) -> Any:
    """The body as orjson reads it, which says where a fault is; or, if it has the bare tokens, as Python does."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raw = bytes(body)
        if b"NaN" in raw or b"Infinity" in raw:
            return _parse_with_nan(raw)
        raise _not_json(str(fault), raw) from fault


def _parse_with_nan(raw: bytes) -> Any:
    """The standard library's slower parser knows the bare tokens; an overflowing literal stays an error there too."""
    try:
        value = json.loads(raw.decode(), parse_float=_finite)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair, as orjson does
        return value
    except (ValueError, RecursionError) as fault:
        raise _not_json(str(fault), raw) from fault


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text[:30]} is out of range")
    return value


def _not_json(reason: str, raw: bytes) -> SetsailError:
    what = "the body is empty" if not raw.strip() else f"the body is not JSON: {reason}"
    return SetsailError("request.json", what, expected="a JSON document")


Form = TypeVar("Form")


def convert(value: Any, form: type[Form]) -> Form:
    """Parsed JSON as a msgspec Struct.

    Raises:
        SetsailError: `request.form`, naming the place as a JSON path.
    """
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as fault:
        reason, _, place = str(fault).partition(" - at ")
        field = place.strip("`") or "$"
        raise SetsailError("request.form", f"{field} is not what this wire defines: {reason}", field=field) from fault


def dump(value: Any) -> bytes:
    """Python values (and arrays without NaN) as JSON."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def texts(array: Array) -> list[Any]:
    """A text array as nested lists of str, NULL as None."""
    flat = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in array.ravel().tolist()]
    out = np.empty(len(flat), dtype=object)
    out[:] = [None if v == NULL else v for v in flat]
    nested: list[Any] = out.reshape(array.shape).tolist()
    return nested


def array_json(array: Array, nonfinite: NonFinite = BARE) -> bytes:
    """An array of any of our dtypes as (nested) JSON."""
    try:
        text = _dumps(array, None, _NUMPY)
    except TypeError:  # text, a single value, or not in order in memory
        return _odd_array_json(array, nonfinite)
    if _N not in text:
        return text
    # orjson writes null for what is not finite, and for nothing else in an array of numbers.
    odd = array[~np.isfinite(array)].tolist()
    tokens = [nonfinite.nan if math.isnan(v) else nonfinite.inf if v > 0 else nonfinite.minus for v in odd]
    return b"".join(part for pair in zip(text.split(b"null"), [*tokens, b""], strict=True) for part in pair)


def _odd_array_json(array: Array, nonfinite: NonFinite) -> bytes:
    if array.ndim == 0:
        return array_json(array.reshape(1), nonfinite)[1:-1]
    if array.dtype.kind in "OUST":
        return _dumps(texts(array))
    return array_json(np.require(array, array.dtype.newbyteorder("="), "C"), nonfinite)


_N: Final = ord("n")  # no number and no truth value has one: looking for one byte is ten times as fast as for null
_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_dumps: Final = orjson.dumps


@lru_cache(1024)
def key_json(name: str) -> bytes:
    """An object's key and colon."""
    return orjson.dumps(name) + b":"


def records_json(columns: Mapping[str, Array | list[Any]], nonfinite: NonFinite = BARE) -> bytes:
    """Arrays (or lists of JSON values) with one first axis, as a JSON list of objects, one per row."""
    return b"[" + b",".join(records(columns, nonfinite)) + b"]"


def records(columns: Mapping[str, Array | list[Any]], nonfinite: NonFinite = BARE) -> list[bytes]:
    """The objects of `records_json`."""
    fields = [row_texts(values, key_json(name), nonfinite) for name, values in columns.items()]
    return [b"{" + b",".join(row) + b"}" for row in zip(*fields, strict=True)]


def row_texts(values: Array | list[Any], key: bytes, nonfinite: NonFinite) -> list[bytes]:
    """Of every row, its key and JSON text."""
    if isinstance(values, list):
        return [key + dump(value) for value in values]
    if len(values) == 1:
        return [key + array_json(values, nonfinite)[1:-1]]
    if values.dtype.kind in "OUST":
        return [key + orjson.dumps(value) for value in texts(values)]
    if not values.size:
        return [key + array_json(np.asarray(row), nonfinite) for row in values]
    # The text of all rows, cut between them: there are no brackets inside a row but its own.
    text, opening, closing = array_json(values, nonfinite), b"[" * (values.ndim - 1), b"]" * (values.ndim - 1)
    rows = text[values.ndim : -values.ndim].split(closing + b"," + opening)
    head = key + opening
    return [head + row + closing for row in rows]


def joined(columns: Iterable[tuple[bytes, Sequence[bytes]]], closing: bytes) -> list[bytes]:
    """Of every row the texts of all columns, each behind its lead, and the closing. There is a column at least."""
    parts = chain.from_iterable((repeat(lead), column) for lead, column in columns)
    return [b"".join(row) for row in zip(*parts, repeat(closing), strict=False)]


# -- bare answers ------------------------------------------------------------------------------------------------------


def common_rows(outputs: Mapping[str, Array]) -> bool:
    """Whether arrays have one first axis."""
    return len({array.shape[:1] for array in outputs.values()} | {()}) == 2


def value_json(outputs: Mapping[str, Array], nonfinite: NonFinite = BARE, *, rows: bool | None = None) -> bytes:
    """The value of the only output, or of several an object a row; an object of them all where they have no rows.

    Args:
        rows: whether several have rows; None: where they have one first axis.
    """
    if len(outputs) == 1:
        return array_json(next(iter(outputs.values())), nonfinite)
    if common_rows(outputs) if rows is None else rows:
        return records_json(outputs, nonfinite)
    return b"{" + b",".join([key_json(name) + array_json(array, nonfinite) for name, array in outputs.items()]) + b"}"


def value_rows(outputs: Mapping[str, Array | list[Any]], nonfinite: NonFinite = BARE) -> list[bytes]:
    """The entries of `value_json`, where there are rows."""
    return row_texts(next(iter(outputs.values())), b"", nonfinite) if len(outputs) == 1 else records(outputs, nonfinite)
