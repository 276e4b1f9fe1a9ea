"""Steers the cap of a run so that 99 of 100 requests keep a latency target: AIMD, in the manner of Clipper.

Clipper (Crankshaw et al., NSDI 2017, §4.3) adds a constant to the batch size until a batch exceeds the latency
objective and then takes a tenth off. Here the sign is not one batch but one request in a hundred: misses are counted
over a window, which is the cheap form of "is the 99th percentile beyond the target".

A miss counts only as far as the size of a batch can be blamed for it: the run, and the wait for at most one run before
it. A request that waited longer stood in a queue that is too long; smaller batches would make that queue longer still.
Refusing requests is what helps there (`Scheduler.admit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from setsail.scheduling.ticket import Ticket

__all__ = ["Limiter"]

WINDOW: Final = 100  # requests
SHARE: Final = 0.01
LATE: Final = 3  # so many misses end a window early
STEP: Final = 1.0
FACTOR: Final = 0.9


class Limiter:
    """The cap in rows. `cap` never falls below 1 nor rises above `most`."""

    __slots__ = ("_cap", "_full", "_missed", "_seen", "most", "target")

    def __init__(self, target: float, start: int = 1, most: int = 1024) -> None:
        self.target = target
        self.most = most
        self._cap = float(max(1, min(start, most)))
        self._seen = self._missed = 0
        self._full = False

    @property
    def cap(self) -> int:
        return int(self._cap)

    def ran(self, tickets: Sequence[Ticket], rows: int, seconds: float, began: float) -> None:
        """A batch taken at `began` has run for `seconds`."""
        self._seen += len(tickets)
        self._full = self._full or rows >= self.cap
        slack = self.target - seconds
        if slack < seconds:  # otherwise even a full run of waiting before it keeps the target
            self._missed += len(tickets) if slack < 0 else sum(began - t.arrived > slack for t in tickets)
        if self._missed >= LATE and self._missed > SHARE * self._seen:
            self._cap = max(1.0, self._cap * FACTOR)
        elif self._seen < WINDOW:
            return
        elif self._full:  # a cap that nothing reaches says nothing about larger ones
            self._cap = min(float(self.most), self._cap + STEP)
        self._seen = self._missed = 0
        self._full = False
