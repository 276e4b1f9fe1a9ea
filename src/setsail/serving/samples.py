"""Stored rows with the source's answers: what a version is warmed up on, and the example its docs show."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.artifact import Artifact
from setsail.letters import REQUEST
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["Sample", "example", "stored"]

_LARGE: Final = 1000  # values of a row, or bytes of a picture
_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="  # a grey PNG
)


class Sample(Struct, frozen=True):
    """Rows and the source's outputs. `what` is `synthetic` (nobody's rows) or `example` (a person's)."""

    what: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def stored(artifact: Artifact) -> Sample | None:
    """Synthetic rows where the artifact has some, else the example's, else None."""
    for what in ("synthetic", "example"):
        sample = artifact.samples(what)
        if sample is not None:
            return Sample(what, *sample)
    return None


def example(signature: Signature, sample: Sample | None) -> dict[str, object]:
    """One row of each input as JSON values, without the batch dimension.

    Only synthetic rows may be shown to anybody; without them the row is made up from dtypes and categories. So is a
    large one, a picture say: nobody reads its numbers, and as Python's they are many times its size.
    """
    if sample is None or sample.what != "synthetic":
        return {spec.name: _made_up(spec, spec.shape[1:] if spec.batched else spec.shape) for spec in signature.inputs}
    row = _plainest(signature, sample)
    rows = {s.name: sample.inputs[s.name][row] if s.batched else sample.inputs[s.name] for s in signature.inputs}
    return {
        name: _made_up(signature.input(name), np.shape(row))
        if (len(row) if isinstance(row, bytes) else np.size(row)) > _LARGE
        else _plain(row.tolist() if hasattr(row, "tolist") else row)
        for name, row in rows.items()
    }


def _plainest(signature: Signature, sample: Sample) -> int:
    """The first row with nothing missing and only known categories, else the first: an example should look like one."""
    if not signature.batched:
        return 0
    odd = np.zeros(len(next(iter(sample.inputs.values()))), dtype=bool)
    for spec in signature.inputs:
        cells = sample.inputs[spec.name]
        if spec.dtype.kind == "float":
            strange = ~np.isfinite(cells)
        elif spec.dtype.kind == "string":
            known = {*spec.categories} - {NULL}
            strange = (cells == NULL) | np.array([bool(known) and v not in known for v in cells.ravel()]).reshape(
                cells.shape
            )
        else:
            continue
        odd |= strange.reshape(len(cells), -1).any(axis=1)
    return int(odd.argmin())


def _plain(value: Any) -> object:
    """What JSON can say: a missing value is null."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if value == NULL or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _made_up(spec: TensorSpec, shape: tuple[int | str, ...]) -> object:
    if shape:
        size = shape[0] if isinstance(shape[0], int) else 1
        return [_made_up(spec, shape[1:])] * size
    if spec.content == REQUEST:
        return "{}"
    if spec.content:
        return _PIXEL
    if spec.dtype.kind == "string":
        return spec.categories[0] if spec.categories else "text"
    return {"float": 0.0, "bool": False}.get(spec.dtype.kind, 0)
