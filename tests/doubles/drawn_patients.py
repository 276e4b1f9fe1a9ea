"""Rows like those of scikit-learn's breast cancer data, as many as one wants: its margins and its correlations.

A Gaussian copula: correlated normal numbers, of which each column takes the quantile of the data. `scores` are the
normal numbers alone, for tests that no monotone change of a column can touch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtr
from sklearn.datasets import load_breast_cancer

COLUMNS = 30


@cache
def _data() -> tuple[Any, Any]:
    """The sorted columns, and a root of the correlations of their normal scores."""
    X = load_breast_cancer().data
    ranks = X.argsort(0).argsort(0)
    from scipy.special import ndtri

    normal = ndtri((ranks + 0.5) / len(X))
    return np.sort(X, axis=0), np.linalg.cholesky(np.corrcoef(normal.T) + 1e-6 * np.eye(COLUMNS))


def scores(random: np.random.Generator, rows: int) -> Any:
    return random.standard_normal((rows, COLUMNS)) @ _data()[1].T


def patients(random: np.random.Generator, rows: int) -> Any:
    ordered, _ = _data()
    places = ndtr(scores(random, rows)) * (len(ordered) - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(ordered) - 1)
    columns = np.arange(COLUMNS)
    return ordered[low, columns] + (places - low) * (ordered[high, columns] - ordered[low, columns])
