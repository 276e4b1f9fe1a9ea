"""What one estimator inside another answers, by the name of the method that the outer one calls.

A result that the inner emitter does not give (an ensemble of trees without its `decision`, say) is refused here by
name, never replaced by another one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn.base import is_regressor

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import column
from setsail.convert.sklearn.emit import Results, Value
from setsail.convert.sklearn.values import refuse

__all__ = ["codes", "confidence", "named_class", "preferred", "response"]

_RESULTS: Final = {"predict_proba": "probabilities", "decision_function": "decision"}


def codes(graph: Graph, estimator: Any, results: Results) -> str:
    """A classifier's `predict` as int64 `[N]`, for classes that an outer estimator has numbered."""
    classes = np.asarray(estimator.classes_)
    if classes.dtype.kind not in "iub":
        raise refuse(estimator, "answers with labels, not numbers, inside another estimator", "fit both together")
    if np.array_equal(classes, np.arange(len(classes))):
        return results["index"].name
    return str(graph.node("Gather", graph.constant(classes.astype(np.int64)), results["index"].name))


def response(graph: Graph, estimator: Any, results: Results, method: str) -> Value:
    """The value of `predict`, `predict_proba` or `decision_function`, a 1-D one made a `[N, 1]` column."""
    if method == "predict":
        value = results.get("prediction")
        if value is None:
            value = Value(graph.cast(codes(graph, estimator, results), "float64"), "float64", None)
    elif _RESULTS[method] in results:
        value = results[_RESULTS[method]]
    else:
        raise refuse(estimator, f"has no exact conversion of its {method}, which the estimator around it uses")
    return Value(column(graph, value.name), value.dtype, 1) if value.width is None else value


def preferred(estimator: Any, methods: tuple[str, ...]) -> str:
    """The first of the methods that the fitted estimator has."""
    for method in methods:
        if hasattr(estimator, method):
            return method
    raise refuse(estimator, f"has none of {', '.join(methods)}")


def named_class(graph: Graph, value: Value, place: int) -> str:
    """One column `[N, 1]` of a matrix."""
    return str(graph.node("Gather", value.name, graph.constant([place], np.int64), axis=1))


def confidence(graph: Graph, estimator: Any, results: Results) -> tuple[str, float]:
    """A binary estimator's one score `[N, 1]`, and the threshold above which it is positive (`_predict_binary`)."""
    if is_regressor(estimator):
        return response(graph, estimator, results, "predict").name, 0.5
    if hasattr(estimator, "decision_function"):
        return response(graph, estimator, results, "decision_function").name, 0.0
    return named_class(graph, response(graph, estimator, results, "predict_proba"), 1), 0.5
