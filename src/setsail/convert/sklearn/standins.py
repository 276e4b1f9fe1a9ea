"""Estimators that answer for another one, or without looking: frozen and self-trained models, dummies."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import repeat
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.values import columns, refuse
from setsail.tensors import Array

__all__ = ["dummy_classifier", "dummy_regressor", "frozen", "self_training"]


def frozen(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """FrozenEstimator: the estimator inside."""
    return emit(graph, estimator.estimator, x)


def self_training(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """SelfTrainingClassifier: the classifier of its last round."""
    return emit(graph, estimator.estimator_, x)


def dummy_classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """DummyClassifier where it does not draw: one row of probabilities for all."""
    if estimator.n_outputs_ != 1:
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    chances = _dummy_chances(estimator)
    like = columns(graph, x)[0].name
    return {
        "index": Value(repeat(graph, like, np.asarray(chances.argmax(), np.int64)), "int64", None),
        "probabilities": Value(repeat(graph, like, chances), "float64", len(chances)),
    }


def _dummy_chances(estimator: Any) -> Array:
    prior = np.asarray(estimator.class_prior_, np.float64)
    if estimator.strategy == "prior":
        return prior
    if estimator.strategy == "most_frequent":
        return np.asarray(np.eye(len(prior))[prior.argmax()])
    if estimator.strategy == "constant":
        return np.asarray(np.ravel(estimator.classes_ == np.ravel(estimator.constant)[0]), np.float64)
    raise refuse(estimator, f"draws its answers (strategy={estimator.strategy!r})", 'use strategy="prior"')


def dummy_regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """DummyRegressor: its constant, `[N]` for one target."""
    row = np.asarray(estimator.constant_, np.float64).ravel()
    one = estimator.n_outputs_ == 1
    answer = repeat(graph, columns(graph, x)[0].name, row[0] if one else row)
    return {"prediction": Value(answer, "float64", None if one else len(row))}
