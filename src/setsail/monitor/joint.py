"""A test of how columns go together: their own histograms may all be as they were while their correlations broke.

The maximum mean discrepancy (Gretton et al. 2012) with random Fourier features (Rahimi and Recht 2007): a row becomes
`WIDTH` cosines of random projections, and the mean of these vectors over a window is held against the reference's. The
reference keeps that mean and the eigenvalues of the vectors' covariance, and none of its rows: under no change the
squared distance is, by the central limit theorem, a sum of chi-squares with these weights, times 1/n + 1/N. That takes
the place of resampling the reference, and has no floor at one in so many resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from setsail.monitor.tails import weighted_chi_squares
from setsail.tensors import Array

__all__ = ["LEAST_ROWS", "WIDTH", "Joint", "Projection", "compared", "fitted"]

WIDTH: Final = 256
LEAST_ROWS: Final = 1000  # of a reference: with fewer the covariance of the features is not known
_COLUMNS: Final = 128
_SEED: Final = 6180339


class Joint(Struct, frozen=True):
    """The reference's side.

    Attributes:
        columns: tensor and place of each column of numbers that takes part.
        centres, scales: what makes them comparable.
        bandwidth: of the kernel, on that scale.
        mean: of the features.
        weights: eigenvalues of their covariance, largest first.
    """

    rows: int
    columns: tuple[tuple[str, int | None], ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    bandwidth: float
    mean: tuple[float, ...]
    weights: tuple[float, ...]


class Projection:
    """Rows to features: always the same ones for a joint of as many columns."""

    def __init__(self, columns: Sequence[tuple[str, int | None]], centres: Array, scales: Array, bandwidth: float):
        self._columns, self._centres, self._scales = tuple(columns), centres, scales
        # The legacy generator: numpy promises that its numbers never change (NEP 19)
        random = np.random.RandomState(_SEED)
        self._directions = random.standard_normal((len(columns), WIDTH)) / bandwidth
        self._phases = random.uniform(0, 2 * np.pi, WIDTH)

    @classmethod
    def of(cls, joint: Joint) -> Projection:
        return cls(joint.columns, np.array(joint.centres), np.array(joint.scales), joint.bandwidth)

    def __call__(self, arrays: Mapping[str, Array]) -> Array:
        """`[rows, WIDTH]`."""
        return np.asarray(np.sqrt(2 / WIDTH) * np.cos(self.standard(arrays) @ self._directions + self._phases))

    def standard(self, arrays: Mapping[str, Array]) -> Array:
        """The columns side by side on one scale; a missing value is an average one, a far one five deviations off."""
        return _standard(_table(self._columns, arrays), self._centres, self._scales)


def _table(columns: Sequence[tuple[str, int | None]], arrays: Mapping[str, Array]) -> Array:
    parts = [arrays[tensor] if place is None else arrays[tensor][:, place] for tensor, place in columns]
    return np.stack([part.astype(np.float64) for part in parts], axis=1)


def _standard(table: Array, centres: Array, scales: Array) -> Array:
    with np.errstate(invalid="ignore"):
        scaled: Array = (table - centres) / scales
    return np.asarray(np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -5.0, 5.0))


def fitted(columns: Sequence[tuple[str, int | None]], arrays: Mapping[str, Array], rows: int) -> Joint | None:
    """A reference's side; None where there are too few rows, or no two columns of numbers that vary."""
    if rows < LEAST_ROWS or len(columns) < 2:
        return None
    table = _table(columns, arrays)
    table[~np.isfinite(table)] = np.nan
    counted = np.isfinite(table).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centres = np.nansum(table, axis=0) / counted
        scales = np.sqrt(np.nansum((table - centres) ** 2, axis=0) / counted)
    kept = np.flatnonzero((counted > rows / 2) & (scales > 0))[:_COLUMNS]
    if len(kept) < 2:
        return None
    chosen = [columns[i] for i in kept]
    centres, scales = centres[kept], scales[kept]
    some = _standard(table[:: max(1, rows // 500)][:500, kept], centres, scales)
    apart = np.sqrt(((some[:, None, :] - some[None, :, :]) ** 2).sum(-1))
    bandwidth = max(float(np.median(apart[np.triu_indices(len(some), 1)])), 1e-3)
    features = Projection(chosen, centres, scales, bandwidth)(arrays)
    weights = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    return Joint(
        rows, tuple(chosen), _plain(centres), _plain(scales), bandwidth, _plain(features.mean(0)),
        _plain(np.clip(weights, 0.0, None)),
    )  # fmt: skip


def _plain(values: Array) -> tuple[float, ...]:
    """With nine digits, of which no test needs more, so that nearly equal machines write equal bytes."""
    return tuple(float(f"{value:.9g}") for value in values)


def compared(joint: Joint, sums: Array, rows: int) -> tuple[float, float]:
    """The squared distance of a window of so many rows from the reference, and how likely it is without a change.

    Args:
        sums: of the window's features.
    """
    distance = float(((sums / rows - np.array(joint.mean)) ** 2).sum())
    return distance, weighted_chi_squares(distance, np.array(joint.weights) * (1 / rows + 1 / joint.rows))
