"""Support vector machines as matrix products in float64.

ONNX has operators for them, but their kernels are float32. libsvm's own order of things is kept where it shows: one
decision for each pair of classes, votes for the label, pairwise coupling for the probabilities
(Wu, Lin and Weng 2004, the second method; `multiclass_probability` in libsvm's svm.cpp).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import (
    affine,
    argmax,
    dense,
    flat,
    largest,
    number,
    scored,
    stack_columns,
    total,
)
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.kernels import pairwise_kernel
from setsail.convert.sklearn.values import numbers, refuse
from setsail.tensors import Array

__all__ = ["classifier", "one_class", "pairwise_votes", "regressor"]


def _kernel(graph: Graph, estimator: Any, x: Value | Frame) -> str:
    name = numbers(graph, x, estimator).name
    if estimator.kernel == "precomputed":
        return str(graph.node("Gather", name, graph.constant(estimator.support_, np.int64), axis=1))
    if callable(estimator.kernel):
        raise refuse(estimator, "has a Python function as its kernel", "use one of the named kernels")
    points = dense(estimator.support_vectors_)
    gamma = float(estimator._gamma)
    return pairwise_kernel(
        graph, name, points, estimator.kernel, gamma, float(estimator.coef0), float(estimator.degree)
    )


def regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """SVR and NuSVR."""
    weights = dense(estimator._dual_coef_).reshape(-1, 1)
    answer = affine(graph, _kernel(graph, estimator, x), weights, estimator._intercept_)
    return {"prediction": Value(flat(graph, answer), "float64", None)}


def one_class(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """OneClassSVM: 1 strictly above the boundary, else -1."""
    score = regressor(graph, estimator, x)["prediction"]
    inside = graph.node("Greater", score.name, number(graph, 0.0))
    label = graph.node("Where", inside, graph.constant(1, np.int64), graph.constant(-1, np.int64))
    return {"label": Value(label, "int64", None), "score": score}


def classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """SVC and NuSVC: one decision for each pair of classes `(i, j)`, positive for `i`."""
    size = len(estimator.classes_)
    pairs = list(combinations(range(size), 2))
    decisions = affine(graph, _kernel(graph, estimator, x), _pair_weights(estimator, pairs), estimator._intercept_)
    if size == 2:
        results = scored(graph, graph.node("Neg", decisions), 1)
    else:
        results = _by_votes(graph, estimator, decisions, pairs)
    if estimator.probability is True:
        results["probabilities"] = Value(_chances(graph, estimator, decisions, pairs), "float64", size)
    return results


def _pair_weights(estimator: Any, pairs: list[tuple[int, int]]) -> Array:
    """`[support vectors, pairs]`: a vector of class i has its weight against j in row j, or j - 1 if j is above i."""
    dual = dense(estimator._dual_coef_)
    ends = np.cumsum([0, *estimator._n_support])
    weights = np.zeros((dual.shape[1], len(pairs)))
    for p, (i, j) in enumerate(pairs):
        weights[ends[i] : ends[i + 1], p] = dual[j - 1, ends[i] : ends[i + 1]]
        weights[ends[j] : ends[j + 1], p] = dual[i, ends[j] : ends[j + 1]]
    return weights


def _by_votes(graph: Graph, estimator: Any, decisions: str, pairs: list[tuple[int, int]]) -> Results:
    size = len(estimator.classes_)
    spread = pairwise_votes(graph, graph.node("Neg", decisions), size, pairs)
    shown = (decisions, len(pairs)) if estimator.decision_function_shape == "ovo" else (spread, size)
    if estimator.break_ties:
        index = argmax(graph, spread)
    else:
        first = graph.cast(graph.node("Greater", decisions, number(graph, 0.0)), "float64")
        index = argmax(graph, _count(graph, graph.node("Sub", number(graph, 1.0), first), first, size, pairs))
    return {"index": Value(index, "int64", None), "decision": Value(shown[0], "float64", shown[1])}


def _sides(size: int, pairs: list[tuple[int, int]]) -> tuple[Array, Array]:
    """Two `[pairs, classes]` matrices of 0 and 1: each pair's first and second class."""
    eye = np.eye(size)
    return eye[[i for i, _ in pairs]], eye[[j for _, j in pairs]]


def _count(graph: Graph, for_second: str, for_first: str, size: int, pairs: list[tuple[int, int]]) -> str:
    first, second = _sides(size, pairs)
    return str(graph.node("Add", affine(graph, for_first, first, 0.0), affine(graph, for_second, second, 0.0)))


