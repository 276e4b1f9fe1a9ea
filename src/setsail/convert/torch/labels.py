"""Class labels of a net that only gives scores: from `--labels`, or a `labels.txt` beside its file, a label a line.

With labels the answer is the class: an output `label` comes first and is what a bare answer gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from setsail.convert.conversion import Conversion, Intent
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME, Array

__all__ = ["labelled", "with_labels_beside"]

FILE: Final = "labels.txt"
_LARGEST: Final = 4 << 20


def with_labels_beside(path: Path, intent: Intent, convert: Callable[[Intent], Conversion]) -> Conversion:
    """Convert a file with the labels that lie beside it, where none were given. Those that fit no output are left."""
    place = path.parent / FILE
    if intent.labels or not place.is_file() or place.stat().st_size > _LARGEST:
        return convert(intent)
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    found = tuple(line.strip() for line in lines if line.strip())
    try:
        converted = convert(replace(intent, labels=found))
        told = f"{len(found)} class labels from {FILE} beside the file"
    except SetsailError as fault:
        if fault.code != "convert.input" or fault.field != "--labels":
            raise
        converted = convert(intent)
        told = f"{FILE} beside the file is not used: its {len(found)} labels fit no output"
    return replace(converted, notes=(*converted.notes, told))


def labelled(converted: Conversion, labels: Sequence[str]) -> Conversion:
    """A conversion whose first output of `[N, classes]` is named by an output `label`.

    Raises:
        SetsailError: `convert.input` where the model has an output `label` of its own.
    """
    inner = converted.signature
    scores = next((s for s in inner.outputs if len(s.shape) == 2 and s.labels == tuple(labels)), None)
    if scores is None or not inner.batched:
        return converted
    if any(spec.name == "label" for spec in (*inner.outputs, *inner.inputs)):
        raise SetsailError("convert.input", "the model has a tensor named 'label' already",
                           field="--labels", value=list(labels)[:6], expected="another name in the module")  # fmt: skip
    label = TensorSpec("label", BY_NAME["string"], (BATCH,), labels=tuple(labels))
    step = Step("scores.label", (scores.name,), ("label",), {"labels": list(labels)})
    probes = tuple(replace(p, outputs={"label": _best(p.outputs[scores.name], labels), **p.outputs})
                   for p in converted.probes)  # fmt: skip
    return replace(
        converted, signature=Signature(inner.inputs, (label, *inner.outputs), ("label",)), probes=probes,
        processing=Processing((step,), inner),
    )  # fmt: skip


def _best(scores: Array, labels: Sequence[str]) -> Array:
    made: Array = np.empty(len(scores), dtype=object)
    made[:] = [labels[i] for i in scores.argmax(axis=1).tolist()]
    return made
