"""Steps on a classifier's scores. The last axis is the classes, whatever stands before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.steps import Apply, Files, each_input, misused
from setsail.tensors import Array

__all__ = ["label", "one", "pair", "sigmoid", "softmax", "threshold", "top"]


def softmax(_: Mapping[str, Any], __: Files) -> Apply:
    """exp(x - max) / sum, over the last axis, in the scores' own dtype."""

    def one(scores: Array) -> Array:
        _wide(scores, "scores.softmax")
        with np.errstate(invalid="ignore", under="ignore"):  # infinities: NaN, as everywhere
            raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

    return each_input(one)


def sigmoid(_: Mapping[str, Any], __: Files) -> Apply:
    """1 / (1 + exp(-x)), by that form for x >= 0 and exp(x) / (1 + exp(x)) below, so that nothing overflows."""

    def one(scores: Array) -> Array:
        with np.errstate(under="ignore"):
            raised = np.exp(-np.abs(scores))
            return np.asarray(np.where(scores >= 0, 1 / (1 + raised), raised / (1 + raised)))

    return each_input(one)


def pair(_: Mapping[str, Any], __: Files) -> Apply:
    """`[N]` or `[N, 1]` scores of the second class to `[N, 2]`: what is left of one, and it."""

    def one(scores: Array) -> Array:
        if scores.ndim == 0 or (scores.ndim > 1 and scores.shape[-1] != 1):
            raise misused("step 'scores.pair' takes one score a row", list(scores.shape), "[N] or [N, 1]")
        flat = scores if scores.ndim == 1 else scores[..., 0]
        return np.stack([1 - flat, flat], axis=-1)

    return each_input(one)


def one(options: Mapping[str, Any], _: Files) -> Apply:
    """The scores of one class, counted from 0."""
    position = options["position"]

    def picked(scores: Array) -> Array:
        if scores.ndim < 2 or position >= scores.shape[-1]:
            raise misused("step 'scores.one' takes more classes", list(scores.shape), f"more than {position}")
        return np.ascontiguousarray(scores[..., position])

    return each_input(picked)


def label(options: Mapping[str, Any], _: Files) -> Apply:
    """The label of the greatest score, of the first where several are."""
    labels = _labels(options["labels"])

    def one(scores: Array) -> Array:
        _as_many(scores, labels, "scores.label")
        return np.asarray(labels[scores.argmax(axis=-1)])

    return each_input(one)


def top(options: Mapping[str, Any], _: Files) -> Apply:
    """The k greatest scores, falling, and their labels; of equal ones the first class comes first."""
    labels, k = _labels(options["labels"]), options["k"]
    if k > len(labels):
        raise SetsailError("model.failed", "step 'scores.top' wants more labels than there are", field="steps", value=k,
                           expected=f"at most {len(labels)}")  # fmt: skip

    def apply(arrays: Sequence[Array]) -> Sequence[Array]:
        (scores,) = arrays
        _as_many(scores, labels, "scores.top")
        order = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
        return [np.take_along_axis(scores, order, axis=-1), labels[order]]

    return apply


def threshold(options: Mapping[str, Any], _: Files) -> Apply:
    """labels[1] where the score is greater than `at`, which is rounded to the scores' dtype first; else labels[0]."""
    labels, at = _labels(options["labels"]), options["at"]

    def one(scores: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(labels[(scores > scores.dtype.type(at)).astype(np.intp)])

    return each_input(one)


def _labels(values: Sequence[str | int]) -> Array:
    """Integers as int64; else texts, and what is an integer among them as its text."""
    if all(isinstance(value, int) for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([str(value) for value in values], dtype=object)


def _wide(scores: Array, kind: str) -> None:
    if scores.ndim < 2:
        raise misused(f"step {kind!r} takes a score for every class", list(scores.shape), "[N, classes]")


def _as_many(scores: Array, labels: Array, kind: str) -> None:
    _wide(scores, kind)
    if scores.shape[-1] != len(labels):
        raise misused(f"step {kind!r} has not a label for every class", len(labels), str(scores.shape[-1]))
