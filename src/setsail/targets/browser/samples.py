"""Arrays as JSON, in the manner of tests/steps: what a page reads to begin with, and what it answers when tried.

A tensor is a dtype, a shape and its values in a row. `"NaN"` and `"Infinity"` stand for what JSON has no word for,
integers of 64 bits are texts (JavaScript's numbers end at 2^53), null is a missing text, bytes are base64.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["read", "told"]

_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def told(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Arrays by the names of their specs."""
    return {spec.name: _told(spec, arrays[spec.name]) for spec in specs}


def _told(spec: TensorSpec, array: Array) -> dict[str, Any]:
    values = array.ravel().tolist()
    dtype = spec.dtype.name
    if spec.content:
        dtype, values = "bytes", [b64encode(v if isinstance(v, bytes) else str(v).encode()).decode() for v in values]
    elif spec.dtype.kind == "string":
        values = [None if v == NULL else str(v) for v in values]
    elif spec.dtype.kind == "float":
        values = [v if np.isfinite(v) else _word(v) for v in values]
    elif spec.dtype.name in ("int64", "uint64"):
        values = [str(v) for v in values]
    return {"dtype": dtype, "shape": list(array.shape), "data": values}


def _word(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def read(spec: TensorSpec, body: Mapping[str, Any]) -> Array:
    """What a page answered, as an array. Raises `ship.unsupported` where it is none of this spec."""
    try:
        data, shape = body["data"], tuple(map(int, body["shape"]))
        if spec.dtype.kind == "string":
            array = np.empty(len(data), dtype=object)
            array[:] = [NULL if v is None else str(v) for v in data]
        elif spec.dtype.kind == "float":
            array = np.array([_WORDS[v] if isinstance(v, str) else v for v in data], dtype=spec.dtype.numpy)
        else:
            array = np.array([int(v) for v in data]).astype(spec.dtype.numpy)
        return array.reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise SetsailError("ship.unsupported", f"the page's answer cannot be read as {spec}", field=spec.name,
                           value=str(fault)) from fault  # fmt: skip
