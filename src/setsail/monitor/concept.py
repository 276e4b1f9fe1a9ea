"""Whether a model has become worse, from the losses of labels as they come back.

An e-detector (Shin, Ramdas and Rinaldo 2022, E-detectors: a nonparametric framework for sequential change detection):
for each of seven bets λ, M ← (M + 1)(1 + λ(loss − p0)), and the mean of the seven M is compared with a bound. While the
mean loss is at most p0, whatever else its distribution does, the mean number of labels to a false alarm is at least
that bound: a million here, and a hundred thousand for a warning. Losses are in [0, 1]: wrong or not, or an error on a
scale.

What a model's p0 is, is learnt from the first labels: the Chernoff bound that their mean loss stays under with 99 %.
That margin delays an alarm, and keeps the promise.

Losses of several processes come in blocks. A block is one step of the same recursion by the product of its bets, which
keeps the bound: a step takes at least one label.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Final

import numpy as np

from setsail.monitor.quality import LOSSES
from setsail.monitor.tails import bound
from setsail.tensors import Array

__all__ = ["ALARM", "BASELINE", "WARNING", "Detector", "baseline", "evidence"]

ALARM: Final = 1e6
WARNING: Final = 1e5
BASELINE: Final = 500  # labels that p0 is learnt from
RISK: Final = 0.01
_BETS: Final = 7
_FAR: Final = 600.0  # of a logarithm, where nothing changes any more


def baseline(losses: Sequence[int]) -> float:
    """p0 out of a histogram of losses."""
    count = sum(losses)
    mean = sum(place * many for place, many in enumerate(losses)) / (count * (len(losses) - 1)) if count else 1.0
    return bound(mean, count, RISK)


def bets(p0: float) -> Array:
    """λ from a hundredth of the largest that keeps every factor positive to nearly all of it."""
    return np.geomspace(0.01, 0.95, _BETS) / max(p0, 1e-3)


class Detector:
    """The detector of one stream."""

    def __init__(self, p0: float) -> None:
        self.p0 = min(max(p0, 1e-3), 1 - 1e-3)
        self._bets = bets(self.p0)
        self._logs = np.full(_BETS, -np.inf)  # of M
        places = np.arange(LOSSES + 1) / LOSSES
        self._steps = np.log1p(self._bets[:, None] * (places[None, :] - self.p0))

    @property
    def level(self) -> float:
        """The mean of the seven M: what `ALARM` and `WARNING` bound."""
        top = float(self._logs.max())
        if top == -np.inf:
            return 0.0
        return exp(min(_FAR, top + log(float(np.exp(self._logs - top).mean()))))

    def update(self, loss: float) -> float:
        """One label. Returns the level."""
        self._step(np.log1p(self._bets * (loss - self.p0)))
        return self.level

    def block(self, losses: Sequence[int]) -> float:
        """Labels that came together, as a histogram. Returns the level."""
        if any(losses):
            self._step(self._steps @ np.asarray(losses, np.float64))
        return self.level

    def _step(self, steps: Array) -> None:
        self._logs = np.minimum(np.logaddexp(self._logs, 0.0) + steps, _FAR)

    def restart(self) -> None:
        """Forget all evidence, as after an alarm."""
        self._logs[:] = -np.inf


def evidence(losses: Array, p0: float) -> Array:
    """The level after every label of many streams at once, `[streams, labels]`: for simulations."""
    found = np.zeros((_BETS, losses.shape[0]))
    levels = np.zeros(losses.shape)
    factors = bets(p0)[:, None]
    for at in range(losses.shape[1]):
        found = np.minimum((found + 1) * (1 + factors * (losses[None, :, at] - p0)), 1e30)
        levels[:, at] = found.mean(0)
    return levels
