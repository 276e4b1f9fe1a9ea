"""Steps on columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.steps import Apply, Files, UnfitError, each_input, misused
from setsail.tensors import NULL, Array

__all__ = ["impute", "levels", "stack"]


def stack(options: Mapping[str, Any], _: Files) -> Apply:
    """Columns `[N]`, and matrices `[N, columns]`, side by side as one matrix; truth values become 0 and 1."""
    dtype = np.dtype(options["dtype"])

    def apply(arrays: Sequence[Array]) -> Sequence[Array]:
        with np.errstate(over="ignore"):
            parts = [array.astype(dtype, copy=False).reshape(len(array), -1) for array in arrays]
        return [np.ascontiguousarray(np.concatenate(parts, axis=1))]

    return apply


def levels(options: Mapping[str, Any], _: Files) -> Apply:
    """Each value's place in the list of levels.

    A missing value (a text that is null, NaN) is `missing`, else what is unknown; a value that is no level is
    `unknown`, else refused.
    """
    places = {level: float(place) for place, level in enumerate(options["levels"])}
    dtype = np.dtype(options["dtype"])
    unknown = float("nan") if options.get("unknown_nan") else options.get("unknown")
    missing = float("nan") if options.get("missing_nan") else options.get("missing", unknown)
    if dtype.kind == "i" and any(v is not None and (v != v or v != int(v)) for v in (unknown, missing)):
        raise _unusable("step 'table.levels' gives what is no integer as one", [unknown, missing], "whole numbers")

    def place(value: Any, row: int) -> Any:
        found = missing if value == NULL or value != value else places.get(value, unknown)
        if found is None:
            told = ", ".join(map(repr, list(places)[:12]))
            raise UnfitError("input.category", row, "is an unknown category", value=value, expected=f"one of {told}")
        return found

    def one(array: Array) -> Array:
        places = [place(value, row) for row, value in enumerate(array.reshape(-1).tolist())]
        return np.array(places, dtype=dtype).reshape(array.shape)

    return each_input(one)


def impute(options: Mapping[str, Any], _: Files) -> Apply:
    """NaN in columns of floats, and null in columns of text, become a value.

    A list has one for each column, counted over all inputs in order (a matrix has several).
    """
    value = options["value"]

    def apply(arrays: Sequence[Array]) -> Sequence[Array]:
        widths = [array.shape[1] if array.ndim > 1 else 1 for array in arrays]
        values = list(value) if isinstance(value, list | tuple) else [value] * sum(widths)
        if len(values) != sum(widths):
            raise misused("step 'table.impute' has not a value for every column", len(values), str(sum(widths)))
        ends = np.cumsum(widths).tolist()
        return [
            _filled(array, values[end - width : end]) for array, width, end in zip(arrays, widths, ends, strict=True)
        ]

    return apply


def _filled(array: Array, values: list[Any]) -> Array:
    if array.dtype.kind not in "fO":
        return array
    holes = array == NULL if array.dtype.kind == "O" else np.isnan(array)
    return np.where(holes, np.array(values if array.ndim > 1 else values[0], dtype=array.dtype), array)


def _unusable(what: str, value: object, expected: str) -> SetsailError:
    return SetsailError("model.failed", what, field="steps", value=value, expected=expected)
