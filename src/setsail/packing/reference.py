"""The training-time sketch that drift is later measured against: a histogram of every input and output column.

Numeric columns: ten bins at the reference's own quantiles (bins under 1 % of the mass merged), so that a chi-square
over the same edges is sound at any window size; text and boolean columns, and predicted classes: counts of the most
frequent levels. Missing values are a bin of their own. How the columns go together is kept as the moments of random
features (`monitor/joint.py`). No row of the reference is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from msgspec import to_builtins

from setsail.monitor import joint
from setsail.monitor.profile import named
from setsail.packing.trial import Trial, answered
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["reference", "sketch"]

BINS: Final = 10
_LEVELS: Final = 64
_SMALLEST: Final = 0.01
_ANSWERED: Final = 20_000  # rows that the model is asked for, and that the joint moments are of
_SCORES: Final = 16  # columns of one output


def reference(trial: Trial, rows: Mapping[str, Array]) -> dict[str, Any]:
    """The sketch of checked input arrays and of the model's own answers to them.

    Raises:
        SetsailError: a `program.*` code when the child process that runs the model dies.
    """
    signature = trial.signature
    told = sketch(signature, rows)
    if signature.batched:
        some = {name: array[:: max(1, len(array) // _ANSWERED)] for name, array in rows.items()}
        told["outputs"] = _outputs(signature, answered(trial, some))
    return told


def sketch(signature: Signature, rows: Mapping[str, Array]) -> dict[str, Any]:
    """Histograms of checked input arrays, as JSON values; inputs of more than two dimensions are left out."""
    columns: dict[str, Any] = {}
    numbers: list[tuple[str, int | None]] = []
    for spec in signature.inputs:
        array = rows[spec.name]
        if array.ndim == 1:
            columns[spec.name] = _column(spec, array)
            numbers += [(spec.name, None)] if _is_number(spec) else []
        elif array.ndim == 2:
            names = named(spec, array.shape[1])
            columns |= {name: _column(spec, array[:, i]) for i, name in enumerate(names)}
            numbers += [(spec.name, i) for i in range(len(names))] if _is_number(spec) else []
    count = len(next(iter(rows.values())))
    told: dict[str, Any] = {"rows": count, "columns": columns}
    stride = max(1, count // _ANSWERED)
    some = {tensor: rows[tensor][::stride] for tensor, _ in numbers}
    fitted = joint.fitted(numbers, some, len(range(0, count, stride))) if signature.batched else None
    return told if fitted is None else told | {"joint": to_builtins(fitted)}


def _outputs(signature: Signature, outputs: Mapping[str, Array]) -> dict[str, Any]:
    """Histograms of answers. Of scores for two classes the second says all; of many classes, the first so many."""
    columns: dict[str, Any] = {}
    for spec in signature.outputs:
        array = outputs[spec.name]
        if array.ndim == 1:
            columns[spec.name] = _column(spec, array, classes=spec.dtype.kind in ("int", "uint"))
        elif array.ndim == 2:
            names = named(spec, array.shape[1])
            first = 1 if len(names) == 2 else 0
            for place, name in list(enumerate(names))[first : first + _SCORES]:
                columns[f"{spec.name}.{name}"] = _column(spec, array[:, place])
    return columns


def _is_number(spec: TensorSpec) -> bool:
    return spec.dtype.kind not in ("string", "bool")


def _column(spec: TensorSpec, values: Array, *, classes: bool = False) -> dict[str, Any]:
    if not _is_number(spec) or (classes and len(np.unique(values)) <= _LEVELS):
        counts = Counter(str(v) for v in values.tolist())
        missing = counts.pop(NULL, 0)
        levels = dict(sorted(counts.most_common(_LEVELS)))
        return {"levels": levels, "other": len(values) - missing - sum(levels.values()), "missing": missing}
    numbers = values.astype(np.float64)
    present = numbers[np.isfinite(numbers)]
    if present.size == 0:
        return {"edges": [], "counts": [], "missing": int(values.size)}
    cuts = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
    masses = np.histogram(present, bins=np.concatenate([[-np.inf], cuts, [np.inf]]))[0]
    edges, kept = _merge(cuts.tolist(), masses.tolist(), int(present.size))
    return {"edges": edges, "counts": kept, "missing": int(values.size - present.size)}


def _merge(edges: list[float], counts: list[int], total: int) -> tuple[list[float], list[int]]:
    """Merge every bin that holds under 1 % of the mass into its right neighbour (the last into its left)."""
    index = 0
    while len(counts) > 1 and index < len(counts):
        if counts[index] >= total * _SMALLEST:
            index += 1
            continue
        other = index + 1 if index + 1 < len(counts) else index - 1
        counts[other] += counts[index]
        del counts[index]
        del edges[min(index, len(edges) - 1)]
    return edges, counts
