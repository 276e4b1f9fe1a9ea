"""Calibrated probabilities, isotonic regression, and decisions at a threshold of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import (
    argmax,
    binary,
    by_share,
    column,
    flat,
    logistic,
    mean_of,
    number,
    repeat,
    softmax,
    stack_columns,
    total,
)
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.responses import named_class, preferred, response
from setsail.convert.sklearn.values import numbers, refuse

__all__ = ["calibrated", "fixed_threshold", "isotonic", "tuned_threshold"]


def calibrated(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """CalibratedClassifierCV: the mean of its calibrated classifiers, one with `ensemble=False`."""
    size = len(estimator.classes_)
    chances = mean_of(graph, [_one(graph, c, x) for c in estimator.calibrated_classifiers_])
    return {"index": Value(argmax(graph, chances), "int64", None), "probabilities": Value(chances, "float64", size)}


def _one(graph: Graph, member: Any, x: Value | Frame) -> str:
    inner, size = member.estimator, len(member.classes)
    method = preferred(inner, ("decision_function", "predict_proba"))
    scores = response(graph, inner, emit(graph, inner, x), method)
    if member.method == "temperature":
        return _cooled(graph, member, scores, method)
    if method == "predict_proba" and scores.width == 2:
        scores = Value(named_class(graph, scores, 1), "float64", 1)
    places = np.searchsorted(member.classes, inner.classes_)
    columns = [repeat(graph, scores.name, np.zeros(1))] * size
    for k, (place, calibrator) in enumerate(zip(places, member.calibrators, strict=False)):
        if k < (scores.width or 1):
            columns[place + (size == 2)] = _calibrator(graph, calibrator, named_class(graph, scores, k))
    chances = binary(graph, columns[1]) if size == 2 else by_share(graph, stack_columns(graph, columns), size)
    return str(graph.node("Min", chances, number(graph, 1.0)))  # rounding may leave them a little above 1


def _cooled(graph: Graph, member: Any, scores: Value, method: str) -> str:
    """Temperature scaling: the softmax of scaled logits; log probabilities where there is no decision function."""
    logits = scores.name
    if method == "predict_proba":
        logits = graph.node("Log", graph.node("Add", logits, number(graph, 1e-12)))
    elif scores.width == 1:
        logits = stack_columns(graph, [graph.node("Neg", logits), logits])
    return softmax(graph, graph.node("Mul", logits, number(graph, member.calibrators[0].beta_)))


def _calibrator(graph: Graph, calibrator: Any, scores: str) -> str:
    if hasattr(calibrator, "X_thresholds_"):
        return _interpolated(graph, calibrator, scores)
    slope, offset = number(graph, calibrator.a_), number(graph, calibrator.b_)
    line = graph.node("Add", graph.node("Mul", scores, slope), offset)
    return logistic(graph, graph.node("Neg", line))


def isotonic(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """IsotonicRegression on one column."""
    answer = _interpolated(graph, estimator, column(graph, numbers(graph, x, estimator).name))
    return {"prediction": Value(flat(graph, answer), "float64", None)}


def _interpolated(graph: Graph, estimator: Any, scores: str) -> str:
    """Between thresholds a straight line, as `numpy.interp` draws it; `[N, 1]` to `[N, 1]`.

    The source rounds its input to the thresholds' dtype, which is float32 for a model fitted on float32.
    """
    if estimator.out_of_bounds == "raise":
        raise refuse(estimator, 'fails on rows outside its range (out_of_bounds="raise")', 'use out_of_bounds="clip"')
    if estimator.X_thresholds_.dtype == np.float32:
        scores = graph.cast(graph.cast(scores, "float32"), "float64")
    xs, ys = (np.asarray(v, np.float64) for v in (estimator.X_thresholds_, estimator.y_thresholds_))
    low, high = number(graph, estimator.X_min_), number(graph, estimator.X_max_)
    inside = graph.node("Clip", scores, low, high)
    slopes = np.append(np.diff(ys) / np.diff(xs), 0.0)
    reached = total(graph, graph.cast(graph.node("GreaterOrEqual", inside, graph.constant(xs)), "float64"))
    place = graph.node("Sub", graph.cast(flat(graph, reached), "int64"), graph.constant(1, np.int64))
    x_low, y_low, slope = (column(graph, graph.node("Gather", graph.constant(v), place)) for v in (xs, ys, slopes))
    line = graph.node("Add", graph.node("Mul", slope, graph.node("Sub", inside, x_low)), y_low)
    if estimator.out_of_bounds == "clip":
        return str(line)
    return str(graph.node("Where", graph.node("Equal", inside, scores), line, number(graph, np.nan)))


def fixed_threshold(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """FixedThresholdClassifier."""
    inner = getattr(estimator, "estimator_", estimator.estimator)
    return _threshold(graph, estimator, inner, x, estimator.threshold, estimator.pos_label)


def tuned_threshold(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """TunedThresholdClassifierCV at the threshold it found."""
    positive = estimator._curve_scorer._get_pos_label()
    return _threshold(graph, estimator, estimator.estimator_, x, estimator.best_threshold_, positive)


def _threshold(graph: Graph, estimator: Any, inner: Any, x: Value | Frame, threshold: Any, positive: Any) -> Results:
    asked = estimator.response_method
    methods = ("predict_proba", "decision_function") if asked == "auto" else (asked,)
    method = preferred(inner, methods)
    results = emit(graph, inner, x)
    value = response(graph, inner, results, method)
    place = 1 if positive is None else int(np.flatnonzero(np.asarray(inner.classes_) == positive)[0])
    if method == "predict_proba":
        score = named_class(graph, value, place)
    else:
        score = value.name if place else graph.node("Neg", value.name)
    if threshold == "auto":
        threshold = 0.5 if method == "predict_proba" else 0.0
    above = graph.cast(graph.node("GreaterOrEqual", flat(graph, score), number(graph, threshold)), "int64")
    index = above if place else graph.node("Sub", graph.constant(1, np.int64), above)
    return results | {"index": Value(index, "int64", None)}
