"""scikit-learn's trees, forests and boosting.

Trees and forests read rows as float32 and compare them with float64 thresholds, so the program casts down and up again
and compares in float64. Histogram boosting stays in float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import argmax, binary, flat, logistic, number, softmax
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.values import numbers, refuse
from setsail.convert.trees import Ensemble, Tree
from setsail.convert.trees import emit as emit_trees
from setsail.tensors import Array

__all__ = ["ada_boost", "classifier", "forest_classifier", "forest_regressor", "gradient_boosting", "grown",
           "histogram_boosting", "regressor", "single", "sums"]  # fmt: skip


def grown(tree: Any, value: Array, *, target: int = 0, columns: Array | None = None) -> Tree:
    """One of scikit-learn's `Tree` objects with leaf values `[nodes, outputs]`.

    Args:
        columns: where the tree was grown on some columns only, which ones.
    """
    leaf = tree.children_left < 0
    feature = np.where(leaf, 0, tree.feature)
    feature = feature if columns is None else np.asarray(columns)[feature]
    return Tree(
        feature=np.where(leaf, -1, feature).astype(np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=np.where(leaf, 0, tree.children_left).astype(np.int64),
        right=np.where(leaf, 0, tree.children_right).astype(np.int64),
        missing_left=np.asarray(tree.missing_go_to_left).astype(bool),
        value=np.asarray(value, dtype=np.float64),
        target=target,
    )


def single(graph: Graph, x: Value | Frame, estimator: Any) -> str:
    """Rows as scikit-learn's trees see them: rounded to float32, held in float64."""
    return graph.cast(graph.cast(numbers(graph, x, estimator).name, "float32"), "float64")


def sums(graph: Graph, rows: str, trees: Sequence[Tree], estimator: Any, targets: int, base: Any = 0.0) -> str:
    """Append trees whose leaves add up; float64 `[N, targets]`."""
    start = np.broadcast_to(np.asarray(base, dtype=np.float64), (targets,))
    return emit_trees(graph, Ensemble(tuple(trees), estimator.n_features_in_, targets, "<=", "float64", start), rows)


# -- trees and forests -----------------------------------------------------------------------------------------------


def classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """DecisionTreeClassifier, ExtraTreeClassifier: the class shares of the leaf."""
    _one_output(estimator)
    shares = sums(graph, single(graph, x, estimator), [grown(estimator.tree_, estimator.tree_.value[:, 0])],
                  estimator, int(estimator.n_classes_))  # fmt: skip
    return _classes(graph, shares, int(estimator.n_classes_))


def regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """DecisionTreeRegressor, ExtraTreeRegressor, of any number of outputs."""
    tree = grown(estimator.tree_, estimator.tree_.value[:, :, 0])
    return _prediction(graph, sums(graph, single(graph, x, estimator), [tree], estimator, estimator.n_outputs_),
                       estimator.n_outputs_)  # fmt: skip


