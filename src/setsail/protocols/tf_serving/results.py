"""What `Classify` and `Regress` answer, out of what a model answers: REST and gRPC write the same classes and values.

A signature of TensorFlow's says which of its outputs are scores and which are classes. Ours go by the names of the
published outputs (`docs/outputs.md`); a model with one output says it by that output's shape.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.values import texts
from setsail.signature import TensorSpec
from setsail.tensors import Array

__all__ = ["Classes", "classes", "regressed"]

_SCORES: Final = ("probabilities", "scores")  # [N, classes]
_CLASSES: Final = "classes"  # [N, classes]: the label each score belongs to
_LABEL: Final = "label"  # [N]
_VALUES: Final = ("prediction", "score")  # [N], or [N, 1]


class Classes(NamedTuple):
    """Of every row its labels, and scores of the same shape; None where the model has no scores."""

    labels: list[list[str]]
    scores: Array | None


def classes(response: Response) -> Classes:
    """The classes of every row, in the model's order. Raises `model.signature` where the model is no classifier."""
    outputs = response.outputs
    scores = next((name for name in _SCORES if name in outputs), None)
    if scores is None and _LABEL not in outputs:
        scores = next((name for name, array in outputs.items() if array.ndim == 2 and array.dtype.kind == "f"), None)
    if scores is not None and outputs[scores].ndim == 2:
        array = outputs[scores]
        return Classes(_labels(response, response.signature.output(scores), array), array)
    if _LABEL in outputs and outputs[_LABEL].ndim == 1:
        return Classes([[_text(label)] for label in _listed(outputs[_LABEL])], None)
    raise _no("classifier", response, "probabilities or a label for every row", ":predict, or :regress")


def _labels(response: Response, spec: TensorSpec, scores: Array) -> list[list[str]]:
    """The names of the classes: an output says them row by row, or they are the same for all, or there are none."""
    named = response.outputs.get(_CLASSES)
    if named is not None and named.shape == scores.shape:
        return [[_text(label) for label in row] for row in _listed(named)]
    row = list(spec.labels) if len(spec.labels) == scores.shape[1] else [""] * scores.shape[1]
    return [row] * len(scores)


def _listed(array: Array) -> list[Any]:
    return texts(array) if array.dtype.kind in "OUST" else array.tolist()


def _text(label: object) -> str:
    return "" if label is None else str(label)


def regressed(response: Response) -> Array:
    """One number a row. Raises `model.signature` where the model does not have that."""
    outputs = response.outputs
    name = next((name for name in _VALUES if name in outputs), None)
    if name is None and len(outputs) == 1:
        (name,) = outputs
    array = None if name is None else outputs[name]
    if array is not None and array.dtype.kind in "fiu" and (array.ndim == 1 or array.shape[1:] == (1,)):
        return np.ascontiguousarray(array.reshape(-1))
    raise _no("regressor", response, "an output with one number for every row", ":predict, or :classify")


def _no(what: str, response: Response, expected: str, todo: str) -> SetsailError:
    return SetsailError(
        "model.signature", f"model {response.model!r} is no {what}", field="signature_name",
        value=list(response.outputs), expected=expected, todo=f"send the same rows to {todo}",
    )  # fmt: skip
