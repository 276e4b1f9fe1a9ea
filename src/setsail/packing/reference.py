"""The training-time sketch that drift is later measured against: a histogram of every input column.

Numeric columns: ten bins at the reference's own quantiles (bins under 1 % of the mass merged), so that a chi-square
over the same edges is sound at any window size; text and boolean columns: counts of the most frequent levels. Missing
values are a bin of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["sketch"]

BINS: Final = 10
_LEVELS: Final = 64
_SMALLEST: Final = 0.01


def sketch(signature: Signature, rows: Mapping[str, Array]) -> dict[str, Any]:
    """Histograms of checked input arrays, as JSON values; inputs of more than two dimensions are left out."""
    columns: dict[str, Any] = {}
    for spec in signature.inputs:
        array = rows[spec.name]
        if array.ndim == 1:
            columns[spec.name] = _column(spec, array)
        elif array.ndim == 2:
            names = spec.columns or tuple(f"{spec.name}[{i}]" for i in range(array.shape[1]))
            columns |= {name: _column(spec, array[:, i]) for i, name in enumerate(names)}
    return {"rows": len(next(iter(rows.values()))), "columns": columns}


def _column(spec: TensorSpec, values: Array) -> dict[str, Any]:
    if spec.dtype.kind in ("string", "bool"):
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