def forest_classifier(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """RandomForestClassifier, ExtraTreesClassifier: the mean of the trees' class shares."""
    _one_output(estimator)
    trees = [grown(e.tree_, e.tree_.value[:, 0]) for e in estimator.estimators_]
    total = sums(graph, single(graph, x, estimator), trees, estimator, int(estimator.n_classes_))
    return _classes(graph, graph.node("Div", total, number(graph, len(trees))), int(estimator.n_classes_))


def forest_regressor(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """RandomForestRegressor, ExtraTreesRegressor: the mean of the trees."""
    outputs = estimator.n_outputs_
    trees = [grown(e.tree_, e.tree_.value[:, :, 0]) for e in estimator.estimators_]
    total = sums(graph, single(graph, x, estimator), trees, estimator, outputs)
    return _prediction(graph, graph.node("Div", total, number(graph, len(trees))), outputs)


def _one_output(estimator: Any) -> None:
    if estimator.n_outputs_ > 1:
        raise refuse(estimator, "predicts several labels for one row", "serve one model for each label")


def _classes(graph: Graph, shares: str, count: int) -> Results:
    index = Value(argmax(graph, shares), "int64", None)
    return {"index": index, "probabilities": Value(shares, "float64", count)}


def _prediction(graph: Graph, values: str, outputs: int) -> Results:
    if outputs > 1:
        return {"prediction": Value(values, "float64", outputs)}
    return {"prediction": Value(flat(graph, values), "float64", None)}


# -- boosting --------------------------------------------------------------------------------------------------------


def gradient_boosting(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """GradientBoosting*: the initial estimator's raw prediction and `learning_rate` of every tree."""
    rows = single(graph, x, estimator)
    stages = estimator.estimators_
    trees = [
        grown(member.tree_, member.tree_.value[:, :, 0] * estimator.learning_rate, target=group)
        for stage in stages
        for group, member in enumerate(stage)
    ]
    targets = stages.shape[1]
    if estimator.init_ == "zero" or type(estimator.init_).__module__ == "sklearn.dummy":
        base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))[0]
        raw = sums(graph, rows, trees, estimator, targets, base)
    else:
        start = _initial(graph, estimator, Value(rows, "float64", estimator.n_features_in_, single=True))
        raw = graph.node("Add", start, sums(graph, rows, trees, estimator, targets))
    if not is_classifier(estimator):
        return _prediction(graph, raw, 1)
    exponential = estimator.loss == "exponential"
    return _boosted(graph, raw, targets, scale=2.0 if exponential else 1.0, decides="GreaterOrEqual")


def _initial(graph: Graph, estimator: Any, rows: Value) -> str:
    """Raw predictions of an initial estimator of the person's own, in link space."""
    results = emit(graph, estimator.init_, rows)
    if not is_classifier(estimator):
        return str(graph.node("Reshape", results["prediction"].name, graph.constant([-1, 1], np.int64)))
    if "probabilities" not in results:
        raise refuse(estimator.init_, "has no exact conversion of its probabilities, which boosting starts from")
    edge = float(np.finfo(np.float64).eps)
    bounds = (number(graph, edge), number(graph, 1 - edge))
    logs = graph.node("Log", graph.node("Clip", results["probabilities"].name, *bounds))
    if estimator.estimators_.shape[1] > 1:  # the symmetric multinomial link: log p less the mean of log p
        mean = graph.node("ReduceMean", logs, graph.constant([1], np.int64), keepdims=1)
        return str(graph.node("Sub", logs, mean))
    below, above = (graph.node("Gather", logs, graph.constant([i], np.int64), axis=1) for i in (0, 1))
    logit = graph.node("Sub", above, below)
    half = estimator.loss == "exponential"
    return str(graph.node("Mul", logit, number(graph, 0.5)) if half else logit)


def histogram_boosting(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """HistGradientBoosting*: float64 rows, a direction for NaN in every node.

    Raises:
        SetsailError: `convert.unsupported` for native categorical features.
    """
    if estimator.is_categorical_ is not None:
        raise refuse(estimator, "was trained on categorical features, whose levels have no exact conversion yet",
                     "encode them with OneHotEncoder in a ColumnTransformer and train again")  # fmt: skip
    targets = estimator.n_trees_per_iteration_
    trees = [_histogram_tree(p.nodes, group) for stage in estimator._predictors for group, p in enumerate(stage)]
    raw = sums(
        graph, numbers(graph, x, estimator).name, trees, estimator, targets, np.ravel(estimator._baseline_prediction)
    )
    if is_classifier(estimator):
        return _boosted(graph, raw, targets, scale=1.0, decides="Greater")
    link = type(estimator._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise refuse(estimator, f"has no exact conversion of its link {link}")
    return _prediction(graph, graph.node("Exp", raw) if link == "LogLink" else raw, 1)


def _histogram_tree(nodes: Array, group: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        left=np.where(leaf, 0, nodes["left"]).astype(np.int64),
        right=np.where(leaf, 0, nodes["right"]).astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=np.where(leaf, nodes["value"], 0.0)[:, None].astype(np.float64),
        target=group,
    )


def _boosted(graph: Graph, raw: str, targets: int, *, scale: float, decides: str) -> Results:
    """Classes from raw predictions. Both boostings decide on the raw value, each with its own side for a tie."""
    if targets > 1:
        shares = Value(softmax(graph, raw), "float64", targets)
        decision = Value(raw, "float64", targets)
        return {"index": Value(argmax(graph, raw), "int64", None), "probabilities": shares, "decision": decision}
    decision = Value(flat(graph, raw), "float64", None)
    index = graph.cast(graph.node(decides, decision.name, number(graph, 0.0)), "int64")
    scaled = raw if scale == 1.0 else graph.node("Mul", raw, number(graph, scale))
    shares = Value(binary(graph, logistic(graph, scaled)), "float64", 2)
    return {"index": Value(index, "int64", None), "probabilities": shares, "decision": decision}


def ada_boost(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """AdaBoostClassifier (SAMME) over any base: its weight for the class a member predicts, a share off the others."""
    count = int(estimator.n_classes_)
    votes = []
    for member, weight in zip(estimator.estimators_, estimator.estimator_weights_, strict=False):
        results = emit(graph, member, x)
        places = np.searchsorted(estimator.classes_, member.classes_)
        table = np.full((count, count), -1 / (count - 1) * weight)
        np.fill_diagonal(table, weight)
        votes.append(graph.node("Gather", graph.constant(table[places]), results["index"].name, axis=0))
    total = votes[0]
    for vote in votes[1:]:
        total = graph.node("Add", total, vote)
    scores = graph.node("Div", total, number(graph, float(estimator.estimator_weights_.sum())))
    if count > 2:
        shares = Value(softmax(graph, graph.node("Div", scores, number(graph, count - 1))), "float64", count)
        index = Value(argmax(graph, scores), "int64", None)
        return {"index": index, "probabilities": shares, "decision": Value(scores, "float64", count)}
    first, second = (graph.node("Gather", scores, graph.constant([i], np.int64), axis=1) for i in (0, 1))
    column = graph.node("Sub", second, first)
    half = graph.node("Div", column, number(graph, 2.0))
    shares = Value(softmax(graph, graph.node("Concat", graph.node("Neg", half), half, axis=1)), "float64", 2)
    decision = Value(flat(graph, column), "float64", None)
    index = Value(graph.cast(graph.node("Greater", decision.name, number(graph, 0.0)), "int64"), "int64", None)
    return {"index": index, "probabilities": shares, "decision": decision}
