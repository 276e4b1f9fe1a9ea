"""Values and frames: what every emitter needs to take its input apart and put it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Frame, Value
from setsail.errors import SetsailError

__all__ = ["columns", "concat", "matrix", "numbers", "refuse", "select", "texts", "width"]


def refuse(estimator: Any, why: str, todo: str | None = None) -> SetsailError:
    """The error for an estimator, or an option of it, that has no exact conversion."""
    name = estimator if isinstance(estimator, str) else type(estimator).__name__
    return SetsailError("convert.unsupported", f"{name} {why}", field=name, todo=todo)


def width(x: Value | Frame) -> int:
    """How many columns there are; a 1-D value is one."""
    return len(x.columns) if isinstance(x, Frame) else x.width or 1


def columns(graph: Graph, x: Value | Frame) -> list[Value]:
    """Each column as a `[N, 1]` value of its own dtype."""
    if isinstance(x, Frame):
        return list(x.columns.values())
    if x.width is None:
        return [replace(x, name=graph.node("Unsqueeze", x.name, graph.constant([1], np.int64)), width=1)]
    if x.width == 1:
        return [x]
    return [_gather(graph, x, [i]) for i in range(x.width)]


def matrix(graph: Graph, x: Value | Frame) -> Value:
    """One `[N, width]` matrix. Columns of several numeric dtypes become float64, as numpy does.

    Raises:
        SetsailError: `convert.unsupported` when text and numbers meet in one table.
    """
    if isinstance(x, Value):
        return x if x.width is not None else columns(graph, x)[0]
    return concat(graph, list(x.columns.values()), names=tuple(x.columns))


def concat(graph: Graph, parts: Sequence[Value], names: tuple[str, ...] = ()) -> Value:
    """Matrices side by side, in one dtype."""
    dtypes = {p.dtype for p in parts}
    if "string" in dtypes and len(dtypes) > 1:
        raise refuse(
            "a table of text and numbers",
            "reaches a step that takes one dtype",
            "encode the text columns in a ColumnTransformer first",
        )
    dtype = dtypes.pop() if len(dtypes) == 1 else "float64"
    cells = [_as(graph, p, dtype) for p in parts]
    single = all(p.single for p in parts)
    if len(cells) == 1:
        return replace(cells[0], names=names, single=single)
    total = sum(p.width or 1 for p in cells)
    name = graph.node("Concat", *(c.name for c in cells), axis=1)
    return Value(name, dtype, total, names, null=parts[0].null, single=single)


def numbers(graph: Graph, x: Value | Frame, estimator: Any = "this step") -> Value:
    """A float64 matrix. Raises `convert.unsupported` for text."""
    value = matrix(graph, x)
    if value.dtype == "string":
        raise refuse(estimator, "is given text", "encode text columns before this step")
    return _as(graph, value, "float64")


def texts(graph: Graph, x: Value | Frame, estimator: Any) -> Value:
    """A 1-D value of text, as vectorisers take it."""
    value = matrix(graph, x) if isinstance(x, Frame) else x
    if value.dtype != "string" or (value.width or 1) != 1:
        raise refuse(estimator, "is not given one column of text", "pass one text column")
    if value.width is None:
        return value
    return replace(value, name=graph.node("Squeeze", value.name, graph.constant([1], np.int64)), width=None)


def select(graph: Graph, x: Value | Frame, indices: Sequence[int]) -> Value | Frame:
    """Some columns, in the order given."""
    if isinstance(x, Frame):
        names = list(x.columns)
        return Frame({names[i]: x.columns[names[i]] for i in indices})
    x = matrix(graph, x)
    return x if list(indices) == list(range(x.width or 1)) else _gather(graph, x, indices)


def _gather(graph: Graph, x: Value, indices: Sequence[int]) -> Value:
    name = graph.node("Gather", x.name, graph.constant(list(indices), np.int64), axis=1)
    names = tuple(x.names[i] for i in indices) if x.names else ()
    return replace(x, name=name, width=len(indices), names=names)


def _as(graph: Graph, x: Value, dtype: str) -> Value:
    return x if x.dtype == dtype else replace(x, name=graph.cast(x.name, dtype), dtype=dtype)
