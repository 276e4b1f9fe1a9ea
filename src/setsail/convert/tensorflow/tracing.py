"""A model as a function from arrays to arrays, and as one that TensorFlow can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from setsail.convert.tensorflow.strings import texts
from setsail.convert.tensorflow.translation import Traced, quiet
from setsail.signature import TensorSpec
from setsail.tensors import Array

__all__ = ["Traceable"]


class Traceable:
    """What a model answers, run on arrays or followed into a graph.

    Args:
        answer: tensors by input name -> tensors by output name. It keeps what it needs of the model alive.
        specs: the inputs, in the order of the graph's arguments; the first dimension is the batch where it is free.
    """

    def __init__(self, answer: Callable[[Mapping[str, Any]], Mapping[str, Any]], specs: Sequence[TensorSpec]) -> None:
        self._answer, self._specs = answer, tuple(specs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with quiet():
            tensors = {s.name: tf.constant(inputs[s.name], dtype=s.dtype.name) for s in self._specs}
            return {str(name): texts(t.numpy()) for name, t in self._answer(tensors).items()}

    def trace(self, batch: int | None) -> Traced:
        """Follow the model with free dimensions, or with a batch of 1. Raises `convert.unsupported`."""
        signature = [
            tf.TensorSpec(
                [d if isinstance(d, int) else batch if axis == 0 else None for axis, d in enumerate(s.shape)],
                s.dtype.name, name=f"arg_{i}",
            )
            for i, s in enumerate(self._specs)
        ]  # fmt: skip
        names = [s.name for s in self._specs]

        def traced(*tensors: Any) -> list[Any]:
            answer = self._answer(dict(zip(names, tensors, strict=True)))
            return list(answer.values())

        with quiet():
            function = tf.function(traced, input_signature=signature).get_concrete_function()
        return Traced(function, names)
