"""The rows that are sent: the artifact's own samples, a file's, or made up from what the model says it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail import binding, rows
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.messages import Body, Cells
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["Inputs", "cut", "from_artifact", "from_file", "made_up"]

_ROWS: Final = 64  # made up, where nothing is stored
_FREE: Final = 8  # size of a free dimension that is not the batch
_MOST: Final = 4096  # rows read from a file


class Inputs(Struct, frozen=True):
    """Arrays by input name. `origin` says where they come from; `count` rows, or 0 without a batch dimension."""

    arrays: Mapping[str, Array]
    count: int
    origin: str


def from_artifact(artifact: Artifact) -> Inputs:
    """Stored samples, synthetic ones first; made-up rows where none were kept."""
    for what in ("synthetic", "example"):
        sample = artifact.samples(what)
        if sample is not None:
            return _inputs(artifact.signature, sample[0], f"the artifact's {what} samples")
    return made_up(artifact.signature)


def from_file(signature: Signature, path: Path) -> Inputs:
    """The first rows of a rows file. Raises `rows.*` and `input.*`."""
    with rows.open_rows(path, batch_size=_MOST) as batches:
        body = next(batches, None)
    if body is None:
        raise SetsailError("input.empty", f"{path.name} holds no rows", field="--rows", value=str(path))
    return _inputs(signature, binding.bind(_named(signature, body), body), path.name)


def _named(signature: Signature, body: Body) -> Signature:
    """A server's metadata does not name a table's columns: a CSV header as long as a row is them."""
    only = signature.inputs[0] if len(signature.inputs) == 1 else None
    if only is None or only.columns or not isinstance(body, Cells) or body.header is None:
        return signature
    if only.shape[1:] != (len(body.header),):
        return signature
    table = TensorSpec(only.name, only.dtype, only.shape, tuple(body.header), nullable=only.nullable)
    return Signature((table,), signature.outputs, signature.defaults)


def made_up(signature: Signature, seed: int = 0) -> Inputs:
    """Values of the right dtype and shape: floats of a normal distribution, small integers, known categories."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        shape = tuple(
            d if isinstance(d, int) else sizes.setdefault(d, _FREE if axis else _ROWS)
            for axis, d in enumerate(spec.shape)
        )
        arrays[spec.name] = np.asarray(_values(spec, shape, random), spec.dtype.numpy)
    return _inputs(signature, arrays, "made-up rows")


def _values(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    levels = [c for c in spec.categories if c != NULL]
    if spec.dtype.kind == "string":
        chosen = np.array(levels or ["text"], dtype=object)
        return chosen[random.integers(0, len(chosen), shape)]
    if spec.dtype.kind == "float":
        return random.standard_normal(shape)
    if levels:
        return np.array([int(c) for c in levels])[random.integers(0, len(levels), shape)]
    return random.integers(0, 2, shape)


def _inputs(signature: Signature, arrays: Mapping[str, Array], origin: str) -> Inputs:
    """Rows with nothing missing, where there are some: how JSON spells a missing value differs between servers."""
    if not _has_rows(signature):
        return Inputs(arrays, 0, origin)
    count = len(next(iter(arrays.values())))
    plain = np.ones(count, dtype=bool)
    for array in arrays.values():
        odd = array == NULL if array.dtype.kind == "O" else ~np.isfinite(array) if array.dtype.kind == "f" else None
        if odd is not None:
            plain &= ~np.asarray(odd, dtype=bool).reshape(count, -1).any(axis=1)
    if plain.any():
        arrays = {name: array[plain] for name, array in arrays.items()}
        count = int(plain.sum())
    return Inputs(arrays, count, origin)


def _has_rows(signature: Signature) -> bool:
    """Whether any number of rows may be sent: one free size is every input's first, and nothing else."""
    first = {spec.shape[:1] for spec in signature.inputs}
    rest = {dim for spec in signature.inputs for dim in spec.shape[1:]}
    return len(first) == 1 and all(spec.batched for spec in signature.inputs) and not set(first.pop()) & rest


def cut(inputs: Inputs, size: int, most: int) -> list[Mapping[str, Array]]:
    """At most `most` pieces of `size` rows each; the rows begin anew where they end."""
    if not inputs.count:
        return [inputs.arrays]
    pieces = min(most, max(1, inputs.count // size))
    return [
        {name: array[np.arange(i * size, (i + 1) * size) % inputs.count] for name, array in inputs.arrays.items()}
        for i in range(pieces)
    ]
