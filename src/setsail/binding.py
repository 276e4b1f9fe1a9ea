"""From what a client sent to the arrays a model takes.

Rules (`contract.md` §5): JSON numbers take the signature's dtype; typed tensors widen losslessly, never narrow;
`null` is NaN for floats and NULL for text that may be missing, else an error. A row may be a list in the
signature's order or a mapping by name. A homogeneous table also takes its column names as names.

Every list is flattened level by level before numpy sees it, so that a ragged row is found with its index, a text
among numbers is never parsed as one, and numpy never allocates for a client's single long string.

This is the general way. Most requests are bound by `shortcut` before they come here, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np

from setsail.envelope import numbered, opened, placed, raw
from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows, Tensor, Tensors
from setsail.shortcut import ALLOWED, at_once, converted
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array, Numbers, finite, widens

__all__ = ["bind"]

_INFINITE = (float("inf"), float("-inf"))


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
        arrays = _from_tensors(signature, _known(signature, body))
    elif isinstance(body, Rows):
        arrays = _from_rows(signature, body.rows) if body.names is None else _from_table(signature, body)
    elif isinstance(body, Columns):
        arrays = _from_columns(signature, body)
    elif isinstance(body, Cells):
        arrays = _from_cells(signature, body)
    else:
        return _bind(signature, body.again())
    return signature.check(arrays)


# -- the four bodies -----------------------------------------------------------------------------------------------


def _from_tensors(signature: Signature, tensors: Sequence[Tensor]) -> dict[str, Array]:
    if len(tensors) == 1 and isinstance(tensors[0].data, bytes):
        tensors = (raw(signature, tensors[0].data),)
    table = signature.table
    if table is not None and tensors and all(t.name in table.columns for t in tensors):
        columns = {t.name: _typed(_column_spec(table, t.name), t) for t in tensors}
        return {table.name: _stack(table, columns)}
    arrays: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name in arrays:
            raise SetsailError(
                "input.unknown", f"input {tensor.name!r} is sent twice", field=tensor.name, expected="each input once"
            )
        arrays[tensor.name] = _typed(signature.input(tensor.name), tensor)
    return arrays


def _known(signature: Signature, body: Tensors) -> Sequence[Tensor]:
    """The tensors that the model has inputs or columns for, where others are ignored."""
    if body.loose:
        return placed(signature, body.tensors)
    if not body.ignore_unknown:
        return body.tensors
    names = {spec.name for spec in signature.inputs} | set(signature.table.columns if signature.table else ())
    return [tensor for tensor in body.tensors if tensor.name in names]


def _from_table(signature: Signature, body: Rows) -> dict[str, Array]:
    """Rows whose values were named once for all of them."""
    rows, names = body.rows, body.names or ()
    if not len(rows):
        raise SetsailError("input.empty", "the request has no rows", expected="at least one row")
    if isinstance(rows, Numbers):
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise _no_row(0, rows[0].tolist(), names)
        listed = cache(rows.listed)  # for those columns that must know how their numbers were written
        columns: dict[str, Any] = {
            name: Numbers.of(np.ascontiguousarray(rows[:, i]), partial(_column, listed, i))
            for i, name in enumerate(names)
        }
    else:
        for index, row in enumerate(rows):
            if not isinstance(row, list | tuple) or len(row) != len(names):
                raise _no_row(index, row, names)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return _from_columns(signature, Columns(columns, True))


def _column(listed: Callable[[], Any], index: int) -> list[Any]:
    return [row[index] for row in listed()]


def _no_row(index: int, row: Any, names: Sequence[str]) -> SetsailError:
    return SetsailError(
        "input.ragged", f"row {index} does not have a value for every column", value=row,
        expected=f"{len(names)} values: " + ", ".join(names[:12]), row=index,
    )  # fmt: skip


def _from_rows(signature: Signature, rows: Any) -> dict[str, Array]:
    if not len(rows):
        raise SetsailError("input.empty", "the request has no rows", expected="at least one row")
    if isinstance(rows, np.ndarray):
        rows = _listed(rows)
    if isinstance(rows[0], Mapping):
        return _from_columns(signature, Columns(_pivot(rows)))
    only = signature.inputs[0]
    if len(signature.inputs) == 1:
        return {only.name: _nested(only, rows)}
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
    return {spec.name: _nested(spec, [row[i] for row in rows]) for i, spec in enumerate(signature.inputs)}


def _from_columns(signature: Signature, body: Columns) -> dict[str, Array]:
    columns, table = body.columns, signature.table
    if not isinstance(columns, Mapping):
        if len(signature.inputs) != 1:
            raise SetsailError(
                "input.missing",
                "a model with several inputs needs them by name",
                value=_listed(columns) if isinstance(columns, np.ndarray) else columns,
                expected=", ".join(s.name for s in signature.inputs),
            )
        return {signature.inputs[0].name: _nested(signature.inputs[0], _as_list(columns))}
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
            arrays = {n: _nested(_column_spec(table, n), _as_list(c)) for n, c in known.items()}
            return {table.name: _stack(table, arrays)}
    names = {s.name for s in signature.inputs}
    return {
        name: _nested(signature.input(name), _as_list(values))
        for name, values in columns.items()
        if name in names or not body.ignore_unknown
    }


def _from_cells(signature: Signature, body: Cells) -> dict[str, Array]:
    assert body.header is not None
    table = signature.table or numbered(signature)
    specs = {n: _column_spec(table, n) for n in table.columns} if table else {s.name: s for s in signature.inputs}
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
        arrays[name] = _nested(spec, [_cell(spec, row[position], i, body.nulls) for i, row in enumerate(body.rows)])
    return {table.name: _stack(table, arrays)} if table else arrays


# -- values ----------------------------------------------------------------------------------------------------------


def _typed(spec: TensorSpec, tensor: Tensor) -> Array:
    """A tensor with a declared dtype and shape."""
    declared = tensor.dtype
    if declared is not None and not _may_become(declared.name, declared.kind, spec, tensor):
        raise SetsailError(
            "input.dtype", f"input {spec.name!r} is declared {declared.oip}", field=spec.name, value=declared.oip,
            expected=f"{spec.dtype.oip} or a type that widens to it",
        )  # fmt: skip
    if isinstance(tensor.data, np.ndarray) and not isinstance(tensor.data, Numbers):
        array = _decode(spec, tensor.data)
        if array.dtype != spec.dtype.numpy:
            with np.errstate(invalid="ignore", over="ignore"):  # a NaN of some bits is remarked on, and stays one
                cast = array.astype(spec.dtype.numpy)
                # The way back hides a sign that was lost, and may make an infinity the integer that became it.
                whole = array.dtype.kind not in "iu" or (
                    finite(cast)
                    and np.array_equal(cast.astype(array.dtype), array)
                    and np.array_equal(cast < 0, array < 0)
                )
            if not whole:
                raise SetsailError(
                    "input.range",
                    f"input {spec.name!r} has integers that {spec.dtype} cannot hold",
                    field=spec.name,
                    expected=f"integers {spec.dtype} holds exactly",
                )
            array = cast
    else:
        array = _values(spec, tensor.data)
        if tensor.shape is None:
            return array
    shape = tensor.shape if tensor.shape is not None else array.shape
    count = 1
    for size in shape:
        count *= size
    if count != array.size:
        raise SetsailError(
            "input.shape", f"input {spec.name!r} has {array.size} values for its shape", field=spec.name,
            value=list(shape), expected=f"{count} values",
        )  # fmt: skip
    if len(shape) == len(spec.shape) + 1 and shape[-1] == 1:
        shape = shape[:-1]  # a column sent as [N, 1], as table codecs of other servers' clients do
    return array.reshape(shape)


def _may_become(name: str, kind: str, spec: TensorSpec, tensor: Tensor) -> bool:
    if tensor.dtype is not None and widens(tensor.dtype, spec.dtype):
        return True
    return kind in ("int", "uint") and spec.dtype.kind == "float"  # checked value by value


def _decode(spec: TensorSpec, array: Array) -> Array:
    """Text that came as bytes, to str."""
    if spec.dtype.kind != "string":
        return array
    return _numbers(spec, array.shape, array.ravel().tolist())


def _nested(spec: TensorSpec, data: Any) -> Array:
    array = _values(spec, data)
    if array.ndim == 2 and array.shape[1] == 1 and len(spec.shape) == 1:
        array = array.reshape(-1)
    return array


def _values(spec: TensorSpec, data: Any) -> Array:
    """JSON values, nested, as an array of the input's dtype."""
    if isinstance(data, np.ndarray):
        array = converted(spec.dtype, data, data.shape[1:]) if isinstance(data, Numbers) else None
        if array is not None:
            return array
        data = _listed(data)
    shape, flat = _flatten(spec, data)
    return _numbers(spec, shape, flat)


