"""CatBoost's trees, read from its own JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from setsail.convert.trees import Ensemble, Tree
from setsail.tensors import Array

__all__ = ["ensemble"]


def ensemble(model: Any, width: int) -> Ensemble:
    """The trees of a model of numbers.

    Args:
        width: how many columns it takes.
    """
    body = _document(model)
    columns = body["features_info"]["float_features"]
    place = {c["feature_index"]: c["flat_feature_index"] for c in columns}
    right = {c["flat_feature_index"] for c in columns if c["nan_value_treatment"] == "AsTrue"}
    scale, base = body["scale_and_bias"]
    targets = len(base)
    if "oblivious_trees" in body:
        trees = [_symmetric(spec, place, right, targets) for spec in body["oblivious_trees"]]
    else:
        trees = [_free(spec, place, right, targets) for spec in body["trees"]]
    scaled = tuple(replace(tree, value=tree.value * scale) for tree in trees)
    return Ensemble(scaled, width, targets, "<=", "float64", np.asarray(base, dtype=np.float64))


def _document(model: Any) -> Mapping[str, Any]:
    """CatBoost's JSON, which it writes to files only."""
    with tempfile.TemporaryDirectory(prefix="setsail-catboost-") as folder:
        path = Path(folder, "model.json")
        model.save_model(str(path), format="json")
        body: Mapping[str, Any] = json.loads(path.read_bytes())
        return body


def _symmetric(spec: Mapping[str, Any], place: Mapping[int, int], right: set[int], targets: int) -> Tree:
    """A tree that asks the same of all nodes of a level.

    Leaf i is where the answers, the first as the lowest bit, make the number i. Nodes are numbered by level, and within
    a level by the answers so far.
    """
    splits = spec["splits"] or []
    depth = len(splits)
    inner = (1 << depth) - 1
    feature: list[Array] = []
    threshold: list[Array] = []
    left: list[Array] = []
    further: list[Array] = []
    for level, split in enumerate(splits):
        below = (1 << (level + 1)) - 1
        answers = np.arange(1 << level)
        feature.append(np.full(1 << level, place[split["float_feature_index"]]))
        threshold.append(np.full(1 << level, split["border"]))
        left.append(below + answers)
        further.append(below + answers + (1 << level))
    values = np.asarray(spec["leaf_values"], dtype=np.float64).reshape(1 << depth, targets)
    return _joined(feature, threshold, left, further, np.concatenate([np.zeros((inner, targets)), values]), right)


def _joined(
    feature: Sequence[Array], threshold: Sequence[Array], left: Sequence[Array], further: Sequence[Array],
    value: Array, right: set[int],
) -> Tree:  # fmt: skip
    """Splits first, leaves behind them."""
    leaves = len(value) - sum(map(len, feature))
    pad = np.zeros(leaves, dtype=np.int64)
    columns = np.concatenate([*feature, pad - 1]).astype(np.int64)
    return Tree(
        feature=columns,
        threshold=np.concatenate([*threshold, pad.astype(np.float64)]),
        left=np.concatenate([*left, pad]).astype(np.int64),
        right=np.concatenate([*further, pad]).astype(np.int64),
        missing_left=~np.isin(columns, sorted(right)),
        value=value,
    )


def _free(spec: Mapping[str, Any], place: Mapping[int, int], right: set[int], targets: int) -> Tree:
    """A tree whose nodes each ask their own (`grow_policy` Depthwise and Lossguide)."""
    nodes: list[Mapping[str, Any]] = []
    left: list[int] = []
    further: list[int] = []
    ahead: list[tuple[Mapping[str, Any], list[int] | None, int]] = [(spec, None, 0)]
    while ahead:
        node, side, parent = ahead.pop()
        if side is not None:
            side[parent] = len(nodes)
        nodes.append(node)
        left.append(0)
        further.append(0)
        if "split" in node:
            ahead += [(node["right"], further, len(nodes) - 1), (node["left"], left, len(nodes) - 1)]
    columns = np.array([place[n["split"]["float_feature_index"]] if "split" in n else -1 for n in nodes])
    return Tree(
        feature=columns,
        threshold=np.array([n["split"]["border"] if "split" in n else 0.0 for n in nodes]),
        left=np.array(left),
        right=np.array(further),
        missing_left=~np.isin(columns, sorted(right)),
        value=np.array([np.zeros(targets) if "split" in n else np.broadcast_to(n["value"], targets) for n in nodes]),
    )
