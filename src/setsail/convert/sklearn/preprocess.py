"""Scalers and other numeric transformers, in the source's own arithmetic and order of operations.

All numbers are float64. Where the source was given float32 (`Value.single`), it computes in float32 as well: each
operation here is done in double and its result rounded to float32, which is what float32 arithmetic gives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.functions import FUNCTIONS, expm1, log1p
from setsail.convert.sklearn.values import columns, concat, matrix, numbers, refuse, select, width
from setsail.tensors import Array

__all__ = [
    "binarizer",
    "bins",
    "function",
    "max_abs_scaler",
    "min_max_scaler",
    "normalized",
    "normalizer",
    "polynomial",
    "power",
    "projection",
    "quantile",
    "robust_scaler",
    "selector",
    "standard_scaler",
]


def standard_scaler(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """(x - mean) / scale; the statistics are first cast to the data's dtype."""
    value = numbers(graph, x, estimator)
    if estimator.with_mean:
        value = _arith(graph, "Sub", value, _cast(value, estimator.mean_))
    if estimator.with_std:
        value = _arith(graph, "Div", value, _cast(value, estimator.scale_))
    return {"transformed": value}


def min_max_scaler(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """x * scale + min, clipped on demand."""
    value = _arith(graph, "Mul", numbers(graph, x, estimator), estimator.scale_)
    value = _arith(graph, "Add", value, estimator.min_)
    return {"transformed": _clip(graph, value, *estimator.feature_range) if estimator.clip else value}


def max_abs_scaler(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """x / scale."""
    value = _arith(graph, "Div", numbers(graph, x, estimator), estimator.scale_)
    return {"transformed": _clip(graph, value, -1.0, 1.0) if getattr(estimator, "clip", False) else value}


def robust_scaler(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """(x - median) / interquartile range."""
    value = numbers(graph, x, estimator)
    if estimator.with_centering:
        value = _arith(graph, "Sub", value, estimator.center_)
    if estimator.with_scaling:
        value = _arith(graph, "Div", value, estimator.scale_)
    return {"transformed": value}


def normalizer(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Each row over its norm; a row whose norm is (almost) 0 stays what it is."""
    value = numbers(graph, x, estimator)
    return {"transformed": normalized(graph, value, estimator.norm)}


def normalized(graph: Graph, value: Value, norm: str) -> Value:
    """A matrix with rows of norm 1 (`l1`, `l2` or `max`)."""
    axis, one = graph.constant([1], np.int64), graph.constant(1.0)
    if norm == "l2":
        squares = graph.node("ReduceSum", graph.node("Mul", value.name, value.name), axis, keepdims=1)
        length = graph.node("Sqrt", squares)
    else:
        op = "ReduceMax" if norm == "max" else "ReduceSum"
        length = graph.node(op, graph.node("Abs", value.name), axis, keepdims=1)
    tiny = graph.node("Less", length, graph.constant(10 * np.finfo(np.float64).eps))
    return replace(value, name=graph.node("Div", value.name, graph.node("Where", tiny, one, length)))


def binarizer(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """1 where x is above the threshold, else 0."""
    value = numbers(graph, x, estimator)
    above = graph.node("Greater", value.name, graph.constant(estimator.threshold, np.float64))
    return {"transformed": replace(value, name=graph.cast(above, "float64"))}


def bins(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """KBinsDiscretizer: how many inner edges a value reaches; one-hot unless ordinal."""
    parts = []
    for value, edges in zip(columns(graph, numbers(graph, x, estimator)), estimator.bin_edges_, strict=True):
        inner = np.asarray(edges[1:-1], np.float64).reshape(1, -1)
        if inner.size:
            reached = graph.cast(graph.node("GreaterOrEqual", value.name, graph.constant(inner)), "float64")
            name = graph.node("ReduceSum", reached, graph.constant([1], np.int64), keepdims=1)
        else:
            name = graph.node("Mul", value.name, graph.constant(0.0))
        value = replace(value, name=name)
        if estimator.encode != "ordinal":
            places = np.arange(len(edges) - 1, dtype=np.float64).reshape(1, -1)
            hot = graph.cast(graph.node("Equal", name, graph.constant(places)), "float64")
            value = replace(value, name=hot, width=places.size)
        parts.append(value)
    return {"transformed": concat(graph, parts)}


def polynomial(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Products of columns, multiplied from the right as the source does: a (b c)."""
    value = numbers(graph, x, estimator)
    count = value.width or 1
    powers = estimator.powers_
    factors = [[i for i, p in enumerate(row) for _ in range(p)] for row in powers.tolist()]
    degree = max((len(f) for f in factors), default=0)
    ones = graph.node("Expand", graph.constant([[1.0]]), _rows(graph, value.name))
    padded = graph.node("Concat", value.name, ones, axis=1)
    name = graph.node("Expand", graph.constant(np.ones((1, len(factors)))), _rows(graph, value.name))
    for place in reversed(range(degree)):
        chosen = [f[place] if place < len(f) else count for f in factors]
        gathered = graph.node("Gather", padded, graph.constant(chosen, np.int64), axis=1)
        name = graph.node("Mul", gathered, name)
        if value.single:
            name = graph.cast(graph.cast(name, "float32"), "float64")
    return {"transformed": replace(value, name=name, width=len(factors), names=())}


def power(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """PowerTransformer: Yeo-Johnson or Box-Cox by column, then standardized."""
    value = numbers(graph, x, estimator)
    lambdas = np.asarray(estimator.lambdas_, np.float64)
    if estimator.method == "box-cox":
        name = _boxed(graph, graph.node("Log", value.name), lambdas)
    else:
        zero = graph.constant(0.0)
        up = _boxed(graph, log1p(graph, graph.node("Max", value.name, zero)), lambdas)
        down = _boxed(graph, log1p(graph, graph.node("Neg", graph.node("Min", value.name, zero))), 2 - lambdas)
        name = graph.node("Where", graph.node("Less", value.name, zero), graph.node("Neg", down), up)
    value = replace(value, name=graph.node("Where", graph.node("IsNaN", value.name), value.name, name))
    return standard_scaler(graph, estimator._scaler, value) if estimator.standardize else {"transformed": value}


def _boxed(graph: Graph, log: str, lambdas: Array) -> str:
    """expm1(lambda log) / lambda; log itself where lambda is 0."""
    zero = np.abs(lambdas) < np.finfo(np.float64).eps
    safe = graph.constant(np.where(zero, 1.0, lambdas))
    curved = graph.node("Div", expm1(graph, graph.node("Mul", log, safe)), safe)
    return str(graph.node("Where", graph.constant(zero), log, curved))


def quantile(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """QuantileTransformer to the uniform distribution: the mean of two interpolations, as repeated quantiles need.

    The source interpolates once over ascending and once over descending quantiles; they differ where quantiles repeat.
    """
    if estimator.output_distribution != "uniform":
        raise refuse(
            estimator, "has no exact conversion to the normal distribution", "use output_distribution='uniform'"
        )
    parts = []
    references = np.asarray(estimator.references_, np.float64)
    value = numbers(graph, x, estimator)
    for column, quantiles in zip(columns(graph, value), estimator.quantiles_.T.astype(np.float64), strict=True):
        up = _interpolated(graph, column.name, quantiles, references)
        down = _interpolated(graph, graph.node("Neg", column.name), -quantiles[::-1], -references[::-1])
        name = graph.node("Mul", graph.node("Sub", up, down), graph.constant(0.5))
        for edge, answer in ((quantiles[-1], 1.0), (quantiles[0], 0.0)):
            at = graph.node("Equal", column.name, graph.constant(edge))
            name = graph.node("Where", at, graph.constant(answer), name)
        parts.append(replace(column, name=graph.node("Where", graph.node("IsNaN", column.name), column.name, name)))
    return {"transformed": concat(graph, parts)}


def _interpolated(graph: Graph, x: str, xp: Array, fp: Array) -> str:
    """numpy's interp of `[N, 1]` over ascending `xp`: the segment that begins at the last `xp` not above x."""
    reached = graph.cast(graph.node("GreaterOrEqual", x, graph.constant(xp.reshape(1, -1))), "int64")
    count = graph.node("ReduceSum", reached, graph.constant([1], np.int64), keepdims=1)
    low, high = graph.constant(1, np.int64), graph.constant(len(xp) - 1, np.int64)
    after = graph.node("Min", graph.node("Max", count, low), high)
    before = graph.node("Sub", after, low)
    x0, y0 = (graph.node("Gather", graph.constant(v), before) for v in (xp, fp))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.diff(fp) / np.diff(xp)
    slope = graph.node("Gather", graph.constant(np.where(np.isfinite(slopes), slopes, 0.0)), before)
    line = graph.node("Add", graph.node("Mul", slope, graph.node("Sub", x, x0)), y0)
    line = graph.node("Where", graph.node("Less", x, graph.constant(xp[0])), graph.constant(fp[0]), line)
    return str(
        graph.node("Where", graph.node("GreaterOrEqual", x, graph.constant(xp[-1])), graph.constant(fp[-1]), line)
    )


def projection(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """PCA and TruncatedSVD: x times the components, centred after the product as the source does."""
    value = numbers(graph, x, estimator)
    components = np.asarray(estimator.components_, np.float64)
    name = graph.node("MatMul", value.name, graph.constant(np.ascontiguousarray(components.T)))
    mean = getattr(estimator, "mean_", None)
    if mean is not None:
        name = graph.node("Sub", name, graph.constant(np.reshape(mean, (1, -1)) @ components.T, np.float64))
    if getattr(estimator, "whiten", False):
        variance = np.sqrt(np.asarray(estimator.explained_variance_, np.float64))
        name = graph.node("Div", name, graph.constant(np.maximum(variance, np.finfo(np.float64).eps)))
    return {"transformed": Value(name, "float64", len(components), single=value.single)}


def selector(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Every feature selector: the columns of its support."""
    indices = [int(i) for i in estimator.get_support(indices=True)]
    if not indices:
        raise refuse(estimator, "keeps no column")
    return {"transformed": matrix(graph, select(graph, x, indices))}


def function(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """FunctionTransformer without a function, or with one of numpy's (`functions.py`)."""
    if estimator.func is None:
        return {"transformed": matrix(graph, x)}
    known = isinstance(estimator.func, np.ufunc) and estimator.func in FUNCTIONS
    if not known or estimator.kw_args:
        name = getattr(estimator.func, "__qualname__", None) or getattr(estimator.func, "__name__", "a function")
        raise refuse(estimator, f"calls {name}, which is Python code",
                     "use a numpy function such as np.log1p, or do this step before the model")  # fmt: skip
    value = numbers(graph, x, estimator)
    name = FUNCTIONS[estimator.func](graph, value.name)
    if value.single:
        name = graph.cast(graph.cast(name, "float32"), "float64")
    return {"transformed": replace(value, name=name, width=width(value))}


# -- small pieces --------------------------------------------------------------------------------------------------


def _arith(graph: Graph, op: str, x: Value, constant: Any) -> Value:
    """One element-wise operation with a constant, rounded as the source rounds."""
    name = graph.node(op, x.name, graph.constant(constant, np.float64))
    if x.single:
        name = graph.cast(graph.cast(name, "float32"), "float64")
    return replace(x, name=name)


def _cast(x: Value, statistics: Array) -> Array:
    return statistics.astype(np.float32 if x.single else np.float64)


def _clip(graph: Graph, x: Value, low: float, high: float) -> Value:
    """Clip; NaN stays NaN."""
    name = graph.node("Clip", x.name, graph.constant(low, np.float64), graph.constant(high, np.float64))
    return replace(x, name=graph.node("Where", graph.node("IsNaN", x.name), x.name, name))


def _rows(graph: Graph, name: str) -> str:
    """The shape [N, 1] of a matrix."""
    count = graph.node("Shape", name, start=0, end=1)
    return str(graph.node("Concat", count, graph.constant([1], np.int64), axis=0))