def _listed(array: Array) -> Any:
    return array.listed() if isinstance(array, Numbers) else array.tolist()


def _flatten(spec: TensorSpec, data: Any) -> tuple[tuple[int, ...], list[Any]]:
    shape: list[int] = []
    level: list[Any] = [data]
    while isinstance(level[0], list | tuple):
        width = len(level[0])
        for index, item in enumerate(level):
            if not isinstance(item, list | tuple) or len(item) != width:
                row = index // max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else index
                raise SetsailError(
                    "input.ragged",
                    f"input {spec.name!r}, row {row}, is not as long as row 0",
                    field=spec.name,
                    value=item,
                    expected=f"{width} values",
                    row=row,
                )
        shape.append(width)
        if len(shape) > 32:
            raise SetsailError(
                "input.shape", f"input {spec.name!r} is nested too deeply", field=spec.name, expected=str(spec)
            )
        level = list(chain.from_iterable(level))
        if not level:
            break
    return tuple(shape), level


def _numbers(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any]) -> Array:
    """Python scalars of one input to an array of its dtype, refusing whatever would change a value."""
    kind, allowed = spec.dtype.kind, ALLOWED[spec.dtype.kind]
    types = set(map(type, flat))
    if kind == "string" and float in types:  # as data frames have it, a missing text is not a number
        flat = [None if v != v else v for v in flat]
        types = set(map(type, flat))
    if not types <= allowed:
        flat = _nulls(spec, shape, flat, types - allowed)
    if kind == "string":
        return _text(spec, shape, flat, types)
    try:
        if kind == "float":
            with np.errstate(over="ignore"):
                array = np.array(flat, dtype=spec.dtype.numpy)
        else:
            array = np.array(flat, dtype=spec.dtype.numpy)
    except OverflowError as fault:
        raise _out_of_range(spec, shape, flat) from fault
    if kind == "float" and not finite(array) and np.isinf(array).sum() != sum(v in _INFINITE for v in flat):
        raise _out_of_range(spec, shape, flat)
    return array.reshape(shape)


