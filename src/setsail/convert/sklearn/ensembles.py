"""Votes, stacks and bags: estimators emitted inside one another.

Inner classifiers are fitted on numbers of classes (0, 1, …), so an inner index is an outer one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import affine, argmax, mean_of, stack_columns
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.responses import codes, response
from setsail.convert.sklearn.values import numbers, refuse, select

__all__ = [
    "bagging_classifier",
    "bagging_regressor",
    "stacking_classifier",
    "stacking_regressor",
    "voting_classifier",
    "voting_regressor",
]


def voting_classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """VotingClassifier. `flatten_transform` plays no part in predicting; `estimators_` has no dropped ones."""
    size = _classes(estimator)
    weights = estimator._weights_not_none
    inner = [(e, emit(graph, e, x)) for e in estimator.estimators_]
    if estimator.voting == "soft":
        chances = mean_of(graph, [response(graph, e, r, "predict_proba").name for e, r in inner], weights)
        return {
            "index": Value(argmax(graph, chances), "int64", None),
            "probabilities": Value(chances, "float64", size),
        }
    eye = graph.constant(np.eye(size))
    votes = mean_of(graph, [graph.node("Gather", eye, codes(graph, e, r)) for e, r in inner], weights)
    return {"index": Value(argmax(graph, votes), "int64", None)}


def _classes(estimator: Any) -> int:
    if isinstance(estimator.classes_, list):
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    return len(estimator.classes_)


def voting_regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """VotingRegressor: the (weighted) mean of predictions."""
    parts = [emit(graph, e, x)["prediction"].name for e in estimator.estimators_]
    return {"prediction": Value(mean_of(graph, parts, estimator._weights_not_none), "float64", None)}


def _stack(graph: Graph, estimator: Any, x: Value | Frame, size: int) -> Results:
    parts: list[str] = []
    width = 0
    for inner, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        value = response(graph, inner, emit(graph, inner, x), method)
        columns = value.width or 1
        if method == "predict_proba" and size == 2:  # the first column is one less the second
            keep = graph.constant(np.arange(1, columns), np.int64)
            value, columns = (
                Value(graph.node("Gather", value.name, keep, axis=1), value.dtype, columns - 1),
                columns - 1,
            )
        parts.append(value.name if value.dtype == "float64" else graph.cast(value.name, "float64"))
        width += columns
    if estimator.passthrough:
        given = numbers(graph, x, estimator)
        parts.append(given.name)
        width += given.width or 1
    return emit(graph, estimator.final_estimator_, Value(stack_columns(graph, parts), "float64", width))


def stacking_classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """StackingClassifier: whatever each inner estimator was asked for in fitting, then the final one."""
    results = _stack(graph, estimator, x, _classes(estimator))
    return results | {"index": Value(codes(graph, estimator.final_estimator_, results), "int64", None)}


def stacking_regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """StackingRegressor: the inner predictions are the final estimator's features."""
    return _stack(graph, estimator, x, 0)


def _bag(graph: Graph, estimator: Any, x: Value | Frame) -> list[tuple[Any, Results]]:
    chosen = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    return [(e, emit(graph, e, select(graph, x, [int(i) for i in features]))) for e, features in chosen]


def bagging_classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """BaggingClassifier: mean probabilities, or the share of votes where the inner estimator has none."""
    size = int(estimator.n_classes_)
    inner = _bag(graph, estimator, x)
    chances = mean_of(graph, [_share(graph, e, r, size) for e, r in inner])
    results = {
        "index": Value(argmax(graph, chances), "int64", None),
        "probabilities": Value(chances, "float64", size),
    }
    if all("decision" in r and len(e.classes_) == size for e, r in inner):
        scores = mean_of(graph, [r["decision"].name for _, r in inner])
        results["decision"] = Value(scores, "float64", inner[0][1]["decision"].width)
    return results


def _share(graph: Graph, inner: Any, results: Results, size: int) -> str:
    if not hasattr(inner, "predict_proba"):
        return str(graph.node("Gather", graph.constant(np.eye(size)), codes(graph, inner, results)))
    chances = response(graph, inner, results, "predict_proba").name
    if len(inner.classes_) == size:
        return chances
    return affine(graph, chances, np.eye(size)[np.asarray(inner.classes_, np.int64)], 0.0)  # its bag missed a class


def bagging_regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """BaggingRegressor: the mean of predictions."""
    parts = [r["prediction"] for _, r in _bag(graph, estimator, x)]
    return {"prediction": Value(mean_of(graph, [p.name for p in parts]), "float64", parts[0].width)}
