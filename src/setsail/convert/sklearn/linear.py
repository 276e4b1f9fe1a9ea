"""Linear models: a matrix product, an offset, and what each class makes of the scores.

Regressors keep the rank of the target they were fitted on (`coef_` is 1-D for `y [N]`, 2-D for `y [N, 1]` and up).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import (
    affine,
    argmax,
    binary,
    by_share,
    dense,
    flat,
    logistic,
    number,
    scored,
    softmax,
    stack_columns,
    total,
)
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.values import numbers, refuse

__all__ = [
    "classifier",
    "discriminant",
    "generalized",
    "logistic_regression",
    "posterior",
    "quadratic",
    "ransac",
    "regressor",
    "sgd",
]


def regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Every `LinearModel`: LinearRegression, Ridge, Lasso, ElasticNet, Lars, BayesianRidge, Huber, LinearSVR…"""
    weights = dense(estimator.coef_)
    if weights.ndim == 1:
        scores = flat(
            graph, affine(graph, numbers(graph, x, estimator).name, weights[:, None], np.ravel(estimator.intercept_))
        )
        return {"prediction": Value(scores, "float64", None)}
    scores = affine(graph, numbers(graph, x, estimator).name, weights.T, estimator.intercept_)
    return {"prediction": Value(scores, "float64", len(weights))}


def generalized(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """PoissonRegressor, GammaRegressor, TweedieRegressor: the inverse link of the linear prediction."""
    linear = regressor(graph, estimator, x)["prediction"]
    link = type(estimator._base_loss.link).__name__
    if link == "IdentityLink":
        return {"prediction": linear}
    if link != "LogLink":
        raise refuse(estimator, f"has no exact conversion of its link {link}")
    return {"prediction": Value(graph.node("Exp", linear.name), "float64", linear.width)}


def ransac(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """RANSACRegressor answers as the model it fitted on the inliers."""
    return emit(graph, estimator.estimator_, x)


def _scores(graph: Graph, estimator: Any, x: Value | Frame) -> tuple[str, int]:
    weights = np.atleast_2d(dense(estimator.coef_))
    return affine(graph, numbers(graph, x, estimator).name, weights.T, estimator.intercept_), len(weights)


def classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Every `LinearClassifierMixin` without probabilities: LinearSVC, RidgeClassifier, Perceptron…"""
    binarizer = getattr(estimator, "_label_binarizer", None)
    if binarizer is not None and binarizer.y_type_.startswith("multilabel"):
        raise refuse(estimator, "was fitted on several labels a row", "fit one classifier a label")
    return scored(graph, *_scores(graph, estimator, x))


def _one_vs_rest(graph: Graph, scores: str, width: int) -> str:
    chances = logistic(graph, scores)
    return binary(graph, chances) if width == 1 else by_share(graph, chances, width)


def _modified_huber(graph: Graph, scores: str, width: int) -> str:
    inside = graph.node("Clip", scores, number(graph, -1.0), number(graph, 1.0))
    chances = graph.node("Div", graph.node("Add", inside, number(graph, 1.0)), number(graph, 2.0))
    return binary(graph, chances) if width == 1 else by_share(graph, chances, width)


def _multinomial(graph: Graph, scores: str, width: int) -> str:
    return binary(graph, logistic(graph, scores)) if width == 1 else softmax(graph, scores)


def _two_sided(graph: Graph, scores: str, width: int) -> str:
    """Old binary multinomial models: the softmax of the pair (-s, s)."""
    return softmax(graph, stack_columns(graph, [graph.node("Neg", scores), scores]) if width == 1 else scores)


def _with_chances(graph: Graph, estimator: Any, x: Value | Frame, chances: Callable[[Graph, str, int], str]) -> Results:
    scores, width = _scores(graph, estimator, x)
    name = chances(graph, scores, width)
    return scored(graph, scores, width) | {"probabilities": Value(name, "float64", max(width, 2))}


def logistic_regression(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """LogisticRegression and its CV form: the logistic function for two classes, else softmax.

    Releases before 1.8 had `multi_class`; one-vs-rest (and liblinear, which knows nothing else) divides by the sum.
    """
    scheme = getattr(estimator, "multi_class", "auto")
    if scheme == "ovr" or (scheme in ("auto", "deprecated") and estimator.solver == "liblinear"):
        return _with_chances(graph, estimator, x, _one_vs_rest)
    if scheme == "multinomial":
        return _with_chances(graph, estimator, x, _two_sided)
    return _with_chances(graph, estimator, x, _multinomial)


_SGD_CHANCES: Final = {"log_loss": _one_vs_rest, "modified_huber": _modified_huber}


def sgd(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """SGDClassifier: probabilities exist for two of its losses."""
    chances = _SGD_CHANCES.get(estimator.loss)
    return classifier(graph, estimator, x) if chances is None else _with_chances(graph, estimator, x, chances)


def discriminant(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """LinearDiscriminantAnalysis; in the middle of a pipeline it projects (`transformed`)."""
    results = _with_chances(graph, estimator, x, _multinomial)
    if estimator.solver == "lsqr":
        return results
    axes = dense(estimator.scalings_)[:, : estimator._max_components]
    name = numbers(graph, x, estimator).name
    if estimator.solver == "svd":
        name = graph.node("Sub", name, graph.constant(np.asarray(estimator.xbar_, np.float64)))
    return results | {"transformed": Value(affine(graph, name, axes, 0.0), "float64", axes.shape[1])}


def quadratic(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """QuadraticDiscriminantAnalysis: the log posterior from each class's own rotation and scaling."""
    name = numbers(graph, x, estimator).name
    columns = []
    for mean, rotation, scaling in zip(estimator.means_, estimator.rotations_, estimator.scalings_, strict=True):
        centred = graph.node("Sub", name, graph.constant(np.asarray(mean, np.float64)))
        turned = affine(graph, centred, np.asarray(rotation * scaling**-0.5, np.float64), 0.0)
        columns.append(total(graph, graph.node("Mul", turned, turned)))
    spread = np.asarray([np.sum(np.log(s)) for s in estimator.scalings_], np.float64)
    norms = graph.node("Add", stack_columns(graph, columns), graph.constant(spread))
    halved = graph.node("Mul", norms, number(graph, -0.5))
    scores = graph.node("Add", halved, graph.constant(np.log(np.asarray(estimator.priors_, np.float64))))
    return posterior(graph, scores, len(columns))


def posterior(graph: Graph, scores: str, width: int) -> Results:
    """Index, probabilities and decision of a model whose scores are log posteriors up to a constant."""
    results = {
        "index": Value(argmax(graph, scores), "int64", None),
        "probabilities": Value(softmax(graph, scores), "float64", width),
        "decision": Value(scores, "float64", width),
    }
    if width == 2:
        ratio = graph.node("MatMul", scores, graph.constant([[-1.0], [1.0]], np.float64))
        results["decision"] = Value(flat(graph, ratio), "float64", None)
    return results
