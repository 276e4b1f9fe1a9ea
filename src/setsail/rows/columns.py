"""A rows file as example rows for packing: typed columns by name, or one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail.messages import Body, Cells, Columns, Rows
from setsail.rows.files import bad, format_of
from setsail.rows.reading import open_rows
from setsail.tensors import Array

__all__ = ["example"]

_BOOLS: Final = {"true": True, "false": False, "True": True, "False": False}


def example(path: Path, *, limit: int = 10_000) -> Any:
    """The first rows of a file, as `Intent.example` takes them.

    Returns:
        An array for .npy and for lists of equally long rows; else a mapping of column name to array. A column of
        text cells is int64 where every cell is an integer, bool where every cell is true or false, float64 where
        every cell is a number or empty (NaN), else objects: str, and None for an empty cell.

    Raises:
        SetsailError: `rows.missing` or `rows.format`.
    """
    suffix = format_of(path)
    with open_rows(path, batch_size=limit) as batches:
        body: Body | None = next(iter(batches), None)
    if body is None:
        raise bad(path, "there are no rows", expected="at least one row")
    if suffix in (".npy", ".npz"):
        return _numpy(path, limit)
    if isinstance(body, Cells):
        assert body.header is not None  # a file's has one
        columns = zip(*body.rows, strict=True)
        return {name: _parsed(cells) for name, cells in zip(body.header, columns, strict=True)}
    if isinstance(body, Rows):
        return _from_rows(path, body.rows)
    assert isinstance(body, Columns)
    if isinstance(body.columns, Mapping):
        return {name: _typed(values) for name, values in body.columns.items()}
    return _typed(body.columns)


def _numpy(path: Path, limit: int) -> Any:
    """With the dtypes of the file."""
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        if loaded.dtype.names:
            return {name: np.array(loaded[name][:limit]) for name in loaded.dtype.names}
        return np.array(loaded[:limit])
    with loaded:
        return {name: loaded[name][:limit] for name in loaded.files}


def _parsed(cells: Sequence[str]) -> Array:
    """Text cells to the narrowest of int64, bool, float64 and text."""
    if all(cell in _BOOLS for cell in cells):
        return np.array([_BOOLS[cell] for cell in cells])
    try:
        if not any("_" in cell for cell in cells):
            return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        if any(cell.strip() for cell in cells) and not any("_" in cell for cell in cells):
            return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError:
        pass
    return _objects([cell or None for cell in cells])


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _typed(values: Sequence[Any]) -> Array:
    """JSON values of one column, nested or not."""
    kinds = set(map(type, values))
    if kinds <= {int, float, type(None)} and kinds & {int, float}:
        if kinds == {int}:
            return np.array(values)
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if kinds <= {bool} or kinds <= {list}:
        return np.array(values)
    return _objects(values)


def _from_rows(path: Path, rows: Sequence[Any]) -> Any:
    if isinstance(rows[0], Mapping):
        columns: dict[str, list[Any]] = {}
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping) or set(row) != set(rows[0]):
                raise bad(path, f"row {index} does not have the columns of row 0", value=row,
                          expected=", ".join(map(str, rows[0])))  # fmt: skip
        for name in rows[0]:
            columns[name] = [row[name] for row in rows]
        return {name: _typed(values) for name, values in columns.items()}
    if isinstance(rows[0], list) and any(isinstance(v, str) or v is None for v in rows[0]):
        table = np.empty((len(rows), len(rows[0])), dtype=object)
        for index, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(rows[0]):
                raise bad(path, f"row {index} is not as long as row 0", value=row)
            table[index] = row
        return table
    try:
        return _typed(rows)
    except ValueError as fault:
        raise bad(path, "the rows are not equally long", expected="a table, or rows with names") from fault
