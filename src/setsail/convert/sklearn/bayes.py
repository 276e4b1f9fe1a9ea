"""Naive Bayes: joint log likelihoods, and their softmax.

All but the Gaussian and the categorical are one matrix product with what the source has fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import affine, argmax, dense, number, softmax, stack_columns, total
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers

__all__ = ["bernoulli", "categorical", "complement", "gaussian", "multinomial"]


def _answers(graph: Graph, joint: str, size: int) -> Results:
    return {
        "index": Value(argmax(graph, joint), "int64", None),
        "probabilities": Value(softmax(graph, joint), "float64", size),
    }


def gaussian(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """GaussianNB: squares of differences, not the expanded form, which loses digits far from zero."""
    name = numbers(graph, x, estimator).name
    columns = []
    for mean, variance in zip(dense(estimator.theta_), dense(estimator.var_), strict=True):
        apart = graph.node("Sub", name, graph.constant(mean))
        columns.append(total(graph, graph.node("Div", graph.node("Mul", apart, apart), graph.constant(variance))))
    constant = np.log(estimator.class_prior_) - 0.5 * np.log(2.0 * np.pi * dense(estimator.var_)).sum(axis=1)
    halved = graph.node("Mul", stack_columns(graph, columns), number(graph, -0.5))
    return _answers(graph, graph.node("Add", halved, graph.constant(constant)), len(columns))


def multinomial(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """MultinomialNB: counts times log probabilities, and the classes' priors."""
    weights = dense(estimator.feature_log_prob_)
    joint = affine(graph, numbers(graph, x, estimator).name, weights.T, estimator.class_log_prior_)
    return _answers(graph, joint, len(weights))


def complement(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """ComplementNB: priors count only where there is one class."""
    weights = dense(estimator.feature_log_prob_)
    prior = estimator.class_log_prior_ if len(weights) == 1 else 0.0
    return _answers(graph, affine(graph, numbers(graph, x, estimator).name, weights.T, prior), len(weights))


def bernoulli(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """BernoulliNB: features present or absent, split at `binarize` where it is given."""
    name = numbers(graph, x, estimator).name
    if estimator.binarize is not None:
        name = graph.cast(graph.node("Greater", name, number(graph, estimator.binarize)), "float64")
    present = dense(estimator.feature_log_prob_)
    absent = np.log(1.0 - np.exp(present))
    offset = estimator.class_log_prior_ + absent.sum(axis=1)
    return _answers(graph, affine(graph, name, (present - absent).T, offset), len(present))


def categorical(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """CategoricalNB: each feature, cut to an integer as the source does, looks up its column of log probabilities."""
    codes = graph.cast(numbers(graph, x, estimator).name, "int64")
    joint = graph.constant(np.asarray(estimator.class_log_prior_, np.float64)[None, :])
    for i, table in enumerate(estimator.feature_log_prob_):
        code = graph.node("Gather", codes, graph.constant(i, np.int64), axis=1)
        known = graph.node("Gather", graph.constant(np.ascontiguousarray(dense(table).T)), code)
        joint = graph.node("Add", joint, known)
    return _answers(graph, joint, len(estimator.classes_))
