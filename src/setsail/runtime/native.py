"""What the native runners have in common: from a booster's scores to the signature's outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.runner import Weights
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["NativeRunner", "outputs", "run_fault"]


class NativeRunner:
    """A booster with the signature's names, dtypes and labels. A library says how its booster scores rows."""

    def __init__(self, variant: Variant, signature: Signature, booster: Any, threads: int) -> None:
        self.signature = signature
        self.max_batch: int | None = None
        self.weights = Weights()
        self._booster = booster
        self._threads = threads
        self._settings = variant.settings

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        booster = self._booster  # another thread may close meanwhile
        if booster is None:
            raise SetsailError("model.not_ready", "the model was unloaded")
        scores = self._scores(booster, self._rows(inputs))
        return outputs(self.signature, self._settings["form"], scores, self._settings.get("limit", 0.5))

    def rest(self, inputs: Mapping[str, Array]) -> None:
        """Nothing: boosters keep no memory of their runs."""

    def close(self) -> None:
        self._booster = None

    def _rows(self, inputs: Mapping[str, Array]) -> Array:
        """The inputs as the library takes them: the one table."""
        return inputs[self.signature.inputs[0].name]

    def _scores(self, booster: Any, rows: Array) -> Array:
        """Scores of rows in the form that the settings name. Raises `model.run`."""
        raise NotImplementedError


def outputs(signature: Signature, form: str, scores: Array, limit: float = 0.5) -> dict[str, Array]:
    """Name a booster's scores.

    Args:
        form: `binary` (scores are P(class 1), [N]), `multi` ([N, classes]), `margin` (a label by the sign, [N]) or
            `value` (scores are the answer).
        limit: above it a row is of class 1, where there are two.
    """
    if form == "value":
        only = signature.outputs[0]
        return {only.name: scores.astype(only.dtype.numpy, copy=False)}
    if form == "multi":
        index, second = scores.argmax(axis=1), scores
    elif form == "binary":
        index, second = (scores > limit).astype(np.int64), np.stack([1 - scores, scores], axis=1)
    else:
        index, second = (scores > 0).astype(np.int64), scores
    label, other = signature.outputs
    return {label.name: _labels(label)[index], other.name: second.astype(other.dtype.numpy, copy=False)}


def _labels(spec: TensorSpec) -> Array:
    """Class labels from the signature's texts, in the dtype of the `label` output."""
    texts = list(spec.labels)
    if spec.dtype.kind == "bool":
        return np.array([t == "True" for t in texts])
    if spec.dtype.kind in ("int", "uint"):
        return np.array([int(t) for t in texts], dtype=spec.dtype.numpy)
    return np.array([float(t) for t in texts] if spec.dtype.kind == "float" else texts, dtype=spec.dtype.numpy)


def run_fault(fault: Exception) -> SetsailError:
    """The library's words are for the log (`detail`), the client gets the id."""
    ident = os.urandom(4).hex()
    said = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
    return SetsailError("model.run", f"the model failed on this request (id {ident})", id=ident, detail=said)
