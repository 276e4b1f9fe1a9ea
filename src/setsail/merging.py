"""Several requests as one: their bodies are joined before anything is checked or converted.

Binding and checking cost a few microseconds a call, not a row, so a batch is bound once. That must never let one
request lend rows or values to another: `portion` says how many rows a body has only where the body shows it beyond
doubt (every input equally many, as many values as its shape declares), and `merge` joins whole rows. What a body
alone would be refused for, the joined one is refused for too (raggedness, dtypes, names and values are checked over
all of it); whoever merges then binds each body alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Digits, Portion, Rows, Tensor, Tensors, Unread

__all__ = ["merge", "portion"]


def portion(body: Body) -> Portion | None:
    """None for a body that must be bound alone: an empty one, or one whose parts do not agree on the rows."""
    return _PORTIONS[type(body)](body)


def merge(bodies: Sequence[Any]) -> Body:
    """One body with the rows of all, in order. All must have had portions with one key."""
    merged: Body = bodies[0] if len(bodies) == 1 else _MERGES[type(bodies[0])](bodies)
    return merged


# -- one body ----------------------------------------------------------------------------------------------------------


def _width(item: Any) -> Hashable:
    """What kind of row this is: a value, a list of so many, a mapping of these names."""
    if isinstance(item, list | tuple):
        return len(item)
    if isinstance(item, Mapping):
        return tuple(item)
    return None


def _of_rows(body: Rows) -> Portion | None:
    rows = body.rows
    count = len(rows)
    if count == 0:
        return None
    if isinstance(rows, np.ndarray):
        return Portion((Rows, body.names, rows.dtype, rows.shape[1:]), count)
    return Portion((Rows, body.names, _width(rows[0])), count)


def _of_tensors(body: Tensors) -> Portion | None:
    keys: list[Hashable] = []
    rows = 0
    for tensor in body.tensors:
        data, shape = tensor.data, tensor.shape
        if isinstance(data, bytes):
            return None  # how many rows it is, the signature says
        count = len(data) if shape is None else shape[0] if shape else 0
        if count == 0 or rows not in (0, count):
            return None
        rows = count
        if isinstance(data, np.ndarray):
            if shape is not None and data.size != _size(shape):
                return None
            keys.append((tensor.name, tensor.dtype, data.dtype, data.shape[1:] if shape is None else shape[1:]))
            continue
        if not data:
            return None
        width = _width(data[0])
        if shape is not None and len(data) != (_size(shape) if width is None else count):
            return None
        keys.append((tensor.name, tensor.dtype, width, None if shape is None else shape[1:]))
    return Portion((Tensors, body.ignore_unknown, body.loose, body.any_name, *keys), rows) if rows else None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for dim in shape:
        size *= dim
    return size


def _of_columns(body: Columns) -> Portion | None:
    columns = body.columns
    named: Mapping[str, Any] = columns if isinstance(columns, Mapping) else {"": columns}
    keys: list[Hashable] = []
    rows = 0
    for name, values in named.items():
        if isinstance(values, np.ndarray):
            width: Hashable = (values.dtype, values.shape[1:])
            flat = values.ndim == 1
        elif isinstance(values, list) and values:
            width = _width(values[0])
            flat = width is None
        else:
            return None
        if rows not in (0, len(values)) or (body.loose and flat):  # flat: perhaps one row, perhaps a value a row
            return None
        rows = len(values)
        keys.append((name, width))
    return Portion((Columns, named is columns, body.ignore_unknown, body.loose, *keys), rows) if rows else None


def _of_cells(body: Cells) -> Portion | None:
    if not body.rows:
        return None
    if body.header is None:
        return Portion((Cells, len(body.rows[0])), len(body.rows)) if _numeric(body.rows[0]) else None
    return Portion((Cells, body.header, body.loose, body.ignore_unknown, body.nulls), len(body.rows))


def _numeric(row: Sequence[str]) -> bool:
    """Whether all cells are numbers or empty: few headers are, and who joins tables is told of those (`Cells`)."""
    try:
        return all(cell == "" or cell.isspace() or isfinite(float(cell)) for cell in row)
    except ValueError:
        return False


def _of_unread(body: Unread) -> None:
    return None


def _of_digits(body: Digits) -> Portion | None:
    return body.form.portion


_PORTIONS: Final[Mapping[type, Callable[[Any], Portion | None]]] = {
    Rows: _of_rows, Tensors: _of_tensors, Columns: _of_columns, Cells: _of_cells, Digits: _of_digits,
    Unread: _of_unread,
}  # fmt: skip


# -- several -----------------------------------------------------------------------------------------------------------


def _joined(parts: Sequence[Any]) -> Any:
    """Lists or arrays one after the other along the first axis."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))


def _rows(bodies: Sequence[Rows]) -> Rows:
    return Rows(_joined([body.rows for body in bodies]), bodies[0].names)


def _tensors(bodies: Sequence[Tensors]) -> Tensors:
    first = bodies[0]
    joined = tuple(map(_tensor, zip(*(body.tensors for body in bodies), strict=True)))
    return Tensors(joined, first.ignore_unknown, first.loose, first.any_name)


def _tensor(parts: tuple[Tensor, ...]) -> Tensor:
    first = parts[0]
    if first.shape is None:
        return Tensor(first.name, _joined([part.data for part in parts]), first.dtype)
    shape = (sum([part.shape[0] for part in parts if part.shape]), *first.shape[1:])
    if isinstance(first.data, np.ndarray):  # shaped first: flat bytes of different rows could else not be told apart
        return Tensor(first.name, np.concatenate([p.data.reshape(p.shape) for p in parts]), first.dtype, shape)
    return Tensor(first.name, _joined([part.data for part in parts]), first.dtype, shape)


def _columns(bodies: Sequence[Columns]) -> Columns:
    first = bodies[0]
    if not isinstance(first.columns, Mapping):
        return Columns(_joined([body.columns for body in bodies]), first.ignore_unknown, first.loose)
    joined = {name: _joined([body.columns[name] for body in bodies]) for name in first.columns}
    return Columns(joined, first.ignore_unknown, first.loose)


def _cells(bodies: Sequence[Cells]) -> Cells:
    first = bodies[0]
    rows = _joined([body.rows for body in bodies])
    return Cells(first.header, rows, first.loose, first.ignore_unknown, first.nulls, several=True)


def _digits(bodies: Sequence[Digits]) -> Digits:
    """Every text has the commas, or the bytes, of its shape: where the joined one can be read, each is whole rows."""
    form = bodies[0].form
    rows = sum([body.form.shape[0] for body in bodies])
    joined = form.of(rows)
    mark = b"," if form.raw is None else b""
    return Digits(mark.join([body.text for body in bodies]), joined, b"", _apart)


def _apart(source: bytes) -> Body:
    raise SetsailError("request.json", "one of the bodies that were joined is no list of numbers")


_MERGES: Final[Mapping[type, Callable[[Any], Body]]] = {
    Rows: _rows, Tensors: _tensors, Columns: _columns, Cells: _cells, Digits: _digits,
}  # fmt: skip
