"""Multi-layer perceptrons: matrix products and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import affine, argmax, binary, dense, flat, logistic, number, softmax
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers, refuse

__all__ = ["classifier", "regressor"]

_ACTIVATIONS: Final[dict[str, Callable[[Graph, str], str]]] = {
    "identity": lambda graph, x: x,
    "relu": lambda graph, x: str(graph.node("Max", x, number(graph, 0.0))),
    "tanh": lambda graph, x: str(graph.node("Tanh", x)),
    "logistic": logistic,
    "softmax": softmax,
    "exp": lambda graph, x: str(graph.node("Exp", x)),
}


def _layers(graph: Graph, estimator: Any, x: Value | Frame) -> str:
    name = numbers(graph, x, estimator).name
    last = len(estimator.coefs_) - 1
    for i, (weights, offset) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        activation = estimator.out_activation_ if i == last else estimator.activation
        if activation not in _ACTIVATIONS:
            raise refuse(estimator, f"uses the activation {activation!r}")
        name = _ACTIVATIONS[activation](graph, affine(graph, name, dense(weights), offset))
    return name


def regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """MLPRegressor: one output is 1-D, as the source ravels it."""
    name, width = _layers(graph, estimator, x), int(estimator.n_outputs_)
    if width == 1:
        return {"prediction": Value(flat(graph, name), "float64", None)}
    return {"prediction": Value(name, "float64", width)}


def classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """MLPClassifier: one logistic output for two classes (above 0.5 is the second), else softmax."""
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    name, width = _layers(graph, estimator, x), int(estimator.n_outputs_)
    if width > 1:
        index = argmax(graph, name)
    else:
        index = graph.cast(flat(graph, graph.node("Greater", name, number(graph, 0.5))), "int64")
        name, width = binary(graph, name), 2
    return {"index": Value(index, "int64", None), "probabilities": Value(name, "float64", width)}
