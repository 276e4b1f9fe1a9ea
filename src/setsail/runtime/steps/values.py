"""Steps on a regressor's values: computed as doubles, and rounded once to the values' own dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from setsail.runtime.steps import Apply, Files, each_input
from setsail.tensors import Array

__all__ = ["mapped", "scale"]

_FUNCTIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "square": np.square, "sqrt": np.sqrt,
}  # fmt: skip


def scale(options: Mapping[str, Any], _: Files) -> Apply:
    """values * factor + offset; a list has one for each place of the last axis."""
    factor = np.asarray(options.get("factor", 1.0), dtype=np.float64)
    offset = np.asarray(options.get("offset", 0.0), dtype=np.float64)
    return _doubles(lambda values: values * factor + offset)


def mapped(options: Mapping[str, Any], _: Files) -> Apply:
    """A function of every value; NaN where it has none (the logarithm of what is negative)."""
    return _doubles(_FUNCTIONS[options["function"]])


def _doubles(function: Callable[[Array], Array]) -> Apply:
    def one(values: Array) -> Array:
        dtype = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        with np.errstate(all="ignore"):
            return np.asarray(function(values.astype(np.float64))).astype(dtype)

    return each_input(one)
