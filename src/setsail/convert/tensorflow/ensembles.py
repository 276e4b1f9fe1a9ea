"""ONNX's operators of classic machine learning (`ai.onnx.ml`), as calls of TensorFlow.

A tree ensemble is walked level by level, all trees and rows at once: each row has a node of each tree, leaves lead to
themselves, and after as many steps as the deepest tree has, all are at their leaves. The arrays are those of the
operator, so a float64 ensemble compares in float64. `operators.py` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from setsail.convert.tensorflow.weights import Unknown, Weights
from setsail.tensors import Array

__all__ = ["encoded", "linear", "normalised", "scaled", "tree_sums", "trees_of_classes"]

Attributes = Mapping[str, Any]
_MODES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "BRANCH_LEQ": tf.less_equal, "BRANCH_LT": tf.less, "BRANCH_GTE": tf.greater_equal, "BRANCH_GT": tf.greater,
    "BRANCH_EQ": tf.equal, "BRANCH_NEQ": tf.not_equal,
}  # fmt: skip


def _array(at: Attributes, name: str, dtype: Any) -> Array:
    """A list of the operator, whether it stands as floats or as a tensor."""
    held = at.get(f"{name}_as_tensor")
    found = at.get(name) if held is None else held
    return np.asarray([] if found is None else found, dtype).reshape(-1)


def _leaves(x: Any, at: Attributes, prefix: str, targets: int) -> Any:
    """What the leaves of every tree give a row, `[N, trees, targets]`."""
    dtype = np.float64 if at.get("nodes_values_as_tensor") is not None else np.float32
    if dtype == np.float64 and at["nodes_values_as_tensor"].dtype != np.float64:
        dtype = np.float32
    trees, ids = _array(at, "nodes_treeids", np.int64), _array(at, "nodes_nodeids", np.int64)
    place = {key: i for i, key in enumerate(zip(trees.tolist(), ids.tolist(), strict=True))}
    modes = np.asarray(at["nodes_modes"])
    leaf = modes == "LEAF"
    own = np.arange(len(trees))
    left, right = (
        np.where(leaf, own, [place.get((t, n), 0) for t, n in zip(trees.tolist(), _array(at, name, np.int64).tolist(),
                                                                  strict=True)])
        for name in ("nodes_truenodeids", "nodes_falsenodeids")
    )  # fmt: skip
    feature, threshold = _array(at, "nodes_featureids", np.int64), _array(at, "nodes_values", dtype)
    missing = _array(at, "nodes_missing_value_tracks_true", np.int64)
    lost = missing.astype(bool) & ~leaf if missing.size else np.zeros(len(trees), bool)
    weights = np.zeros((len(trees), targets), dtype)
    at_leaf = [place[key] for key in zip(_array(at, f"{prefix}_treeids", np.int64).tolist(),
                                         _array(at, f"{prefix}_nodeids", np.int64).tolist(), strict=True)]  # fmt: skip
    np.add.at(
        weights, (np.array(at_leaf), _array(at, f"{prefix}_ids", np.int64)), _array(at, f"{prefix}_weights", dtype)
    )
    roots = np.array([place[key] for key in _roots(trees, ids, leaf, left, right)])
    keep: Weights = at["weights"]
    x = tf.cast(x, dtype)
    node = tf.tile(tf.constant(roots[None, :]), tf.stack([tf.shape(x)[0], 1]))
    kept = [keep.tensor(array) for array in (feature, threshold, left, right, lost)]
    chosen = [mode for mode in _MODES if (modes == mode).any()]
    if unknown := set(modes.tolist()) - {"LEAF", *_MODES}:
        raise Unknown(f"a tree that asks {sorted(unknown)[0]}")
    asks = [(mode, keep.tensor(modes == mode)) for mode in chosen]
    for _ in range(_depth(roots, leaf, left, right)):
        node = _stepped(x, node, kept, asks)
    return tf.gather(keep.tensor(weights), node)


def _stepped(x: Any, node: Any, kept: Sequence[Any], asks: Sequence[tuple[str, Any]]) -> Any:
    feature, threshold, left, right, lost = (tf.gather(array, node) for array in kept)
    value = tf.gather(x, feature, axis=1, batch_dims=1)
    yes = tf.zeros_like(lost)
    for mode, where in asks:
        answer = _MODES[mode](value, threshold)
        yes = answer if len(asks) == 1 else yes | (answer & tf.gather(where, node))
    return tf.where(tf.where(tf.math.is_nan(value), lost, yes), left, right)


def _roots(trees: Array, ids: Array, leaf: Array, left: Array, right: Array) -> list[tuple[int, int]]:
    """The node of each tree that no other leads to."""
    led = np.zeros(len(trees), bool)
    led[left[~leaf]] = led[right[~leaf]] = True
    found = [(int(trees[i]), int(ids[i])) for i in np.flatnonzero(~led)]
    if len(found) != len(set(trees.tolist())):
        raise Unknown("a tree with several roots")
    return found


def _depth(roots: Array, leaf: Array, left: Array, right: Array) -> int:
    level, depth = roots[~leaf[roots]], 0
    while level.size:
        depth += 1
        below = np.concatenate([left[level], right[level]])
        level = below[~leaf[below]]
        if depth > len(leaf):
            raise Unknown("a tree that leads back to itself")
    return depth


_SUMS: Final[Mapping[str, Callable[..., Any]]] = {
    "SUM": tf.reduce_sum, "AVERAGE": tf.reduce_mean, "MIN": tf.reduce_min, "MAX": tf.reduce_max,
}  # fmt: skip


def tree_sums(x: Sequence[Any], at: Attributes) -> Any:
    """TreeEnsembleRegressor: `[N, targets]`, float32 whatever it was summed in."""
    how, targets = at.get("aggregate_function", "SUM"), at.get("n_targets", 1)
    if at.get("post_transform", "NONE") != "NONE" or (how in ("MIN", "MAX") and targets > 1):
        raise Unknown(f"TreeEnsembleRegressor with {at.get('post_transform', 'NONE')}, {how}")
    found = _SUMS[how](_leaves(x[0], at, "target", targets), axis=1)
    base = _array(at, "base_values", np.float64)
    return tf.cast(found + tf.cast(base, found.dtype) if base.size else found, tf.float32)


def trees_of_classes(x: Sequence[Any], at: Attributes) -> Any:
    """TreeEnsembleClassifier: labels and scores. Two classes with weights for one only are a rule of their own."""
    labels = at.get("classlabels_int64s") or at.get("classlabels_strings")
    ids = set(_array(at, "class_ids", np.int64).tolist())
    transform = at.get("post_transform", "NONE")
    if transform not in _LINKS or not labels or (len(labels) == 2 and len(ids) == 1):
        raise Unknown(f"TreeEnsembleClassifier with {transform}, or of two classes by one score")
    found = tf.reduce_sum(_leaves(x[0], at, "class", len(labels)), axis=1)
    base = _array(at, "base_values", np.float64)
    found = tf.cast(found + tf.cast(base, found.dtype) if base.size else found, tf.float32)
    return tf.gather(tf.constant(labels), tf.argmax(found, 1)), _LINKS[transform](found)


_LINKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "NONE": tf.identity, "SOFTMAX": tf.nn.softmax, "LOGISTIC": tf.sigmoid,
}  # fmt: skip


def scaled(x: Sequence[Any], at: Attributes) -> Any:
    return (tf.cast(x[0], tf.float32) - tf.constant(at["offset"], tf.float32)) * tf.constant(at["scale"], tf.float32)


def linear(x: Sequence[Any], at: Attributes) -> Any:
    """LinearRegressor: `[N, targets]`."""
    if at.get("post_transform", "NONE") != "NONE":
        raise Unknown(f"LinearRegressor with {at['post_transform']}")
    weights = tf.constant(at["coefficients"], tf.float32, [at.get("targets", 1), len(at["coefficients"]) //
                                                           at.get("targets", 1)])  # fmt: skip
    return tf.matmul(tf.cast(x[0], tf.float32), weights, transpose_b=True) + tf.constant(
        at.get("intercepts") or [0.0], tf.float32
    )


def normalised(x: Sequence[Any], at: Attributes) -> Any:
    norm, given = at.get("norm", "MAX"), tf.cast(x[0], tf.float32)
    length = {"L1": lambda: tf.reduce_sum(tf.abs(given), -1, keepdims=True),
              "L2": lambda: tf.norm(given, axis=-1, keepdims=True)}.get(norm)  # fmt: skip
    if length is None:
        raise Unknown(f"Normalizer {norm}")
    return tf.math.divide_no_nan(given, length())


_KINDS: Final = (("strings", object), ("int64s", np.int64), ("floats", np.float32))
_OTHERWISE: Final = {"strings": "_Unused", "int64s": -1, "floats": -0.0}


def _side(at: Attributes, side: str) -> tuple[Array, Any]:
    """Keys or values, and what stands for the default among their kind."""
    if (held := at.get(f"{side}_tensor")) is not None:
        array = np.asarray(held)
        kind = "strings" if array.dtype.kind == "O" else "int64s" if array.dtype.kind in "iu" else "floats"
        default = at.get("default_tensor")
        return array, at.get(f"default_{kind[:-1]}", _OTHERWISE[kind]) if default is None else default.reshape(-1)[0]
    kind, dtype = next((k, d) for k, d in _KINDS if at.get(f"{side}_{k}"))
    return np.array(at[f"{side}_{kind}"], dtype), at.get(f"default_{kind[:-1]}", _OTHERWISE[kind])


def encoded(x: Sequence[Any], at: Attributes) -> Any:
    """LabelEncoder: texts and whole numbers by a table, other numbers each beside each key."""
    keys, _ = _side(at, "keys")
    values, otherwise = _side(at, "values")
    table = np.append(values, np.array([otherwise], values.dtype))
    given = x[0]
    if given.dtype.is_floating:
        if np.isnan(np.asarray(keys, np.float64)).any():
            raise Unknown("NaN among the keys of LabelEncoder")  # versions of the operator differ over it
        same = given[..., None] == tf.constant(keys, given.dtype)
        index = tf.where(tf.reduce_any(same, -1), tf.argmax(tf.cast(same, tf.int32), -1), len(keys))
    else:
        index = at["weights"].lookup(keys)(given)
    return tf.gather(tf.constant(table), index)
