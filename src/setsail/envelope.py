"""What a loose body means, which only a model's signature can tell (docs/decisions/0015-loose-bodies.md).

Hand-written servers take `{"input": …}`, `{"data": …}`, `{"features": …}` or `{"instances": …}`, and one row as often
as several. A name that is an input's is that input; otherwise it is the wrapping, and what is inside is the body. A flat
list is one row where the model takes several values a row. A CSV without a header has its columns in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Numbers

__all__ = ["numbered", "opened"]


def opened(signature: Signature, body: Columns | Cells) -> Body:
    """A loose body, or cells without a header, as one that says what it means.

    Raises:
        SetsailError: `request.media_type` for bytes where the model does not take one text a row.
    """
    if isinstance(body, Cells):
        return _cells(signature, body)
    return _bytes(signature, body.columns) if isinstance(body.columns, bytes) else _columns(signature, body)


def _bytes(signature: Signature, raw: bytes) -> Rows:
    only = signature.inputs[0]
    if len(signature.inputs) != 1 or only.dtype.kind != "string" or len(only.shape) != 1:
        raise SetsailError(
            "request.media_type", "the model does not take bytes", field="content-type",
            expected="application/json, text/csv or application/x-npy",
        )  # fmt: skip
    return Rows([raw])


def numbered(signature: Signature) -> TensorSpec | None:
    """The only input of a model, if it is a table whose columns have no names, with their numbers as names."""
    only = signature.inputs[0]
    if len(signature.inputs) > 1 or only.columns or len(only.shape) != 2 or not isinstance(only.shape[1], int):
        return None
    names = tuple(map(str, range(only.shape[1])))
    return TensorSpec(only.name, only.dtype, only.shape, names, nullable=only.nullable)


def _columns(signature: Signature, body: Columns) -> Body:
    if not isinstance(body.columns, Mapping) or len(body.columns) != 1:
        return Columns(body.columns, body.ignore_unknown)
    ((name, value),) = body.columns.items()
    if name in _names(signature):
        if not isinstance(value, list | np.ndarray):
            return Rows([body.columns])
        whole = len(signature.inputs) == 1 and name == signature.inputs[0].name
        return Rows([_listed(value)]) if whole and _is_row(signature, value) else Columns(body.columns)
    if isinstance(value, Mapping):
        return Columns(value) if any(isinstance(v, list) for v in value.values()) else Rows([value])
    if not isinstance(value, list | np.ndarray):
        return Rows([value])
    return Rows([_listed(value)]) if _is_row(signature, value) else Rows(value)


def _names(signature: Signature) -> set[str]:
    table = signature.table
    return {*(spec.name for spec in signature.inputs), *(table.columns if table else ())}


def _is_row(signature: Signature, value: Any) -> bool:
    """Whether this is a flat list, and the model's rows are flat lists."""
    if isinstance(value, np.ndarray):
        flat = value.ndim == 1
    else:
        flat = bool(value) and not isinstance(value[0], list | Mapping)
    inputs = signature.inputs
    if not flat or not all(spec.batched for spec in inputs):
        return False
    return len(inputs[0].shape) == 2 if len(inputs) == 1 else all(len(spec.shape) == 1 for spec in inputs)


def _listed(value: Any) -> Any:
    return value.listed() if isinstance(value, Numbers) else value


def _cells(signature: Signature, body: Cells) -> Cells:
    table = signature.table or numbered(signature)
    names = table.columns if table else tuple(spec.name for spec in signature.inputs)
    if body.header is None:
        first = tuple(cell.strip() for cell in body.rows[0])
        told = len(first) == len(names) and set(first) == set(names)
        return Cells(first, body.rows[1:]) if told else Cells(names, body.rows)
    if len(names) == 1 and len(body.header) == 1:
        return Cells(names, body.rows)
    return Cells(body.header, body.rows)
