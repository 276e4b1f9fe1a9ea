"""Pipelines, unions and column transformers: emitters that call `emit` for their parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.functions import FUNCTIONS
from setsail.convert.sklearn.values import columns, concat, matrix, numbers, refuse, select

__all__ = ["column_indices", "column_transformer", "feature_union", "pipeline", "search", "target"]


def pipeline(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Each step on the result of the step before it."""
    steps = [step for _, step in estimator.steps]
    for step in steps[:-1]:
        x = transform(graph, step, x)
    last = steps[-1]
    return {"transformed": matrix(graph, x)} if _passes(last) else emit(graph, last, x)


def transform(graph: Graph, step: Any, x: Value | Frame) -> Value | Frame:
    """One transformer's matrix; `passthrough` gives its input back."""
    if _passes(step):
        return x
    results = emit(graph, step, x)
    if "transformed" not in results:
        raise refuse(step, "is used as a transformer, for which there is no conversion")
    return results["transformed"]


def feature_union(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Every part on the same input, side by side, each times its weight."""
    weights = estimator.transformer_weights or {}
    parts = []
    for name, part in estimator.transformer_list:
        if part != "drop":
            parts.append(_weighted(graph, matrix(graph, transform(graph, part, x)), weights.get(name)))
    return {"transformed": concat(graph, parts)}


def column_transformer(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Each part on its own columns, side by side in the order of `transformers_`, the remainder last."""
    weights = estimator.transformer_weights or {}
    parts = []
    for name, part, chosen in estimator.transformers_:
        indices = column_indices(estimator, chosen)
        if part == "drop" or not indices:
            continue
        picked = select(graph, x, indices)
        if _is_scalar(chosen):  # one column by its bare name: the part is given a 1-D column
            (picked,) = columns(graph, picked)
            picked = replace(picked, name=graph.node("Squeeze", picked.name, graph.constant([1], np.int64)), width=None)
        result = matrix(graph, transform(graph, part, picked))
        parts.append(_weighted(graph, result, weights.get(name)))
    if not parts:
        raise refuse(estimator, "keeps no column")
    return {"transformed": concat(graph, parts)}


def column_indices(estimator: Any, chosen: Any) -> list[int]:
    """The columns of a ColumnTransformer's row as positions: names, positions, slices and masks alike."""
    count = estimator.n_features_in_
    names = [str(n) for n in getattr(estimator, "feature_names_in_", ())]

    def position(key: Any) -> int:
        return names.index(key) if isinstance(key, str) else int(key) % count

    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):  # by name: both ends belong to it
            start = 0 if chosen.start is None else position(chosen.start)
            stop = count if chosen.stop is None else position(chosen.stop) + 1
            return list(range(start, stop, chosen.step or 1))
        return list(range(count))[chosen]
    if _is_scalar(chosen):
        return [position(chosen)]
    keys = list(chosen)
    if keys and all(isinstance(k, bool | np.bool_) for k in keys):
        return [i for i, kept in enumerate(keys) if kept]
    return [position(k) for k in keys]


def target(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """TransformedTargetRegressor: the inner regressor, its answer turned back by the transformer's inverse."""
    prediction = emit(graph, estimator.regressor_, x)["prediction"]
    inverse = _INVERSES.get(type(estimator.transformer_).__name__)
    if inverse is None:
        raise refuse(estimator, f"turns its target back with {type(estimator.transformer_).__name__}",
                     "use StandardScaler, MinMaxScaler, np.log1p/np.expm1 or np.log/np.exp")  # fmt: skip
    name = inverse(graph, estimator.transformer_, numbers(graph, prediction).name)
    name = graph.cast(name, "float64")
    shape = [-1] if estimator._training_dim == 1 else [-1, prediction.width or 1]
    width = None if estimator._training_dim == 1 else shape[1]
    return {"prediction": Value(graph.node("Reshape", name, graph.constant(shape, np.int64)), "float64", width)}


def search(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """A search inside a pipeline: the best estimator it found."""
    return emit(graph, estimator.best_estimator_, x)


def _standard(graph: Graph, scaler: Any, name: str) -> str:
    if scaler.scale_ is not None:
        name = graph.node("Mul", name, graph.constant(scaler.scale_, np.float64))
    return str(graph.node("Add", name, graph.constant(scaler.mean_, np.float64))) if scaler.with_mean else name


def _min_max(graph: Graph, scaler: Any, name: str) -> str:
    name = graph.node("Sub", name, graph.constant(scaler.min_, np.float64))
    return str(graph.node("Div", name, graph.constant(scaler.scale_, np.float64)))


def _function(graph: Graph, transformer: Any, name: str) -> str:
    """The numpy functions whose meaning is fixed; anything else is somebody's Python code."""
    function = transformer.inverse_func
    if function is None:
        return name
    if isinstance(function, np.ufunc) and function in FUNCTIONS:
        return FUNCTIONS[function](graph, name)
    raise refuse("TransformedTargetRegressor", "turns its target back with a Python function",
                 "use func=np.log1p with inverse_func=np.expm1, or np.log with np.exp")  # fmt: skip


_INVERSES = {"StandardScaler": _standard, "MinMaxScaler": _min_max, "FunctionTransformer": _function}


def _weighted(graph: Graph, part: Value, weight: float | None) -> Value:
    if weight is None:
        return part
    part = numbers(graph, part)
    return replace(part, name=graph.node("Mul", part.name, graph.constant(float(weight))))


def _passes(step: Any) -> bool:
    """Whether a step hands its input on: `passthrough`, and what a fitted ColumnTransformer makes of it."""
    if type(step).__name__ == "FunctionTransformer":
        return step.func is None
    return step is None or (isinstance(step, str) and step == "passthrough")


def _is_scalar(chosen: Any) -> bool:
    return isinstance(chosen, str | int | np.integer) and not isinstance(chosen, bool)
