"""Many binary classifiers for many classes, many regressors for many targets."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import argmax, binary, flat, number, stack_columns, total
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.responses import confidence, named_class, response
from setsail.convert.sklearn.svm import pairwise_votes
from setsail.convert.sklearn.values import numbers, refuse

__all__ = ["chain", "multi_output", "one_vs_one", "one_vs_rest"]


def one_vs_rest(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """OneVsRestClassifier: the class whose own classifier is surest; one classifier stands for two classes."""
    if estimator.multilabel_:
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    inner = [(e, emit(graph, e, x)) for e in estimator.estimators_]
    scores = [confidence(graph, e, r) for e, r in inner]
    results: Results = {}
    if len(inner) == 1:
        above = graph.node("Greater", flat(graph, scores[0][0]), number(graph, scores[0][1]))
        results["index"] = Value(graph.cast(above, "int64"), "int64", None)
    else:
        results["index"] = Value(argmax(graph, stack_columns(graph, [s for s, _ in scores])), "int64", None)
    if hasattr(estimator, "decision_function"):
        results["decision"] = _joined(graph, [response(graph, e, r, "decision_function").name for e, r in inner])
    if hasattr(estimator, "predict_proba"):
        columns = [named_class(graph, response(graph, e, r, "predict_proba"), 1) for e, r in inner]
        results["probabilities"] = Value(_normalised(graph, columns), "float64", max(2, len(inner)))
    return results


def _joined(graph: Graph, columns: list[str]) -> Value:
    if len(columns) == 1:
        return Value(flat(graph, columns[0]), "float64", None)
    return Value(stack_columns(graph, columns), "float64", len(columns))


def _normalised(graph: Graph, columns: list[str]) -> str:
    """Shares of the row's sum; here, unlike elsewhere, a row of zeros stays one."""
    chances = binary(graph, columns[0]) if len(columns) == 1 else stack_columns(graph, columns)
    amount = total(graph, chances)
    none = graph.node("Equal", amount, number(graph, 0.0))
    return str(graph.node("Div", chances, graph.node("Where", none, number(graph, 1.0), amount)))


def one_vs_one(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """OneVsOneClassifier: votes of the pairs, ties broken by their confidence."""
    if estimator.pairwise_indices_ is not None:
        raise refuse(
            estimator, "takes kernel values of rows chosen pair by pair", "fit the inner estimator on features"
        )
    size = int(estimator.n_classes_)
    inner = [(e, emit(graph, e, x)) for e in estimator.estimators_]
    seconds = stack_columns(graph, [response(graph, e, r, "predict").name for e, r in inner])
    scores = [confidence(graph, e, r) for e, r in inner]
    together = stack_columns(graph, [s for s, _ in scores])
    spread = pairwise_votes(graph, together, size, list(combinations(range(size), 2)), seconds)
    if size > 2:
        return {
            "index": Value(argmax(graph, spread), "int64", None),
            "decision": Value(spread, "float64", size),
        }
    second = flat(graph, graph.node("Gather", spread, graph.constant([1], np.int64), axis=1))
    above = graph.cast(graph.node("Greater", second, number(graph, scores[0][1])), "int64")
    return {"index": Value(above, "int64", None), "decision": Value(second, "float64", None)}


def multi_output(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """MultiOutputRegressor: one regressor a target, side by side."""
    parts = [response(graph, e, emit(graph, e, x), "predict").name for e in estimator.estimators_]
    return {"prediction": Value(stack_columns(graph, parts), "float64", len(parts))}


def chain(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """RegressorChain: each regressor also sees the predictions before it; answers in the targets' own order."""
    given = numbers(graph, x, estimator)
    parts: list[str] = []
    for inner in estimator.estimators_:
        seen = Value(stack_columns(graph, [given.name, *parts]), "float64", (given.width or 1) + len(parts))
        parts.append(response(graph, inner, emit(graph, inner, seen), "predict").name)
    ordered = [parts[i] for i in np.argsort(estimator.order_)]
    return {"prediction": Value(stack_columns(graph, ordered), "float64", len(ordered))}
