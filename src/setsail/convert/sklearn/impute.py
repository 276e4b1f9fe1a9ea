"""Missing values: SimpleImputer and MissingIndicator, for numbers and text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from setsail.convert.graph import ML, Graph
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.facts import is_missing
from setsail.convert.sklearn.values import columns, concat, matrix, refuse
from setsail.tensors import NULL

__all__ = ["missing_indicator", "missing_mask", "simple_imputer"]


def simple_imputer(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Fill by column; columns without a statistic are dropped, as the source does."""
    parts = columns(graph, x)
    statistics = list(estimator.statistics_)
    kept = [estimator.keep_empty_features or not _is_nan(s) for s in statistics]
    filled = [
        _filled(graph, estimator, part, value)
        for part, value, keep in zip(parts, statistics, kept, strict=True)
        if keep
    ]
    if not filled:
        raise refuse(estimator, "keeps no column")
    if estimator.add_indicator and len(estimator.indicator_.features_):
        masks = _masks(graph, estimator.indicator_, parts)
        filled += [Value(graph.cast(m.name, "float64"), "float64", 1) for m in masks]
    return {"transformed": concat(graph, filled)}


def missing_indicator(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Whether each value is missing, for the columns of `features_`."""
    if not len(estimator.features_):
        raise refuse(estimator, "keeps no column", "fit it on data with missing values, or use features='all'")
    return {"transformed": concat(graph, _masks(graph, estimator, columns(graph, x)))}


def missing_mask(graph: Graph, x: Value, missing_values: Any) -> str:
    """Where a value is the source's missing value, as bool of x's shape."""
    if x.dtype == "string":
        if missing_values is None or _is_nan(missing_values):
            if x.null != ("None" if missing_values is None else "nan"):  # to the source this is just another value
                return _never(graph, x)
            missing_values = NULL
        found = graph.node("LabelEncoder", x.name, domain=ML, keys_strings=[str(missing_values)],
                           values_int64s=[1], default_int64=0)  # fmt: skip
        return graph.cast(found, "bool")
    if _is_nan(missing_values):
        return str(graph.node("IsNaN", x.name)) if x.dtype.startswith("float") else _never(graph, x)
    if isinstance(missing_values, str) or missing_values is None:
        return _never(graph, x)
    name = x.name if x.dtype == "float64" else graph.cast(x.name, "float64")
    return str(graph.node("Equal", name, graph.constant(missing_values, np.float64)))


def _never(graph: Graph, x: Value) -> str:
    return str(graph.node("Expand", graph.constant([[False]]), graph.node("Shape", x.name)))


def _filled(graph: Graph, estimator: Any, x: Value, statistic: Any) -> Value:
    mask = missing_mask(graph, x, estimator.missing_values)
    if x.dtype == "string":
        if not isinstance(statistic, str):
            raise refuse(estimator, "fills a text column with a number", "fill it with a text")
        return replace(x, name=graph.node("Where", mask, graph.constant(statistic), x.name))
    kind = getattr(estimator, "_fill_dtype", np.dtype(np.float64))
    number = np.asarray(statistic).astype(np.float64 if kind.kind == "O" else kind).astype(np.float64)
    if x.single:
        number = number.astype(np.float32).astype(np.float64)
    name = x.name if x.dtype == "float64" else graph.cast(x.name, "float64")
    return replace(x, name=graph.node("Where", mask, graph.constant(number), name), dtype="float64")


def _masks(graph: Graph, indicator: Any, parts: list[Value]) -> list[Value]:
    chosen = [parts[int(i)] for i in indicator.features_]
    return [Value(missing_mask(graph, matrix(graph, p), indicator.missing_values), "bool", 1) for p in chosen]


def _is_nan(value: Any) -> bool:
    return value is not None and is_missing(value)
