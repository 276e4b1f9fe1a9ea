"""Counts of what the data port answered, kept without any metrics library: the admin port renders them when asked.

Labels come from the server, never from a client: a name nobody serves is counted under the empty name, so that a
scanner cannot make the page grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from threading import Lock
from typing import Final

from msgspec import Struct, field

__all__ = ["BUCKETS", "Latency", "Meter"]

# Upper bounds in seconds: OpenTelemetry's for http.server.request.duration, with three finer ones below.
BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip


class Latency(Struct):
    """A histogram: one count per bucket and one past the last."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Meter:
    """The counts of one process; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.requests: Counter[tuple[str, int, str, str]] = Counter()  # model, version, wire, code
        self.rows: Counter[tuple[str, int]] = Counter()
        self.latencies: dict[tuple[str, int, str], Latency] = {}

    def answered(self, model: str, version: int, wire: str, code: str, seconds: float, rows: int) -> None:
        """One request was answered; `code` is `ok` or the error's, `version` 0 where none answered."""
        with self._lock:
            self.requests[model, version, wire, code] += 1
            if code == "ok":
                self.rows[model, version] += rows
                key = (model, version, wire)
                self.latencies.setdefault(key, Latency()).add(seconds)

    def batch(
        self, model: str, version: int, requests: int, rows: int, waited: float, merge: float, run: float, split: float
    ) -> None:
        """One run. `waited` is the sum of what its requests waited; all in seconds."""

    def stage(self, model: str, version: int, stage: str, seconds: float) -> None:
        """One request's decoding or encoding."""

    def refused(self, model: str, reason: str) -> None:
        """A request was not run."""

    def cache(self, model: str, version: int, hit: bool, seconds: float) -> None:
        """The response cache was asked."""

    def snapshot(self) -> tuple[
        dict[tuple[str, int, str, str], int], dict[tuple[str, int], int], dict[tuple[str, int, str], Latency]
    ]:  # fmt: skip
        """Copies of requests, rows and latencies, all of one moment."""
        with self._lock:
            latencies = {k: Latency(list(v.counts), v.total) for k, v in self.latencies.items()}
            return dict(self.requests), dict(self.rows), latencies
