"""Nearest neighbours: distances summed feature by feature, in the source's order, and the k smallest.

The trees that scikit-learn searches sum `(a - b) ** 2` over the features one after the other, in float64. Doing just
that gives bit-equal distances, so rows between training rows at equal distances do not depend on rounding. Where more
training rows are *exactly* equally far than there are places left, the source takes those its tree meets first and the
program those with the lowest number; parity says whether that shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import argmax, dense, flat, mean_column, number, total
from setsail.convert.sklearn.distance import METRICS, distances, nearest_rows
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.linear import posterior
from setsail.convert.sklearn.values import numbers, refuse

__all__ = ["centroid", "classifier", "local_outliers", "nearest", "regressor"]


def nearest(graph: Graph, estimator: Any, x: Value | Frame) -> tuple[str, str]:
    """Distances and training row numbers `[N, k]` of the nearest, nearest first."""
    metric, options = estimator.effective_metric_, estimator.effective_metric_params_
    known = metric == "minkowski" or metric in METRICS
    if not isinstance(metric, str) or not known or options.get("w") is not None:
        name = metric if isinstance(metric, str) else "a Python function"
        raise refuse(estimator, f"measures distances by {name}", "use euclidean, manhattan, chebyshev or minkowski")
    points = dense(estimator._fit_X)
    k = min(getattr(estimator, "n_neighbors_", estimator.n_neighbors), len(points))
    return nearest_rows(graph, numbers(graph, x, estimator).name, points, k, metric, options.get("p"))


def _weights(graph: Graph, estimator: Any, away: str) -> str | None:
    """None for equal weights; else 1 / distance, or 1 for neighbours at distance 0 and then 0 for all others."""
    if estimator.weights in (None, "uniform"):
        return None
    if estimator.weights != "distance":
        raise refuse(estimator, "weighs neighbours by a Python function", 'use weights="uniform" or "distance"')
    one = number(graph, 1.0)
    inverse = graph.node("Div", one, away)
    same = graph.cast(graph.node("IsInf", inverse), "float64")
    any_same = graph.node("Greater", total(graph, same), number(graph, 0.0))
    return str(graph.node("Where", any_same, same, inverse))


def classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """KNeighborsClassifier: each neighbour's weight goes to its class."""
    if estimator.outputs_2d_:
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    away, rows = nearest(graph, estimator, x)
    weights = _weights(graph, estimator, away)
    size = len(estimator.classes_)
    labels = graph.node("Gather", graph.constant(np.eye(size)[estimator._y]), rows)  # [N, k, classes]
    if weights is not None:
        labels = graph.node("Mul", labels, graph.node("Unsqueeze", weights, graph.constant([2], np.int64)))
    votes = graph.node("ReduceSum", labels, graph.constant([1], np.int64), keepdims=0)
    chances = graph.node("Div", votes, total(graph, votes))
    return {
        "index": Value(argmax(graph, votes), "int64", None),
        "probabilities": Value(chances, "float64", size),
    }


def regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """KNeighborsRegressor: the (weighted) mean of the neighbours' targets, with their rank."""
    away, rows = nearest(graph, estimator, x)
    weights = _weights(graph, estimator, away)
    targets = np.asarray(estimator._y, np.float64)
    values = graph.node("Gather", graph.constant(targets.reshape(len(targets), -1)), rows)  # [N, k, targets]
    middle = graph.constant([1], np.int64)
    if weights is None:
        answer = graph.node("ReduceMean", values, middle, keepdims=0)
    else:
        weighted = graph.node("Mul", values, graph.node("Unsqueeze", weights, graph.constant([2], np.int64)))
        answer = graph.node("Div", graph.node("ReduceSum", weighted, middle, keepdims=0), total(graph, weights))
    if targets.ndim == 1:
        return {"prediction": Value(flat(graph, answer), "float64", None)}
    return {"prediction": Value(answer, "float64", targets.shape[1])}


def centroid(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """NearestCentroid: the nearest of the classes' centres, or with unequal priors the best discriminant score."""
    if estimator.metric not in METRICS:
        raise refuse(estimator, f"measures distances by {estimator.metric}", "use euclidean or manhattan")
    name, size = numbers(graph, x, estimator).name, len(estimator.classes_)
    centres = dense(estimator.centroids_)
    away = distances(graph, name, centres, estimator.metric)
    index = graph.node("ArgMin", away, axis=1, keepdims=0)
    priors = np.asarray(getattr(estimator, "class_prior_", np.full(size, 1.0 / size)))  # scikit-learn 1.6 and later
    spread = getattr(estimator, "within_class_std_dev_", None)
    if spread is None:
        return {"index": Value(index, "int64", None)}
    scale = np.where(spread != 0, spread, 1.0)
    scaled = distances(graph, graph.node("Div", name, graph.constant(scale)), centres / scale, estimator.metric)
    squares = graph.node("Neg", graph.node("Mul", scaled, scaled))
    scores = posterior(graph, graph.node("Add", squares, graph.constant(2.0 * np.log(priors))), size)
    if np.isclose(priors, 1 / size).all():
        scores["index"] = Value(index, "int64", None)
    return scores if estimator.metric == "euclidean" else {"index": scores["index"]}


def local_outliers(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """LocalOutlierFactor with `novelty=True`: how much less dense a row's neighbourhood is than its neighbours'."""
    if not estimator.novelty:
        raise refuse(estimator, "was fitted without novelty=True", "only then does it judge rows it has not seen")
    away, rows = nearest(graph, estimator, x)
    reach = np.asarray(estimator._distances_fit_X_[:, estimator.n_neighbors_ - 1], np.float64)
    reached = graph.node("Max", away, graph.node("Gather", graph.constant(reach), rows))
    density = graph.node("Add", mean_column(graph, reached), number(graph, 1e-10))  # one over the density
    theirs = graph.node("Gather", graph.constant(np.asarray(estimator._lrd, np.float64)), rows)
    factor = mean_column(graph, graph.node("Div", theirs, graph.node("Div", number(graph, 1.0), density)))
    score = graph.node("Sub", graph.node("Neg", factor), number(graph, estimator.offset_))
    outside = graph.node("Less", flat(graph, score), number(graph, 0.0))
    label = graph.node("Where", outside, graph.constant(-1, np.int64), graph.constant(1, np.int64))
    return {"label": Value(label, "int64", None), "score": Value(flat(graph, score), "float64", None)}
