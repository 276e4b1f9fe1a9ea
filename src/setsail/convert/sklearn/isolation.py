"""Isolation forest, with exactly the source's path lengths.

A label here is a comparison of a sum with an offset that is itself the score of a training row, so the sum must be the
source's to the last bit. A tree ensemble's sum is rounded to float32; instead each tree answers the number of its leaf,
which float32 holds, path lengths are looked up in float64, and CumSum adds them one after the other as numpy does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn.ensemble._iforest import _average_path_length

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import number
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.trees import grown, single, sums
from setsail.convert.sklearn.values import refuse
from setsail.tensors import Array

__all__ = ["forest"]

_LARGEST: Final = 1 << 24  # whole numbers that float32 holds


def forest(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """IsolationForest: label 1 or -1 as `predict`, score as `decision_function`.

    Raises:
        SetsailError: `convert.unsupported` for a forest of more than 16 million nodes.
    """
    lengths = [
        np.asarray(estimator._decision_path_lengths[i] + estimator._average_path_length_per_tree[i] - 1.0)
        for i in range(len(estimator.estimators_))
    ]
    if sum(map(len, lengths)) >= _LARGEST:
        raise refuse(estimator, "has too many nodes to number them exactly")
    trees, first = [], 0
    for index, (member, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
        numbered = np.arange(first, first + len(lengths[index]), dtype=np.float64)
        trees.append(grown(member.tree_, numbered[:, None], target=index, columns=columns))
        first += len(lengths[index])
    leaves = graph.cast(sums(graph, single(graph, x, estimator), trees, estimator, len(trees)), "int64")
    walked = graph.node("Gather", graph.constant(np.concatenate(lengths)), leaves)
    running = graph.node("CumSum", walked, graph.constant(1, np.int64))
    depth = graph.node("Gather", running, graph.constant(len(trees) - 1, np.int64), axis=1)
    share = len(trees) * float(_average_path_length([estimator._max_samples])[0])
    inlier = graph.node("GreaterOrEqual", depth, number(graph, _least_depth(share, float(estimator.offset_))))
    label = graph.node("Where", inlier, graph.constant(1, np.int64), graph.constant(-1, np.int64))
    ratio = graph.node("Div", depth, number(graph, share)) if share else graph.node("Pow", depth, number(graph, 0.0))
    power = graph.node("Pow", number(graph, 2.0), graph.node("Neg", ratio))
    score = graph.node("Sub", graph.node("Neg", power), number(graph, float(estimator.offset_)))
    return {"label": Value(label, "int64", None), "score": Value(score, "float64", None)}


def _least_depth(share: float, offset: float) -> float:
    """The smallest depth that numpy calls an inlier: the decision grows with the depth, so halving finds it."""

    def inlier(depth: float) -> bool:
        ratio = np.array([depth]) / share if share else np.ones(1)  # trees of one training row have no length
        scores: Array = -(2**-ratio)
        return bool((scores - offset)[0] >= 0)

    low, high = 0.0, 1.0
    if inlier(low):
        return -np.inf
    while not inlier(high):
        high *= 2
        if high > 1e300:
            return np.inf
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        low, high = (low, middle) if inlier(middle) else (middle, high)
