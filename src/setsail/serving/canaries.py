"""What canaries did, told by whoever saw it: the line of a request, or feedback that came later.

Counts alone are kept, in the meter, so that those of all processes add up; who decides is `server/verdicts.py`.
"""

from __future__ import annotations

from random import random
from threading import Lock
from typing import Final

from setsail.errors import SetsailError
from setsail.monitor.canary import LABELS, RESULTS, Pairing, cells
from setsail.monitor.meter import Meter
from setsail.routing import Rule
from setsail.serving.table import Table

__all__ = ["Canaries", "is_bad"]

# Faults that say nothing of a version: its client went away, or all versions together are asked too much.
_NOBODYS: Final = ("cancelled", "exhausted")


def is_bad(outcome: object) -> int | None:
    """1 for a fault, 0 for an answer, None for what says nothing of the version."""
    if not isinstance(outcome, BaseException):
        return 0
    return None if isinstance(outcome, SetsailError) and outcome.kind.family in _NOBODYS else 1


class Canaries:
    """Of one process. Safe to share between threads."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._pairings: dict[tuple[str, str], tuple[int, Pairing]] = {}
        self._lock = Lock()

    def observe(self, name: str, rule: Rule, version: int, bad: int, seconds: float) -> None:
        """A request that the route gave to `version` has ended."""
        self._count(name, rule, "error", version, bad)
        if rule.budget:
            self._count(name, rule, "latency", version, int(seconds > rule.budget))

    def label(self, table: Table, name: str, version: int, loss: float, when: float) -> bool:
        """The truth about a prediction of `version` has come.

        Of predictions from before the canary began only the control has any, and labels that come late need not be like
        those that come soon: whoever complains does so at once. They would be held against fresh ones of the candidate.

        Args:
            loss: 0 (right) to 1 (wrong). What lies between counts as wrong with that probability, which leaves the mean
                as it is.
            when: it was predicted, in seconds of the epoch.

        Returns:
            Whether a canary is judged by it.
        """
        versions = table.models.get(name)
        route = None if versions is None else versions.routing.route
        rule = None if route is None else route.canary
        if rule is None or not rule.labels or version not in (rule.control, rule.candidate):
            return False
        if when * 1000 < rule.since:
            return False
        self._count(name, rule, "label", version, int(random() < loss))
        return True

    def _count(self, name: str, rule: Rule, metric: str, version: int, bad: int) -> None:
        pairing = self._pairing(name, rule, metric)
        if version == rule.candidate:
            cell = pairing.candidate(bad)
        elif version == rule.control:
            cell = pairing.control(bad)
        else:
            return
        if cell is not None:
            with self._lock:
                self._meter.paired(name, rule.since, metric, cell, cells(rule.block))

    def _pairing(self, name: str, rule: Rule, metric: str) -> Pairing:
        since, pairing = self._pairings.get((name, metric), (0, None))
        if pairing is None or since != rule.since:
            with self._lock:
                since, pairing = self._pairings.get((name, metric), (0, None))
                if pairing is None or since != rule.since:
                    pairing = Pairing(rule.block, LABELS if metric == "label" else RESULTS)
                    self._pairings[name, metric] = (rule.since, pairing)
        return pairing
