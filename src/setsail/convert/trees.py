"""A tree ensemble as data, and the one way it becomes ONNX.

Every framework's trees end here: `Ensemble` knows no framework, and `emit` writes it as one `TreeEnsembleRegressor`
of ai.onnx.ml 3, the newest version with kernels. What onnxruntime does with it, measured on 1.31:

* A float32 input is compared and summed in float32, in tree order; a float64 input with `*_as_tensor` attributes is
  compared and summed in float64. Both answer float32. So a float64 ensemble decides exactly as its source, but its sum
  would be rounded; `_split` keeps the other digits (0.3, not 0.30000001) by summing them as targets of their own.
* `nodes_missing_value_tracks_true` sends NaN to the true branch, which is `left` here.
* Links (sigmoid, softmax, exp) are written as nodes: the operator's own post-transforms are approximations.
* It has no test for "one of these categories": `categories.py` makes columns of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from onnx import numpy_helper

from setsail.convert.categories import Sets, lookup
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
        """The same tree without nodes that the root does not reach (XGBoost keeps pruned ones)."""
        if 2 * int((self.feature >= 0).sum()) + 1 == len(self.feature):
            return self  # every node has a parent
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
        sets: what stands behind the input's columns, in order; trees count on from `features`.
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
    sets: tuple[Sets, ...] = ()

    @property
    def leaf_span(self) -> float:
        """The largest change that one leaf of one tree can make to a target's sum."""
        return max((t.span for t in self.trees), default=0.0)

    @cached_property
    def thresholds(self) -> tuple[tuple[float, ...], ...]:
        """For each column of the input, the values at which something changes, ascending."""
        found: list[set[float]] = [set() for _ in range(self.features)]
        for tree in self.trees:
            for column, threshold in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
                if 0 <= column < self.features:
                    found[column].add(threshold)
        return tuple(tuple(sorted(f)) for f in found)

    def sums(self, rows: Array) -> Array:
        """Raw sums in numpy, `[N, targets]`: the reference that tests hold programs against."""
        rows = rows.astype(self.dtype)
        rows = np.concatenate([rows, *(sets.columns(rows) for sets in self.sets)], axis=1).astype(self.dtype)
        total = np.zeros((len(rows), self.targets), dtype=self.dtype) + self.base.astype(self.dtype)
        for tree in self.trees:
            width = tree.value.shape[1]
            leaf = _leaf_of(tree, rows, self.mode)
            total[:, tree.target : tree.target + width] += tree.value[leaf].astype(self.dtype)
        return np.asarray(total)


def emit(graph: Graph, ensemble: Ensemble, x: str) -> str:
    """Append an ensemble. `x` is `[N, features]` in the ensemble's dtype; returns sums `[N, targets]` in it."""
    if ensemble.sets:
        x = str(graph.node("Concat", x, *(lookup(graph, sets, x, ensemble.dtype) for sets in ensemble.sets), axis=1))
    if ensemble.dtype == "float32":
        # XGBoost begins with the base, and float32 sums depend on the order.
        trees = (_constant(ensemble.base), *ensemble.trees)
        leaves = _leaves(trees)
        attributes = _attributes(trees, ensemble.mode) | _targets(leaves, ensemble.targets)
        attributes["nodes_values"] = _thresholds(trees).astype(np.float32).tolist()
        attributes["target_weights"] = leaves.weight.astype(np.float32).tolist()
        return str(graph.node("TreeEnsembleRegressor", x, domain=ML, **attributes))
    trees, targets = ensemble.trees or (_constant(np.zeros(ensemble.targets)),), ensemble.targets
    leaves = _split(_leaves(trees), targets)
    double = bool((leaves.target >= targets).any())
    attributes = _attributes(trees, ensemble.mode) | _targets(leaves, 2 * targets if double else targets)
    attributes["nodes_values_as_tensor"] = numpy_helper.from_array(_thresholds(trees), "nodes_values")
    attributes["target_weights_as_tensor"] = numpy_helper.from_array(leaves.weight, "target_weights")
    total = graph.cast(graph.node("TreeEnsembleRegressor", x, domain=ML, **attributes), "float64")
    if double:
        total = graph.node("Add", *graph.node("Split", total, outputs=2, axis=1, num_outputs=2))
    if not ensemble.base.any():
        return total
    return str(graph.node("Add", total, graph.constant(ensemble.base, np.float64)))


@dataclass(frozen=True, eq=False)
class _Leaves:
    """The operator's flat lists: in which tree, at which node, to which target, how much."""

    tree: Array
    node: Array
    target: Array
    weight: Array


def _leaves(trees: Sequence[Tree]) -> _Leaves:
    parts = []
    for index, tree in enumerate(trees):
        width = tree.value.shape[1]
        at = np.flatnonzero(tree.leaves)
        targets = np.tile(np.arange(tree.target, tree.target + width), len(at))
        parts.append((np.full(len(targets), index), np.repeat(at, width), targets, tree.value[at].ravel()))
    number, node, target, weight = (np.concatenate(p) for p in zip(*parts, strict=True))
    return _Leaves(number, node, target, weight.astype(np.float64))


def _split(leaves: _Leaves, targets: int) -> _Leaves:
    """Every weight as a coarse part, whose sums float32 holds exactly, and the rest, a target of its own.

    The coarse parts are multiples of one power of two, so large that no sum of them has more than 24 bits.
    """
    largest = np.zeros(leaves.tree.max() + 1)
    np.maximum.at(largest, leaves.tree, np.abs(leaves.weight))
    exponent = 23 - int(np.frexp(largest.sum())[1])
    coarse = np.ldexp(np.round(np.ldexp(leaves.weight, exponent)), -exponent)
    rest = leaves.weight - coarse
    kept = np.flatnonzero(rest)
    return _Leaves(
        np.concatenate([leaves.tree, leaves.tree[kept]]),
        np.concatenate([leaves.node, leaves.node[kept]]),
        np.concatenate([leaves.target, leaves.target[kept] + targets]),
        np.concatenate([coarse, rest[kept]]),
    )


def _targets(leaves: _Leaves, count: int) -> dict[str, Any]:
    return {
        "n_targets": count,
        "target_treeids": leaves.tree.tolist(),
        "target_nodeids": leaves.node.tolist(),
        "target_ids": leaves.target.tolist(),
    }


def _attributes(trees: Sequence[Tree], mode: str) -> dict[str, Any]:
    """The shape of the trees: everything but thresholds and leaves."""
    sizes = [len(t.feature) for t in trees]
    leaf = np.concatenate([t.leaves for t in trees])
    return {
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(s) for s in sizes]).tolist(),
        "nodes_featureids": _at_splits(trees, "feature", leaf).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", _MODES[mode]).tolist(),
        "nodes_truenodeids": _at_splits(trees, "left", leaf).tolist(),
        "nodes_falsenodeids": _at_splits(trees, "right", leaf).tolist(),
        "nodes_missing_value_tracks_true": _at_splits(trees, "missing_left", leaf).astype(int).tolist(),
    }


def _thresholds(trees: Sequence[Tree]) -> Array:
    leaf = np.concatenate([t.leaves for t in trees])
    return _at_splits(trees, "threshold", leaf).astype(np.float64)


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
