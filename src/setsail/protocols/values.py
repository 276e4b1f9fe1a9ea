"""JSON in and out: parsing bodies, and arrays as JSON text, fast.

Numbers are written with the fewest digits that read back as the same value *of their own dtype*: a float32 0.1 is
`0.1`, not the `0.10000000149011612` its double would be. JSON has no NaN; each wire says what it writes instead
(a `NonFinite`), and all wires read the bare tokens `NaN`, `Infinity` and `-Infinity`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import orjson

from setsail.errors import SetsailError
from setsail.tensors import NULL, Array

__all__ = ["BARE", "STRICT", "NonFinite", "array_json", "convert", "dump", "parse", "records_json", "texts"]


class NonFinite(NamedTuple):
    """What stands for a number JSON does not have."""

    nan: bytes
    inf: bytes
    minus: bytes


BARE: Final = NonFinite(b"NaN", b"Infinity", b"-Infinity")  # what TensorFlow Serving and Triton's clients read
STRICT: Final = NonFinite(b"null", b'"Infinity"', b'"-Infinity"')  # what every JSON parser reads


def parse(body: bytes | memoryview) -> Any:
    """A JSON body as Python values.

    Raises:
        SetsailError: `request.json`, with line and column.
    """
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
    if array.ndim == 0:
        return array_json(array.reshape(1), nonfinite)[1:-1]
    if array.dtype.kind in "OUST":
        return orjson.dumps(texts(array))
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    if array.dtype.kind != "f":
        return text
    # orjson writes null for what is not finite, and for nothing else in a float array: put the tokens there, in order.
    pieces = text.split(b"null")
    if len(pieces) == 1:
        return text
    odd = array[~np.isfinite(array)].tolist()
    tokens = [nonfinite.nan if math.isnan(v) else nonfinite.inf if v > 0 else nonfinite.minus for v in odd]
    return b"".join(part for pair in zip(pieces, [*tokens, b""], strict=True) for part in pair)


def records_json(columns: Mapping[str, Array | list[Any]], nonfinite: NonFinite = BARE) -> bytes:
    """Arrays (or lists of JSON values) with one first axis, as a JSON list of objects, one per row."""
    rows = len(next(iter(columns.values())))
    fields = {name: _row_values(array, nonfinite) for name, array in columns.items()}
    return dump([{name: values[i] for name, values in fields.items()} for i in range(rows)])


def _row_values(array: Array | list[Any], nonfinite: NonFinite) -> Any:
    """Something to index by row whose items `dump` can write."""
    if isinstance(array, list):
        return array
    if array.dtype.kind in "OUST":
        return texts(array)
    array = np.ascontiguousarray(array)
    if array.dtype.kind != "f" or bool(np.isfinite(array).all()):
        return array
    return [orjson.Fragment(array_json(np.asarray(row), nonfinite)) for row in array]
