"""A tree ensemble as data, and the one way it becomes ONNX.

Every framework's trees end here: `Ensemble` knows no framework, and `emit` writes it as one `TreeEnsembleRegressor`
of ai.onnx.ml 3, the newest version with kernels. What onnxruntime does with it, measured on 1.31:

* A float32 input is compared and summed in float32, in tree order; a float64 input with `*_as_tensor` attributes is
  compared and summed in float64. Both answer float32. So a float64 ensemble decides exactly as its source, and its
  sum is right to one rounding to float32 (6e-8 of the value); `base` is added in float64 behind that rounding.
* `nodes_missing_value_tracks_true` sends NaN to the true branch, which is `left` here.
* Links (sigmoid, softmax, exp) are written as nodes: the operator's own post-transforms are approximations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from onnx import numpy_helper

from setsail.convert.graph import ML, Graph
from setsail.tensors import Array

__all__ = ["Ensemble", "Tree", "emit"]

_MODES: Final = {"<": "BRANCH_LT", "<=": "BRANCH_LEQ"}


@dataclass(frozen=True, eq=False)
class Tree:
    """One binary tree in arrays over its nodes; node 0 is the root.

    Attributes:
        feature: column a node tests, -1 at a leaf.
        threshold: value it tests against, as the source holds it.
        left, right: the nodes where the test is true and where it is not; unused at a leaf.
        missing_left: whether NaN goes left.
        value: `[nodes, outputs]`, read at leaves. The tree adds to the ensemble's targets `target`, `target + 1`, …
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    value: Array
    target: int = 0

    @property
    def leaves(self) -> Array:
        return np.asarray(self.feature < 0)

    @property
    def span(self) -> float:
        """The largest change that going to another leaf makes to one output."""
        values = self.value[self.leaves]
        return float((values.max(axis=0) - values.min(axis=0)).max(initial=0.0))

    def compact(self) -> Tree:
        """The same tree with the nodes that the root reaches, numbered so that parents come first."""
        order, ahead = [], [0]
        while ahead:
            node = ahead.pop()
            order.append(node)
            if self.feature[node] >= 0:
                ahead += [int(self.right[node]), int(self.left[node])]
        kept = np.array(order)
        place = np.zeros(len(self.feature), dtype=np.int64)
        place[kept] = np.arange(len(kept))
        split = self.feature[kept] >= 0
        return replace(
            self,
            feature=self.feature[kept],
            threshold=self.threshold[kept],
            left=np.where(split, place[np.where(split, self.left[kept], 0)], 0),
            right=np.where(split, place[np.where(split, self.right[kept], 0)], 0),
            missing_left=self.missing_left[kept],
            value=self.value[kept],
        )


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trees whose leaves add up.

    Attributes:
        features, targets: columns of the input and of the sum.
        mode: `<` or `<=`, what a node asks of value and threshold.
        dtype: `float32` or `float64`, what the source compares and sums in.
        base: `[targets]`, added to the sum.
    """

    trees: tuple[Tree, ...]
    features: int
    targets: int
    mode: str
    dtype: str
    base: Array

    @property
    def leaf_span(self) -> float:
        """The largest change that one leaf of one tree can make to a target's sum."""
        return max((t.span for t in self.trees), default=0.0)

    @cached_property
    def thresholds(self) -> tuple[tuple[float, ...], ...]:
        """For each column, the values at which something changes, ascending."""
        found: list[set[float]] = [set() for _ in range(self.features)]
        for tree in self.trees:
            for column, threshold in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
                if column >= 0:
                    found[column].add(threshold)
        return tuple(tuple(sorted(f)) for f in found)

    def sums(self, rows: Array) -> Array:
        """Raw sums in numpy, `[N, targets]`: the reference that tests hold programs against."""
        rows = rows.astype(self.dtype)
        total = np.zeros((len(rows), self.targets), dtype=self.dtype) + self.base.astype(self.dtype)
        for tree in self.trees:
            width = tree.value.shape[1]
            leaf = _leaf_of(tree, rows, self.mode)
            total[:, tree.target : tree.target + width] += tree.value[leaf].astype(self.dtype)
        return np.asarray(total)


