"""The few lines of float64 arithmetic that estimators share, as nodes.

Functions take and give ONNX value names; `[N, k]` unless said otherwise. The forms are the source's own where rounding
or overflow could tell: the logistic function as `1 / (1 + exp(-s))`, the softmax after subtracting each row's maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Results, Value
from setsail.tensors import Array

__all__ = [
    "affine",
    "argmax",
    "binary",
    "by_share",
    "column",
    "dense",
    "flat",
    "largest",
    "logistic",
    "mean_column",
    "mean_of",
    "number",
    "repeat",
    "scored",
    "softmax",
    "stack_columns",
    "total",
]


def number(graph: Graph, value: float) -> str:
    """A float64 scalar."""
    return graph.constant(value, np.float64)


def dense(matrix: Any) -> Array:
    """A fitted matrix as float64, also where the source keeps it sparse (`sparsify`, sparse training data)."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, np.float64)


def affine(graph: Graph, x: str, weights: Array, offset: Any) -> str:
    """`x @ weights + offset` with weights `[k, p]`."""
    product = graph.node("MatMul", x, graph.constant(weights, np.float64))
    offset = np.atleast_1d(np.asarray(offset, np.float64))
    return str(graph.node("Add", product, graph.constant(offset))) if np.any(offset) else str(product)


def flat(graph: Graph, x: str) -> str:
    """`[N, 1]` to `[N]`."""
    return str(graph.node("Reshape", x, graph.constant([-1], np.int64)))


def column(graph: Graph, x: str) -> str:
    """`[N]` to `[N, 1]`."""
    return str(graph.node("Reshape", x, graph.constant([-1, 1], np.int64)))


def stack_columns(graph: Graph, columns: list[str]) -> str:
    """Matrices (or `[N, 1]` columns) side by side."""
    return str(columns[0]) if len(columns) == 1 else str(graph.node("Concat", *columns, axis=1))


def total(graph: Graph, x: str) -> str:
    """Each row's sum, `[N, 1]`."""
    return str(graph.node("ReduceSum", x, graph.constant([1], np.int64), keepdims=1))


def mean_column(graph: Graph, x: str) -> str:
    """Each row's mean, `[N, 1]`."""
    return str(graph.node("ReduceMean", x, graph.constant([1], np.int64), keepdims=1))


def largest(graph: Graph, x: str) -> str:
    """Each row's maximum, `[N, 1]`."""
    return str(graph.node("ReduceMax", x, graph.constant([1], np.int64), keepdims=1))


def argmax(graph: Graph, x: str) -> str:
    """Each row's first largest column, int64 `[N]`."""
    return str(graph.node("ArgMax", x, axis=1, keepdims=0))


def logistic(graph: Graph, x: str) -> str:
    """`1 / (1 + exp(-x))`; 0 and 1 at the far ends, never NaN."""
    one = number(graph, 1.0)
    return str(graph.node("Div", one, graph.node("Add", one, graph.node("Exp", graph.node("Neg", x)))))


def softmax(graph: Graph, x: str) -> str:
    """Row-wise softmax that does not overflow: the row's maximum is taken off first."""
    powers = graph.node("Exp", graph.node("Sub", x, largest(graph, x)))
    return str(graph.node("Div", powers, total(graph, powers)))


def binary(graph: Graph, positive: str) -> str:
    """`[1 - p, p]` from the positive class's column `[N, 1]`."""
    return stack_columns(graph, [graph.node("Sub", number(graph, 1.0), positive), positive])


def by_share(graph: Graph, x: str, width: int) -> str:
    """Each row divided by its sum; a row of zeros becomes the uniform distribution, as in one-vs-rest."""
    amount = total(graph, x)
    none = graph.node("Equal", amount, number(graph, 0.0))
    shares = graph.node("Div", x, graph.node("Where", none, number(graph, 1.0), amount))
    return str(graph.node("Where", none, graph.constant(np.full((1, width), 1.0 / width)), shares))


def repeat(graph: Graph, x: str, row: Array) -> str:
    """One constant row for each row of `x` (`[N, k]`): `[N, len(row)]`, or `[N]` for a scalar."""
    row = np.asarray(row)
    size = graph.node("Slice", graph.node("Shape", x), *(graph.constant([i], np.int64) for i in (0, 1)))
    shape = size if row.ndim == 0 else graph.node("Concat", size, graph.constant([row.shape[0]], np.int64), axis=0)
    return str(graph.node("Expand", graph.constant(row), shape))


def mean_of(graph: Graph, values: list[str], weights: Any = None) -> str:
    """The (weighted) mean of equally shaped values, summed in order and divided once, as `numpy.average` does."""
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if weights is not None:
        values = [graph.node("Mul", v, number(graph, w)) for v, w in zip(values, shares, strict=True)]
    amount = values[0]
    for value in values[1:]:
        amount = graph.node("Add", amount, value)
    return str(graph.node("Div", amount, number(graph, float(shares.sum()))))


def scored(graph: Graph, scores: str, width: int) -> Results:
    """Index and decision of a linear classifier: one column decides by its sign and is 1-D, more by the largest."""
    if width > 1:
        return {"index": Value(argmax(graph, scores), "int64", None), "decision": Value(scores, "float64", width)}
    decision = flat(graph, scores)
    index = graph.cast(graph.node("Greater", decision, number(graph, 0.0)), "int64")
    return {"index": Value(index, "int64", None), "decision": Value(decision, "float64", None)}
