"""Clusters and shapes: k-means, Gaussian mixtures, and the envelope of one Gaussian.

A k-means model that stands in the middle of a pipeline gives its distances as features (`transformed`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import affine, argmax, dense, flat, number, softmax, stack_columns, total
from setsail.convert.sklearn.distance import expanded
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers

__all__ = ["elliptic", "k_means", "linear_one_class", "mixture"]


def k_means(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """KMeans and MiniBatchKMeans: int32 cluster numbers, euclidean distances.

    Distances by the expanded form, as in the source; a row on a centre may be 1e-8 of the data's size away from it.
    """
    centres = dense(estimator.cluster_centers_)
    away = graph.node("Sqrt", expanded(graph, numbers(graph, x, estimator).name, centres))
    cluster = graph.cast(graph.node("ArgMin", away, axis=1, keepdims=0), "int32")
    far = Value(away, "float64", len(centres))
    return {"cluster": Value(cluster, "int32", None), "distances": far, "transformed": far}


def mixture(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """GaussianMixture: the likeliest component, and `probabilities` of them all."""
    name = numbers(graph, x, estimator).name
    means = np.asarray(estimator.means_, np.float64)
    size, features = means.shape
    columns, logs = [], []
    for k in range(size):
        factor = _factor(estimator, k, features)
        logs.append(np.log(np.diagonal(factor)).sum())
        turned = affine(graph, graph.node("Sub", name, graph.constant(means[k])), factor, 0.0)
        columns.append(total(graph, graph.node("Mul", turned, turned)))
    constant = np.asarray(logs) + np.log(estimator.weights_) - 0.5 * features * np.log(2 * np.pi)
    halved = graph.node("Mul", stack_columns(graph, columns), number(graph, -0.5))
    scores = graph.node("Add", halved, graph.constant(constant))
    return {
        "cluster": Value(argmax(graph, scores), "int64", None),
        "probabilities": Value(softmax(graph, scores), "float64", size),
    }


def _factor(estimator: Any, k: int, features: int) -> Any:
    """Component k's Cholesky factor of the precision, `[features, features]`, whatever form the source keeps."""
    factors = np.asarray(estimator.precisions_cholesky_, np.float64)
    if estimator.covariance_type == "tied":
        return factors
    if estimator.covariance_type == "full":
        return factors[k]
    return np.diag(np.broadcast_to(factors[k], (features,)))


def elliptic(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """EllipticEnvelope: the squared Mahalanobis distance, negative and shifted; 0 counts as inside."""
    centre = np.asarray(estimator.location_, np.float64)
    centred = graph.node("Sub", numbers(graph, x, estimator).name, graph.constant(centre))
    turned = affine(graph, centred, np.asarray(estimator.get_precision(), np.float64), 0.0)
    squared = flat(graph, total(graph, graph.node("Mul", centred, turned)))
    score = graph.node("Sub", graph.node("Neg", squared), number(graph, estimator.offset_))
    return _judged(graph, score, "int64")


def linear_one_class(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """SGDOneClassSVM: a linear boundary; its labels are int32 in the source."""
    weights = np.asarray(estimator.coef_, np.float64).reshape(-1, 1)
    score = flat(graph, affine(graph, numbers(graph, x, estimator).name, weights, -np.asarray(estimator.offset_)))
    return _judged(graph, score, "int32")


def _judged(graph: Graph, score: str, dtype: str) -> Results:
    inside = graph.node("GreaterOrEqual", score, number(graph, 0.0))
    label = graph.node("Where", inside, graph.constant(1, np.int64), graph.constant(-1, np.int64))
    label = label if dtype == "int64" else graph.cast(label, dtype)
    return {"label": Value(label, dtype, None), "score": Value(score, "float64", None)}