def pairwise_votes(
    graph: Graph, confidences: str, size: int, pairs: list[tuple[int, int]], seconds: str | None = None
) -> str:
    """One-vs-one to one-vs-rest: votes, and summed confidences squeezed below a third to break ties.

    `confidences` `[N, pairs]` are positive for the second class of a pair; `seconds` says which pairs voted for it
    (0 or 1), by default those above 0.
    """
    if seconds is None:
        seconds = graph.cast(graph.node("Greater", confidences, number(graph, 0.0)), "float64")
    votes = _count(graph, seconds, graph.node("Sub", number(graph, 1.0), seconds), size, pairs)
    first, second = _sides(size, pairs)
    sums = affine(graph, confidences, second - first, 0.0)
    bound = graph.node("Mul", graph.node("Add", graph.node("Abs", sums), number(graph, 1.0)), number(graph, 3.0))
    return str(graph.node("Add", votes, graph.node("Div", sums, bound)))


_LEAST: Final = 1e-7  # libsvm keeps pairwise probabilities this far from 0 and 1


def _chances(graph: Graph, estimator: Any, decisions: str, pairs: list[tuple[int, int]]) -> str:
    """Platt's logistic function for each pair, then the coupling of all pairs.

    Two classes are coupled too: libsvm's sweeps stop at an error of 0.0025 there, which shows in the third digit.
    """
    size = len(estimator.classes_)
    slopes, offsets = (graph.constant(v, np.float64) for v in (estimator._probA, estimator._probB))
    power = graph.node("Exp", graph.node("Add", graph.node("Mul", decisions, slopes), offsets))
    one = number(graph, 1.0)
    free = graph.node("Div", one, graph.node("Add", one, power))
    won = graph.node("Clip", free, number(graph, _LEAST), number(graph, 1.0 - _LEAST))
    return _coupled(graph, won, size, pairs)


def _coupled(graph: Graph, won: str, size: int, pairs: list[tuple[int, int]]) -> str:
    """The probabilities p that minimise `p' Q p`; each row stops by itself, as libsvm does row by row."""
    lost = graph.node("Sub", number(graph, 1.0), won)
    first, second = _sides(size, pairs)
    squares = (graph.node("Mul", v, v) for v in (lost, won))
    diagonal = affine(graph, next(squares), first, 0.0), affine(graph, next(squares), second, 0.0)
    own = graph.node("Add", *diagonal)  # Q[t, t] = sum over j of r[j, t] squared
    cross = graph.node("Neg", graph.node("Mul", won, lost))  # Q[t, j] = -r[t, j] r[j, t]
    rows = []
    for t in range(size):
        places = np.zeros((len(pairs), size))
        for p, (i, j) in enumerate(pairs):
            if t in (i, j):
                places[p, j if t == i else i] = 1.0
        alone = graph.constant(np.eye(size)[t])
        rows.append(graph.node("Add", affine(graph, cross, places, 0.0), graph.node("Mul", own, alone)))
    start = affine(graph, won, np.zeros((len(pairs), size)), np.full(size, 1.0 / size))

    def step(inner: Graph, _: str, held: str) -> tuple[str, str]:
        return _round(inner, rows, held, 0.005 / size)

    return graph.loop(max(100, size), start, "float64", step)


def _round(graph: Graph, rows: list[str], held: str, error: float) -> tuple[str, str]:
    """One sweep over the classes. Rows whose largest error is already small stay as they are."""
    size = len(rows)
    products = [total(graph, graph.node("Mul", row, held)) for row in rows]
    slopes = stack_columns(graph, products)
    value = total(graph, graph.node("Mul", held, slopes))
    far = largest(graph, graph.node("Abs", graph.node("Sub", slopes, value)))
    open_ = graph.node("Not", graph.node("Less", far, number(graph, error)))
    one, p = number(graph, 1.0), held
    for t in range(size):
        at = graph.constant([t], np.int64)
        slope, weight = (graph.node("Gather", v, at, axis=1) for v in (slopes, rows[t]))
        change = graph.node("Div", graph.node("Sub", value, slope), weight)
        scale = graph.node("Add", one, change)
        moved = graph.node("Add", p, graph.node("Mul", change, graph.constant(np.eye(size)[t])))
        doubled = graph.node("Mul", slope, number(graph, 2.0))
        gain = graph.node("Mul", change, graph.node("Add", graph.node("Mul", change, weight), doubled))
        value = graph.node("Div", graph.node("Div", graph.node("Add", value, gain), scale), scale)
        slopes = graph.node("Div", graph.node("Add", slopes, graph.node("Mul", change, rows[t])), scale)
        p = graph.node("Div", moved, scale)
    again = graph.node("Cast", graph.node("ReduceMax", graph.cast(open_, "float64"), keepdims=0), to=9)
    return str(graph.node("Where", open_, p, held)), str(again)
