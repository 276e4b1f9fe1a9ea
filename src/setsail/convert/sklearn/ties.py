"""Rows on which nearest neighbours are a matter of chance.

When more training rows are *exactly* equally far than there are places among the k nearest, scikit-learn takes those
that its tree happens to meet first, the program those with the lowest number. Both are k nearest neighbours; neither is
an error of the other. Such rows are found here, with the source's own distances, and compared apart: every difference
must be explained by the neighbours that were tied, and the parity report shows how many there were.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np

from setsail.tensors import Array

__all__ = ["tied"]

_NEIGHBOURS: Final = ("KNeighborsClassifier", "KNeighborsRegressor")


def tied(estimator: Any, rows: Any) -> tuple[Array, float] | None:
    """Which rows have a tie at the last place, and the most that exchanging the tied neighbours can change.

    Args:
        rows: as the estimator takes them.

    Returns:
        A boolean mask `[N]` and a bound on the change of an output; None for models that are no neighbours.
    """
    steps = [step for _, step in getattr(estimator, "steps", [])] or [estimator]
    last = steps[-1]
    if type(last).__name__ not in _NEIGHBOURS or not hasattr(last, "_fit_X") or last.n_neighbors >= len(last._fit_X):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in steps[:-1]:
            rows = rows if step in (None, "passthrough") else step.transform(rows)
        away, _ = last.kneighbors(rows, last.n_neighbors + 1)
    furthest = away[:, -2:-1]
    mask = np.asarray(away[:, -1] == furthest[:, 0])
    if not mask.any():
        return mask, 0.0
    places = int((away[mask][:, :-1] == furthest[mask]).sum(axis=1).max())
    share = places / last.n_neighbors if last.weights in (None, "uniform") else 1.0
    targets = np.asarray(last._y, dtype=np.float64)
    span = 1.0 if hasattr(last, "classes_") else float(np.ptp(targets, axis=0).max())
    return mask, share * span
