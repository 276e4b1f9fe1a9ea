"""Triton's classification extension: the k largest values of each row as texts `value:index` or `value:index:label`.

Values are written as C++'s `std::to_string` does, floats with six decimals. Equal values come in the order of their
indices, which Triton leaves open; NaN comes last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.tensors import Array

__all__ = ["KEY", "classified", "count"]

KEY: Final = "classification"


def count(name: str, parameters: Mapping[str, Any]) -> int:
    """How many classes an output is asked for, 0 for its values. Raises `request.form`."""
    asked = parameters.get(KEY, 0)
    if type(asked) is not int or not 0 <= asked < 1 << 31:
        raise SetsailError(
            "request.form", f"output {name!r} is asked for in no number of classes", field=f"parameters.{KEY}",
            value=asked, expected="1 or more",
        )  # fmt: skip
    return asked


def classified(response: Response, name: str, wanted: int) -> Array:
    """An output as its classes: texts of shape [rows, k], or [k] where the first axis is no batch.

    Args:
        wanted: k; no more than a row has values come back.

    Raises:
        SetsailError: `request.form` for an output that is no number.
    """
    array, spec = response.outputs[name], response.signature.output(name)
    if array.dtype.kind not in "iuf":
        raise SetsailError(
            "request.form", f"output {name!r} is {spec.dtype}, which has no classes", field=f"parameters.{KEY}",
            expected="an output of numbers", todo="ask for this output without classification",
        )  # fmt: skip
    batched = response.signature.batched and array.ndim > 0
    rows = array.reshape(len(array), math.prod(array.shape[1:])) if batched else array.reshape(1, -1)
    kept = min(wanted, rows.shape[1])
    labels = spec.labels if len(spec.labels) == rows.shape[1] else ()
    texts = np.empty((len(rows), kept), object)
    for at, row in enumerate(rows):
        order = np.argsort(-row if row.dtype.kind == "f" else ~row, kind="stable")[:kept]
        for place, index in enumerate(order.tolist()):
            texts[at, place] = _text(row[index]) + f":{index}" + (f":{labels[index]}" if labels else "")
    return texts if batched else texts[0]


def _text(value: Any) -> str:
    return f"{float(value):f}" if isinstance(value, np.floating) else str(value)
