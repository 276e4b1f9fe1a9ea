"""From what a client sent to the arrays a model takes.

Rules (`contract.md` §5): JSON numbers take the signature's dtype; typed tensors widen losslessly, never narrow;
`null` is NaN for floats and NULL for text that may be missing, else an error. A row may be a list in the
signature's order or a mapping by name. A homogeneous table also takes its column names as names.

Names and rows are sorted out here; a value becomes one of the input's dtype in `casting`.

This is the general way. Most requests are bound by `shortcut` before they come here, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from setsail.casting import cell, exact, listed, nested, typed
from setsail.envelope import numbered, opened, placed, raw, renamed
from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows, Tensor, Tensors, Unread
from setsail.shortcut import at_once
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array, Numbers

__all__ = ["bind"]


def bind(signature: Signature, body: Body) -> dict[str, Array]:
    """Turn a request's body into checked arrays in the signature's order.

    Raises:
        SetsailError: any `input.*` code.
    """
    if signature.sole is not None:
        array = at_once(signature.sole, body)
        if array is not None:
            return {signature.sole.name: array}
    return _bind(signature, body)


def _bind(signature: Signature, body: Body) -> dict[str, Array]:
    """The general way."""
    if isinstance(body, Columns | Cells) and (body.loose or (isinstance(body, Cells) and body.header is None)):
        body = opened(signature, body)
    if isinstance(body, Tensors):
        arrays = _from_frame(signature, body) or _from_tensors(signature, _known(signature, body))
    elif isinstance(body, Rows):
        arrays = _from_rows(signature, body.rows) if body.names is None else _from_table(signature, body)
    elif isinstance(body, Columns):
        arrays = _from_columns(signature, body)
    elif isinstance(body, Cells):
        arrays = _from_cells(signature, body)
    elif isinstance(body, Unread):
        raise body.fault
    else:
        return _bind(signature, body.again())
    return signature.check(arrays)


# -- the four bodies -----------------------------------------------------------------------------------------------


def _from_tensors(signature: Signature, tensors: Sequence[Tensor]) -> dict[str, Array]:
    if len(tensors) == 1 and isinstance(tensors[0].data, bytes):
        tensors = (raw(signature, tensors[0].data),)
    table = signature.table
    if table is not None and tensors and all(t.name in table.columns for t in tensors):
        columns = {t.name: typed(_column_spec(table, t.name), t) for t in tensors}
        return {table.name: _stack(table, columns)}
    arrays: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name in arrays:
            raise SetsailError(
                "input.unknown", f"input {tensor.name!r} is sent twice", field=tensor.name, expected="each input once"
            )
        arrays[tensor.name] = typed(signature.input(tensor.name), tensor)
    return arrays


def _known(signature: Signature, body: Tensors) -> Sequence[Tensor]:
    """The tensors that the model has inputs or columns for, where others are ignored."""
    if body.loose:
        return placed(signature, body.tensors)
    if body.any_name:
        return renamed(signature, body.tensors)
    if not body.ignore_unknown:
        return body.tensors
    names = {spec.name for spec in signature.inputs} | set(signature.table.columns if signature.table else ())
    return [tensor for tensor in body.tensors if tensor.name in names]


def _in_order(signature: Signature, names: Sequence[str]) -> TensorSpec | None:
    """The table whose columns have no names, where a frame has as many as it: they are meant in their order."""
    table = numbered(signature)
    return table if table is not None and len(names) == len(table.columns) and table.name not in names else None


def _from_frame(signature: Signature, body: Tensors) -> dict[str, Array] | None:
    """A frame of typed columns for such a table; None for everything else."""
    table = _in_order(signature, [tensor.name for tensor in body.tensors]) if body.ignore_unknown else None
    if table is None:
        return None
    pairs = zip(table.columns, body.tensors, strict=True)
    return {table.name: _stack(table, {name: typed(_column_spec(table, name), tensor) for name, tensor in pairs})}


def _from_table(signature: Signature, body: Rows) -> dict[str, Array]:
    """Rows whose values were named once for all of them."""
    rows, names = body.rows, body.names or ()
    if not len(rows):
        raise SetsailError("input.empty", "the request has no rows", expected="at least one row")
    if _in_order(signature, names) is not None:
        return _from_rows(signature, rows)
    if isinstance(rows, Numbers):
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise _no_row(0, rows[0].tolist(), names)
        again = cache(rows.listed)  # for those columns that must know how their numbers were written
        columns: dict[str, Any] = {
            name: Numbers.of(np.ascontiguousarray(rows[:, i]), partial(_column, again, i))
            for i, name in enumerate(names)
        }
    else:
        for index, row in enumerate(rows):
            if not isinstance(row, list | tuple) or len(row) != len(names):
                raise _no_row(index, row, names)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    specs = {spec.name: spec for spec in signature.inputs}
    if signature.table is not None:
        specs |= dict.fromkeys(signature.table.columns, signature.table)
    known = {name: exact(specs[name], values) for name, values in columns.items() if name in specs}
    arrays = _from_columns(signature, Columns(known, True))
    return {name: _unrolled(signature.input(name), array) for name, array in arrays.items()}


def _unrolled(spec: TensorSpec, array: Array) -> Array:
    """A tensor of every row that a cell held as a flat list, which is how data frames hold them for MLflow."""
    tail = tuple(dim for dim in spec.shape[1:] if isinstance(dim, int))
    rolled = array.ndim == 2 and len(tail) == len(spec.shape) - 1 > 1 and prod(tail) == array.shape[1]
    return array.reshape(len(array), *tail) if rolled else array


def _column(again: Callable[[], Any], index: int) -> list[Any]:
    return [row[index] for row in again()]


def _no_row(index: int, row: Any, names: Sequence[str]) -> SetsailError:
    return SetsailError(
        "input.ragged", f"row {index} does not have a value for every column", value=row,
        expected=f"{len(names)} values: " + ", ".join(names[:12]), row=index,
    )  # fmt: skip


def _from_rows(signature: Signature, rows: Any) -> dict[str, Array]:
    if not len(rows):
        raise SetsailError("input.empty", "the request has no rows", expected="at least one row")
    if isinstance(rows, np.ndarray):
        rows = listed(rows)
    if isinstance(rows[0], Mapping):
        return _from_columns(signature, Columns(_pivot(rows)))
    only = signature.inputs[0]
    if len(signature.inputs) == 1:
        return {only.name: nested(only, rows)}
    if any(len(spec.shape) != 1 for spec in signature.inputs):
        raise SetsailError(
            "input.shape",
            "a row of a model with several inputs must name them",
            value=rows[0],
            expected="{" + ", ".join(f'"{s.name}": …' for s in signature.inputs) + "}",
        )
    width = len(signature.inputs)
    for index, row in enumerate(rows):
        if not isinstance(row, list | tuple) or len(row) != width:
            raise SetsailError(
                "input.shape",
                f"row {index} does not fit the model's {width} inputs",
                value=row,
                expected=f"{width} values: " + ", ".join(s.name for s in signature.inputs),
                row=index,
            )
    return {spec.name: nested(spec, [row[i] for row in rows]) for i, spec in enumerate(signature.inputs)}


def _from_columns(signature: Signature, body: Columns) -> dict[str, Array]:
    columns, table = body.columns, signature.table
    if not isinstance(columns, Mapping):
        if len(signature.inputs) != 1:
            raise SetsailError(
                "input.missing",
                "a model with several inputs needs them by name",
                value=listed(columns) if isinstance(columns, np.ndarray) else columns,
                expected=", ".join(s.name for s in signature.inputs),
            )
        return {signature.inputs[0].name: nested(signature.inputs[0], _as_list(columns))}
    if table is not None and table.name not in columns:
        known = {n: c for n, c in columns.items() if n in table.columns}
        if known and not body.ignore_unknown:
            for name in columns:
                if name not in known:
                    raise SetsailError(
                        "input.unknown",
                        f"there is no column {name!r}",
                        field=name,
                        expected="columns " + ", ".join(table.columns[:12]),
                    )
        if known:
            arrays = {n: nested(_column_spec(table, n), _as_list(c)) for n, c in known.items()}
            return {table.name: _stack(table, arrays)}
    names = {s.name for s in signature.inputs}
    return {
        name: nested(signature.input(name), _as_list(values))
        for name, values in columns.items()
        if name in names or not body.ignore_unknown
    }


def _from_cells(signature: Signature, body: Cells) -> dict[str, Array]:
    assert body.header is not None
    table = signature.table or numbered(signature)
    specs = {n: _column_spec(table, n) for n in table.columns} if table else {s.name: s for s in signature.inputs}
    if body.ignore_unknown and _in_order(signature, body.header) is not None:
        body = Cells(tuple(specs), body.rows, nulls=body.nulls)
    assert body.header is not None
    if len(set(body.header)) != len(body.header):
        raise SetsailError("request.csv", "the header names a column twice", value=list(body.header))
    for name in body.header:
        if name not in specs and not body.ignore_unknown:
            raise SetsailError(
                "input.unknown",
                f"there is no column {name!r}",
                field=name,
                expected="columns " + ", ".join(list(specs)[:12]),
            )
    for index, row in enumerate(body.rows):
        if len(row) != len(body.header):
            raise SetsailError(
                "input.ragged",
                f"row {index} has {len(row)} cells",
                value=list(row),
                expected=f"{len(body.header)} cells",
                row=index,
            )
    arrays = {}
    for position, name in enumerate(body.header):
        if name not in specs:
            continue
        spec = specs[name]
        if len(spec.shape) != 1:
            raise SetsailError(
                "input.shape", f"input {name!r} is no column", field=name, expected=str(spec), todo="send it as JSON"
            )
        whole, nulls = body.ignore_unknown, body.nulls
        arrays[name] = nested(spec, [cell(spec, r[position], i, nulls, whole=whole) for i, r in enumerate(body.rows)])
    return {table.name: _stack(table, arrays)} if table else arrays


# -- small pieces ------------------------------------------------------------------------------------------------------


def _column_spec(table: TensorSpec, name: str) -> TensorSpec:
    return TensorSpec(name, table.dtype, table.shape[:1], nullable=table.nullable)


def _stack(table: TensorSpec, columns: Mapping[str, Array]) -> Array:
    missing = [c for c in table.columns if c not in columns]
    if missing:
        raise SetsailError(
            "input.missing",
            f"column {missing[0]!r} of input {table.name!r} is missing",
            field=missing[0],
            expected="columns " + ", ".join(table.columns[:12]),
        )
    lengths = {name: len(a) if a.ndim else 1 for name, a in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SetsailError("input.length", "columns differ in length", value=lengths, expected="equal lengths")
    for name, column in columns.items():
        if column.ndim != 1:
            raise SetsailError(
                "input.shape",
                f"column {name!r} has {column.ndim} dimensions",
                field=name,
                value=list(column.shape),
                expected="a value a row",
            )
    return np.stack([columns[c] for c in table.columns], axis=1)


def _pivot(rows: Sequence[Any]) -> dict[str, list[Any]]:
    names = list(rows[0])
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise SetsailError(
                "input.ragged", f"row {index} is not an object like row 0", value=row, expected="an object", row=index
            )
        if row.keys() != rows[0].keys():
            odd = sorted(map(str, row.keys() ^ rows[0].keys()))[0]
            code = "input.missing" if odd in rows[0] else "input.unknown"
            raise SetsailError(
                code,
                f"row {index} does not have the names of row 0",
                field=odd,
                expected=", ".join(names[:12]),
                row=index,
            )
    return {name: [row[name] for row in rows] for name in names}


def _as_list(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values
    return list(values) if isinstance(values, list | tuple) else [values]