def emit(graph: Graph, ensemble: Ensemble, x: str) -> str:
    """Append an ensemble. `x` is `[N, features]` in the ensemble's dtype; returns sums `[N, targets]` in it."""
    exact = ensemble.dtype == "float64"
    attributes: dict[str, Any] = {"n_targets": ensemble.targets, "aggregate_function": "SUM", "post_transform": "NONE"}
    trees = ensemble.trees
    if not exact or not trees:  # XGBoost begins with the base; float32 sums depend on the order
        trees = (_constant(np.zeros(ensemble.targets) if exact else ensemble.base), *trees)
    values, weights = _nodes(trees, ensemble.mode, attributes)
    if exact:
        attributes["nodes_values_as_tensor"] = numpy_helper.from_array(values, "nodes_values")
        attributes["target_weights_as_tensor"] = numpy_helper.from_array(weights, "target_weights")
    else:
        attributes["nodes_values"] = values.astype(np.float32).tolist()
        attributes["target_weights"] = weights.astype(np.float32).tolist()
    total = str(graph.node("TreeEnsembleRegressor", x, domain=ML, **attributes))
    if not exact:
        return total
    total = graph.cast(total, "float64")
    if not ensemble.base.any():
        return total
    return str(graph.node("Add", total, graph.constant(ensemble.base, np.float64)))


def _nodes(trees: Sequence[Tree], mode: str, attributes: dict[str, Any]) -> tuple[Array, Array]:
    """Fill in the integer attributes; returns thresholds and leaf weights, both float64."""
    sizes = [len(t.feature) for t in trees]
    number = np.repeat(np.arange(len(trees)), sizes)
    node = np.concatenate([np.arange(s) for s in sizes])
    feature = np.concatenate([t.feature for t in trees])
    leaf = feature < 0
    attributes["nodes_treeids"] = number.tolist()
    attributes["nodes_nodeids"] = node.tolist()
    attributes["nodes_featureids"] = np.where(leaf, 0, feature).tolist()
    attributes["nodes_modes"] = ["LEAF" if is_leaf else _MODES[mode] for is_leaf in leaf]
    attributes["nodes_truenodeids"] = _at_splits(trees, "left", leaf).tolist()
    attributes["nodes_falsenodeids"] = _at_splits(trees, "right", leaf).tolist()
    attributes["nodes_missing_value_tracks_true"] = _at_splits(trees, "missing_left", leaf).astype(int).tolist()
    owners, nodes, targets, weights = [], [], [], []
    for index, tree in enumerate(trees):
        width = tree.value.shape[1]
        at = np.flatnonzero(tree.leaves)
        owners.append(np.full(len(at) * width, index))
        nodes.append(np.repeat(at, width))
        targets.append(np.tile(np.arange(tree.target, tree.target + width), len(at)))
        weights.append(tree.value[at].ravel())
    attributes["target_treeids"] = np.concatenate(owners).tolist()
    attributes["target_nodeids"] = np.concatenate(nodes).tolist()
    attributes["target_ids"] = np.concatenate(targets).tolist()
    thresholds = np.where(leaf, 0.0, np.concatenate([t.threshold for t in trees])).astype(np.float64)
    return thresholds, np.concatenate(weights).astype(np.float64)


def _at_splits(trees: Sequence[Tree], field: str, leaf: Array) -> Array:
    return np.where(leaf, 0, np.concatenate([getattr(t, field) for t in trees]))


def _constant(values: Array) -> Tree:
    """A tree that adds the same to every row."""
    none = np.zeros(1, dtype=np.int64)
    return Tree(np.array([-1]), np.zeros(1), none, none, none.astype(bool), values[None, :])


def _leaf_of(tree: Tree, rows: Array, mode: str) -> Array:
    """The leaf that each row ends in."""
    at = np.zeros(len(rows), dtype=np.int64)
    threshold = tree.threshold.astype(rows.dtype)
    while True:
        moving = np.flatnonzero(tree.feature[at] >= 0)
        if not moving.size:
            return at
        node = at[moving]
        value = rows[moving, tree.feature[node]]
        true = value < threshold[node] if mode == "<" else value <= threshold[node]
        left = np.where(np.isnan(value), tree.missing_left[node], true)
        at[moving] = np.where(left, tree.left[node], tree.right[node])