def _nulls(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any], wrong: set[type]) -> list[Any]:
    if wrong == {type(None)}:
        if spec.nullable and spec.dtype.kind in ("float", "string"):
            null = NULL if spec.dtype.kind == "string" else float("nan")
            return [null if v is None else v for v in flat]
        index = flat.index(None)
        raise SetsailError(
            "input.null",
            f"input {spec.name!r}, row {_row(shape, index)}, is null",
            field=spec.name,
            expected=f"a {spec.dtype} value",
            row=_row(shape, index),
        )
    index = next(i for i, v in enumerate(flat) if type(v) in wrong and v is not None)
    row = _row(shape, index)
    if isinstance(flat[index], list | tuple):
        raise SetsailError(
            "input.ragged",
            f"input {spec.name!r}, row {row}, is nested deeper than row 0",
            field=spec.name,
            value=flat[index],
            expected=str(spec),
            row=row,
        )
    raise SetsailError(
        "input.dtype",
        f"input {spec.name!r}, row {row}, has the wrong type",
        field=spec.name,
        value=flat[index],
        expected=f"a {spec.dtype} value",
        row=row,
    )


def _text(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any], types: set[type]) -> Array:
    if bytes in types:
        try:
            flat = [v.decode() if isinstance(v, bytes) else v for v in flat]
        except UnicodeDecodeError as fault:
            raise SetsailError(
                "input.dtype",
                f"input {spec.name!r} holds bytes that are not UTF-8",
                field=spec.name,
                expected="UTF-8 text",
            ) from fault
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _cell(spec: TensorSpec, text: str, row: int, nulls: frozenset[str]) -> Any:
    if spec.dtype.kind == "string":
        return None if spec.nullable and (text == "" or text in nulls) else text
    if text.strip() == "" or text in nulls:
        return None
    try:
        if spec.dtype.kind == "float":
            return float(text)
        if spec.dtype.kind == "bool":
            return {"true": True, "false": False}[text.strip().lower()]
        return int(text)
    except (ValueError, KeyError):
        raise SetsailError(
            "input.dtype",
            f"input {spec.name!r}, row {row}, has the wrong type",
            field=spec.name,
            value=text,
            expected=f"a {spec.dtype} value",
            row=row,
        ) from None


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


def _row(shape: tuple[int, ...], index: int) -> int:
    per_row = 1
    for size in shape[1:]:
        per_row *= size
    return index // max(1, per_row)


def _out_of_range(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any]) -> SetsailError:
    info: Any = np.finfo(spec.dtype.numpy) if spec.dtype.kind == "float" else np.iinfo(spec.dtype.numpy)
    # Python's own numbers: they compare exactly, an integer of any size too. NaN and infinities are values here.
    low, high = np.asarray(info.min).item(), np.asarray(info.max).item()
    index = next(i for i, v in enumerate(flat) if v not in _INFINITE and (v < low or v > high))
    return SetsailError(
        "input.range",
        f"input {spec.name!r}, row {_row(shape, index)}, is out of range",
        field=spec.name,
        value=flat[index],
        expected=f"{low} to {high}",
        row=_row(shape, index),
    )
