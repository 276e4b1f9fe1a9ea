"""Kernels between rows and fitted points, and the ridge regression over them."""

from __future__ import annotations

from typing import Any, Final

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import affine, dense, flat, number
from setsail.convert.sklearn.distance import distances, expanded, rounding
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers, refuse
from setsail.tensors import Array

__all__ = ["pairwise_kernel", "ridge"]

_NAMES: Final = {"polynomial": "poly"}


def pairwise_kernel(graph: Graph, x: str, points: Array, kind: str, gamma: float, coef0: float, degree: float) -> str:
    """Kernel values `[N, len(points)]` of each row with each point.

    The rbf kernel takes the squared distances from a matrix product, unless its rounding could show in the exponent.
    """
    if kind == "rbf":
        rounds = gamma * rounding(points) > 1e-9
        apart = distances(graph, x, points, "sqeuclidean") if rounds else expanded(graph, x, points)
        return str(graph.node("Exp", graph.node("Mul", apart, number(graph, -gamma))))
    if kind == "linear":
        return affine(graph, x, points.T, 0.0)
    inner = affine(graph, x, gamma * points.T, coef0)
    if kind == "sigmoid":
        return str(graph.node("Tanh", inner))
    return str(graph.node("Pow", inner, number(graph, degree)))


def ridge(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """KernelRidge: kernel values times the dual coefficients, with the rank of the target it was fitted on."""
    kind = estimator.kernel if callable(estimator.kernel) else _NAMES.get(estimator.kernel, estimator.kernel)
    weights = dense(estimator.dual_coef_)
    name = numbers(graph, x, estimator).name
    if kind == "precomputed":
        values = name
    elif kind in ("rbf", "linear", "poly", "sigmoid"):
        points = dense(estimator.X_fit_)
        gamma = 1.0 / points.shape[1] if estimator.gamma is None else float(estimator.gamma)
        values = pairwise_kernel(graph, name, points, kind, gamma, float(estimator.coef0), float(estimator.degree))
    else:
        raise refuse(estimator, f"uses the kernel {kind!r}", "use rbf, linear, polynomial or sigmoid")
    answer = affine(graph, values, weights.reshape(len(weights), -1), 0.0)
    if weights.ndim == 1:
        return {"prediction": Value(flat(graph, answer), "float64", None)}
    return {"prediction": Value(answer, "float64", weights.shape[1])}
