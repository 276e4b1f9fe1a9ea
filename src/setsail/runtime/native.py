"""What the native runners have in common: from a booster's scores to the signature's outputs."""

from __future__ import annotations

import os

import numpy as np

from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["outputs", "run_fault"]


def outputs(signature: Signature, form: str, scores: Array) -> dict[str, Array]:
    """Name a booster's scores.

    Args:
        form: `binary` (scores are P(class 1), [N]), `multi` ([N, classes]), `margin` (a label by the sign, [N]) or
            `value` (scores are the answer).
    """
    if form == "value":
        only = signature.outputs[0]
        return {only.name: scores.astype(only.dtype.numpy, copy=False)}
    if form == "multi":
        index, second = scores.argmax(axis=1), scores
    elif form == "binary":
        index, second = (scores > 0.5).astype(np.int64), np.stack([1 - scores, scores], axis=1)
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
