"""What a node of an ONNX graph is given while it is rebuilt in TensorFlow: tensors, constants, and sizes.

`Shape` gives `Sizes`, whole numbers of which some are known only when the program runs, so that a dimension that is
known stays known to TensorFlow; whoever cannot take them takes the tensor they make (`tensor`). Constants stay numpy
until a node needs them, so that a kernel is turned around once and not at every call; large ones become variables,
because a SavedModel's graph may not exceed 2 GB and its variables may.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np
import tensorflow as tf

from setsail.tensors import Array

__all__ = ["Constant", "Sizes", "Unknown", "Weights", "dims", "items", "numbers", "tensor"]

_LARGE: Final = 4096  # bytes of an array that becomes a variable


class Unknown(Exception):  # noqa: N818 a condition, told on as a SetsailError
    """A use of an operator that is not rebuilt; its text says which."""


class Weights(tf.Module):  # type: ignore[misc]  # mypy does not read TensorFlow
    """Whose variables a program's large constants are."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {}
        self.tables: list[Any] = []

    def tensor(self, array: Array) -> Any:
        """An array in the graph that is being traced; plainly, while constants are computed."""
        if array.dtype.kind == "O" or array.nbytes < _LARGE or tf.executing_eagerly():
            return tf.constant(array)
        # by their contents: TensorFlow traces a function that makes variables twice, and equal ones are one
        held = np.ascontiguousarray(array)
        key = sha256(f"{array.dtype.str} {array.shape} ".encode() + held.tobytes()).hexdigest()
        if key not in self.kept:
            with tf.init_scope():
                self.kept[key] = tf.Variable(array, trainable=False, name=f"weight_{len(self.kept)}")
        return tf.convert_to_tensor(self.kept[key])

    def lookup(self, keys: Array) -> Any:
        """A function from texts or whole numbers to their place among keys, the first of equal ones; else how many
        there are."""
        first: dict[Any, int] = {}
        for place, key in enumerate(keys.tolist()):
            first.setdefault(key, place)
        kind = tf.string if keys.dtype.kind == "O" else tf.int64
        with tf.init_scope():
            pairs = tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(first), kind), tf.constant(list(first.values()), tf.int64)
            )
            table = tf.lookup.StaticHashTable(pairs, len(keys))
        self.tables.append(table)
        return lambda given: table.lookup(tf.cast(given, kind) if kind != tf.string else given)


class Constant:
    """A value that is known before the program runs."""

    __slots__ = ("array", "weights")

    def __init__(self, array: Any, weights: Weights) -> None:
        found = np.asarray(array)
        self.array: Array = found.astype(object) if found.dtype.kind in "SU" else found
        self.weights = weights

    def like(self, array: Any) -> Constant:
        """Another, made of it: a kernel with its axes in another order."""
        return Constant(np.asarray(array, order="C"), self.weights)

    def tensor(self) -> Any:
        return self.weights.tensor(self.array)


class Sizes:
    """Whole numbers, each an int or a scalar int64 tensor.

    Attributes:
        rank: 1, or 0 for a single one by itself.
        dtype: of the tensor they make.
    """

    __slots__ = ("dtype", "items", "rank")

    def __init__(self, items: Sequence[Any], rank: int = 1, dtype: Any = tf.int64) -> None:
        self.items, self.rank, self.dtype = tuple(items), rank, dtype

    def tensor(self) -> Any:
        found = [tf.cast(item, self.dtype) for item in self.items]
        return tf.stack(found) if self.rank else found[0]


def tensor(value: Any) -> Any:
    """A tensor of whatever a node may be given."""
    return value.tensor() if isinstance(value, Constant | Sizes) else value


def items(value: Any) -> tuple[Any, ...] | None:
    """Sizes or few constant whole numbers one by one; None for anything else."""
    if isinstance(value, Sizes):
        return value.items
    if isinstance(value, Constant) and value.array.dtype.kind == "i" and value.array.ndim < 2:
        return tuple(value.array.reshape(-1).tolist())
    return None


def numbers(value: Any, what: str) -> list[int]:
    """Whole numbers that must be known. Raises Unknown where they are not; `what` says whose."""
    found = items(value)
    if found is None:
        known = tf.get_static_value(tensor(value))
        found = None if known is None else tuple(np.reshape(known, -1).tolist())
    if found is None or not all(isinstance(item, int) for item in found):
        raise Unknown(f"{what} that are computed")
    return list(found)


def dims(x: Any) -> list[Any]:
    """A tensor's sizes: ints where they are known, scalar tensors elsewhere."""
    if x.shape.rank is None:
        raise Unknown("a tensor of any rank")
    if x.shape.is_fully_defined():
        return list(x.shape)
    asked = tf.shape(x, out_type=tf.int64)
    return [asked[axis] if size is None else size for axis, size in enumerate(x.shape)]
