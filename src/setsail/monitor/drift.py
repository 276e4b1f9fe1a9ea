"""Whether a window of rows has drifted: a chi-square a column, at three scales, and how large the drift is.

The promise is one number, the chance of an alarm in a window while nothing has changed (1e-3 unless it is set). It is
shared out: half to the inputs, a quarter each to the outputs and to the joint test, and in each family in equal parts
to columns and scales (Bonferroni). A p-value decides, and the population stability index is what is reported and has a
floor, so that millions of rows do not raise an alarm over nothing. Bins that expect fewer than five rows are pooled and
tested by an exact binomial, in which an unheard-of level or a first missing value counts for what it is.

Chi-square does not know that numbers have an order, and spends its power on every way in which ten bins can differ.
Most drifts of numbers are one way, up or down: a column of numbers is tested by ranks too, each with half its share.

Sources: Rabanser, Günnemann and Lipton 2019, Failing Loudly; Yurdakul 2018, Statistical properties of the PSI; Mann and
Whitney 1947, with the variance for ties of Lehmann 1975, Nonparametrics, section 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from setsail.monitor.tails import binomial, chi_square, two_sided
from setsail.tensors import Array

__all__ = ["FLOOR", "SCALES", "SHARES", "Finding", "Layout", "Rule", "examined"]

SCALES: Final = (1, 4, 16)  # windows that are looked at together
SHARES: Final = {"inputs": 0.5, "outputs": 0.25, "joint": 0.25}  # of the chance of a false alarm
FLOOR: Final = 0.005
_EXPECTED: Final = 5.0
_RANKED: Final = 50.0  # rows on the smaller side from which the normal limit of ranks is good far out


class Rule(Struct, frozen=True):
    """When a window ends and what is an alarm.

    Attributes:
        rows: of a window; with `least` or more it ends after `seconds` as well.
        alpha: chance of a false alarm in a window, over everything that is tested.
        floor: bias-corrected PSI below which nothing is an alarm.
        quiet: windows without a finding after which an alarm is over.
    """

    rows: int = 500
    least: int = 200
    seconds: float = 900.0
    alpha: float = 1e-3
    floor: float = FLOOR
    quiet: int = 3


class Layout:
    """Columns of different sizes as one padded table, so that all are computed at once.

    Args:
        sizes: bins of each column.
        ordered: how many of these, the first ones, follow each other as numbers do.

    Attributes:
        ranked: `[columns, width]`, which bins follow each other; none where that are fewer than two.
    """

    def __init__(self, sizes: Sequence[int], ordered: Sequence[int] = ()) -> None:
        self.columns, self.width = len(sizes), max(sizes, default=0)
        order = np.array(ordered or [0] * self.columns, int).reshape(-1, 1)
        self.ranked = (np.arange(self.width) < order) & (order > 1)
        self._at = np.concatenate([
            column * self.width + np.arange(size) for column, size in enumerate(sizes)
        ]).astype(int) if self.columns else np.zeros(0, int)  # fmt: skip

    def table(self, counts: Array) -> Array:
        """Counts one column after the other, `[..., total]`, as `[..., columns, width]`, with zeros after each."""
        table = np.zeros((*counts.shape[:-1], self.columns * self.width))
        table[..., self._at] = counts
        return table.reshape(*counts.shape[:-1], self.columns, self.width)


class Finding(Struct, frozen=True):
    """What was found of columns, an entry each: p-value, bias-corrected PSI, Jensen and Shannon's distance (base 2)."""

    p: Array
    psi: Array
    js: Array


def examined(reference: Array, window: Array, ranked: Array | None = None) -> Finding:
    """Hold windows against the reference.

    Args:
        reference: `[columns, width]` counts, as `Layout.table` makes them.
        window: `[..., columns, width]`.
        ranked: `Layout.ranked`, where columns are tested by ranks as well.
    """
    many, few = reference.sum(-1), window.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = _chances(reference, window, many, few)
        if ranked is not None:
            rank = _ranks(np.where(ranked, reference, 0), np.where(ranked, window, 0))
            p = np.where(np.isnan(rank), p, np.minimum(1.0, 2 * np.fmin(p, rank)))
        psi, js = _effects(reference, window, many, few)
    empty = (few == 0) | (many == 0)
    return Finding(np.where(empty, 1.0, p), np.where(empty, 0.0, psi), np.where(empty, 0.0, js))


def _chances(reference: Array, window: Array, many: Array, few: Array) -> Array:
    """Two samples, one distribution? Pearson's chi-square over the filled bins, a binomial over the others as one."""
    both = reference + window
    share = (few / (few + many))[..., None]
    expected = both * share
    filled = np.minimum(expected, both - expected) >= _EXPECTED
    terms = np.where(filled, (window - expected) ** 2 / (expected * (1 - share)), 0.0)
    rare_window, rare_both = (np.where(filled, 0, counts).sum(-1) for counts in (window, both))
    # The rare bins are one more bin of the chi-square where together they are enough
    rare_expected = rare_both * share[..., 0]
    joined = np.minimum(rare_expected, rare_both - rare_expected) >= _EXPECTED
    more = np.where(joined, (rare_window - rare_expected) ** 2 / (rare_expected * (1 - share[..., 0])), 0.0)
    chi = chi_square(terms.sum(-1) + more, np.maximum(filled.sum(-1) + joined - 1, 0))
    rare = np.ones(chi.shape)
    for at in zip(*np.nonzero(rare_window > rare_expected), strict=True):
        rare[at] = binomial(int(rare_window[at]), int(rare_both[at]), float(share[at][0]))
    return np.where(rare_both > 0, np.minimum(1.0, 2 * np.minimum(chi, rare)), chi)


def _ranks(reference: Array, window: Array) -> Array:
    """Mann and Whitney's test, two-sided, by its normal limit; a bin is a tie. NaN where it does not hold.

    A bin with more than half of all rows makes the ranks so lopsided that the limit is too far away.
    """
    both = reference + window
    total, few = both.sum(-1), window.sum(-1)
    middle = both.cumsum(-1) - both / 2  # what is below a bin and half of what is in it: a row's rank there
    above = (window * middle).sum(-1) - few * total / 2
    variance = few * (total - few) / (12 * (total - 1)) * (total**2 - (both**3).sum(-1) / total)
    fits = (both.max(-1) <= total / 2) & (np.minimum(few, total - few) >= _RANKED)
    return np.where(fits, two_sided(above / np.sqrt(np.where(fits, variance, 1.0))), np.nan)


def _effects(reference: Array, window: Array, many: Array, few: Array) -> tuple[Array, Array]:
    used = (reference + window) > 0
    bins = used.sum(-1)
    old = np.where(used, (reference + 0.5) / (many + 0.5 * bins)[..., None], 0.0)
    new = np.where(used, (window + 0.5) / (few + 0.5 * bins)[..., None], 0.0)
    psi = np.where(used, (new - old) * np.log(np.where(used, new / np.where(used, old, 1.0), 1.0)), 0.0).sum(-1)
    middle = (old + new) / 2
    js = sum(np.where(side > 0, side * np.log2(side / middle), 0.0).sum(-1) / 2 for side in (old, new))
    return psi - (bins - 1) * (1 / few + 1 / many), np.sqrt(np.maximum(js, 0.0))
