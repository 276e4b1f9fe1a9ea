"""What a loose body means, which only a model's signature can tell (docs/decisions/0015-loose-bodies.md).

Hand-written servers take `{"input": …}`, `{"data": …}`, `{"features": …}` or `{"instances": …}`, and one row as often
as several. A name that is an input's is that input; otherwise it is the wrapping, and what is inside is the body. A
flat list is one row where the model takes several values a row. A CSV without a header has its columns in order. Bytes
that nobody described are the model's only input (`raw`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows, Tensor
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Numbers

__all__ = ["numbered", "opened", "placed", "raw", "renamed"]


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


def raw(signature: Signature, data: bytes) -> Tensor:
    """Bytes without a description (Triton's raw requests) as the only input: one text, or little-endian numbers.

    One free dimension follows from their number: that of a row, or else the rows.

    Raises:
        SetsailError: `input.missing` where there are several inputs, `request.binary` where the bytes do not add up.
    """
    only = signature.inputs[0]
    if len(signature.inputs) != 1:
        raise SetsailError(
            "input.missing", f"a raw body is one input, and the model has {len(signature.inputs)}",
            expected="the name of each input", todo="send a JSON header that names the inputs",
        )  # fmt: skip
    if only.dtype.kind == "string":
        return Tensor(only.name, [data], only.dtype, (1,) * len(only.shape))
    sizes = [dim if isinstance(dim, int) else -1 for dim in only.shape]
    if sizes.count(-1) > 1 and only.batched:
        sizes[0] = 1
    fixed = math.prod(size for size in sizes if size >= 0) * only.dtype.size
    if sizes.count(-1) > 1 or not fixed or len(data) % fixed or (-1 not in sizes and len(data) != fixed):
        raise SetsailError(
            "request.binary", f"a raw body of {len(data)} bytes is no {only}", field=only.name, value=len(data),
            expected=f"a multiple of {fixed} bytes" if sizes.count(-1) == 1 else "a tensor with a declared shape",
        )  # fmt: skip
    shape = tuple(len(data) // fixed if size < 0 else size for size in sizes)
    plain = np.uint8 if only.dtype.kind == "bool" else only.dtype.numpy.newbyteorder("<")
    array = np.frombuffer(data, plain).astype(only.dtype.numpy)
    return Tensor(only.name, array.reshape(shape), only.dtype, shape)


def numbered(signature: Signature) -> TensorSpec | None:
    """The only input of a model, if it is a table whose columns have no names, with their numbers as names."""
    only = signature.inputs[0]
    if len(signature.inputs) > 1 or only.columns or len(only.shape) != 2 or not isinstance(only.shape[1], int):
        return None
    names = tuple(map(str, range(only.shape[1])))
    return TensorSpec(only.name, only.dtype, only.shape, names, nullable=only.nullable)


def renamed(signature: Signature, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """A lone tensor of a name that the model does not know, as its only input: model servers of one input take any."""
    if len(tensors) != 1 or len(signature.inputs) != 1:
        return tensors
    (only,), (spec,) = tensors, signature.inputs
    return tensors if only.name in spec.columns else (replace(only, name=spec.name),)


def placed(signature: Signature, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Tensors, of which some have no name: each is the input at its place. uint8 becomes bool where that is meant.

    Raises:
        SetsailError: `input.unknown` for more tensors than inputs, `input.range` for a truth value that is not 0 or 1.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    found = []
    for place, tensor in enumerate(tensors):
        if not tensor.name:
            if place >= len(signature.inputs):
                raise SetsailError(
                    "input.unknown", f"there is no input {place + 1}", field=f"tensor {place + 1}",
                    expected=f"{len(signature.inputs)}: " + ", ".join(inputs),
                )  # fmt: skip
            tensor = replace(tensor, name=signature.inputs[place].name)
        spec = inputs.get(tensor.name)
        if spec is not None and spec.dtype.kind == "bool" and tensor.data.dtype == np.uint8:
            if (tensor.data > 1).any():
                raise SetsailError(
                    "input.range", f"input {spec.name!r} has other values than 0 and 1", field=spec.name,
                    expected="0 or 1",
                )  # fmt: skip
            tensor = replace(tensor, data=tensor.data.astype(bool), dtype=spec.dtype)
        found.append(tensor)
    return found


def _columns(signature: Signature, body: Columns) -> Body:
    if not isinstance(body.columns, Mapping) or len(body.columns) != 1:
        return Columns(body.columns, body.ignore_unknown)
    ((name, value),) = body.columns.items()
    rows = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    if name in _names(signature) and not rows and not isinstance(value, Mapping):  # no input's values have names
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


def _tells(names: tuple[str, ...], row: Sequence[str]) -> bool:
    """Whether a row is the columns' names."""
    return len(row) == len(names) and set(row) == set(names)


def _cells(signature: Signature, body: Cells) -> Cells:
    table = signature.table or numbered(signature)
    names = table.columns if table else tuple(spec.name for spec in signature.inputs)
    if body.header is None:
        first = tuple(cell.strip() for cell in body.rows[0])
        told = _tells(names, first)
        if body.several and any(_tells(names, [cell.strip() for cell in row]) for row in body.rows):
            raise SetsailError("request.csv", "one of the tables that were joined begins with its columns' names")
        return replace(body, header=first, rows=body.rows[1:]) if told else replace(body, header=names)
    whole = len(names) == 1 and len(body.header) == 1
    return replace(body, header=names if whole else body.header, loose=False)
