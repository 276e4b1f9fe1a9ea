"""Scalers and other column-wise transformers, in the source's own arithmetic and order of operations.

All numbers are float64. Where the source was given float32 (`Value.single`), it computes in float32 as well: each
operation here is done in double and its result rounded to float32, which is what float32 arithmetic gives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers

__all__ = ["standard_scaler"]


def arith(graph: Graph, op: str, x: Value, constant: Any) -> Value:
    """One element-wise operation with a constant, rounded as the source rounds."""
    name = graph.node(op, x.name, graph.constant(constant, np.float64))
    if x.single:
        name = graph.cast(graph.cast(name, "float32"), "float64")
    return replace(x, name=name)


def standard_scaler(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """(x - mean) / scale; the statistics are first cast to the data's dtype."""
    value = numbers(graph, x, estimator)
    kind = np.float32 if value.single else np.float64
    if estimator.with_mean:
        value = arith(graph, "Sub", value, estimator.mean_.astype(kind))
    if estimator.with_std:
        value = arith(graph, "Div", value, estimator.scale_.astype(kind))
    return {"transformed": value}
