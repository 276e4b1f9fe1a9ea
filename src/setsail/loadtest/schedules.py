"""When requests are sent, and which rate is tried next. Pure: no clock, and no chance but the seed's.

An open loop sends on schedule whether or not earlier answers came, as independent users do: in the manner of MLPerf
Inference's server scenario (Reddi et al., ISCA 2020) the gaps are exponential, so that arrivals are a Poisson process.
A latency counts from the *scheduled* arrival. A request that leaves late because everything is busy has its wait
counted too; the other way hides exactly the waits that users complain about ("coordinated omission").
"""

from __future__ import annotations

from typing import Final

import numpy as np

from setsail.tensors import Array

__all__ = ["FRACTIONS", "Search", "arrivals"]

FRACTIONS: Final = (0.25, 0.5, 0.7, 0.8, 0.9)
_MOST: Final = 2_000_000  # arrivals of one schedule


def arrivals(rate: float, seconds: float, seed: int = 0) -> Array:
    """Seconds since the beginning at which requests arrive: a Poisson process of `rate` a second.

    Returns:
        float64, ascending, all in [0, seconds). The same arguments give the same times.

    Raises:
        ValueError: a rate or time that is not positive, or more arrivals than memory should hold.
    """
    if not (rate > 0 and seconds > 0 and rate * seconds <= _MOST):
        raise ValueError(f"no schedule of {rate} a second for {seconds} s")
    random = np.random.default_rng(seed)
    mean = rate * seconds
    gaps = random.exponential(1 / rate, int(mean + 6 * mean**0.5 + 20))
    times = np.cumsum(gaps)
    while times[-1] < seconds:  # one time in a billion
        times = np.concatenate([times, times[-1] + np.cumsum(random.exponential(1 / rate, len(gaps)))])
    found: Array = times[times < seconds]
    return found


class Search:
    """The highest rate that keeps a target: fractions of the peak upwards, then halving between good and bad.

    `next` is the rate to try now, None at the end; `tell` says how it went.

    Args:
        peak: requests/s of the closed loop: more cannot last.
        halvings: how many rates are tried between the best that kept the target and the first that did not.
    """

    def __init__(self, peak: float, halvings: int = 2) -> None:
        self.best = 0.0
        self._worst = peak
        self._left = halvings
        self._climb = [peak * fraction for fraction in FRACTIONS]
        self._failed = False
        self.next: float | None = self._climb.pop(0)

    def tell(self, kept: bool) -> None:
        """Whether the rate `next` kept the target."""
        assert self.next is not None
        if kept:
            self.best = max(self.best, self.next)
        else:
            self._worst, self._failed = self.next, True
        if not self._failed and self._climb:
            self.next = self._climb.pop(0)
        elif self._left:
            self._left -= 1
            self.next = (self.best + self._worst) / 2
        else:
            self.next = None
