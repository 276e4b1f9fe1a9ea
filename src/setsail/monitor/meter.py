"""Counts and timings of one process, kept without any metrics library: the admin port renders them when asked.

What is counted per request is one look-up and a few additions; what a run costs is counted once a batch, for all its
requests together. Labels come from the server, never from a client: a name nobody serves is counted under the empty
name, so that a scanner cannot make the page grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from threading import Lock
from time import time
from typing import Final, TypeVar

from msgspec import Struct, field

from setsail.catalog import Duration

__all__ = ["BUCKETS", "ROWS", "STAGES", "Histogram", "Meter", "Runs", "Snapshot", "merged"]

# Upper bounds in seconds: OpenTelemetry's for http.server.request.duration, with finer ones below, because a run of a
# small model takes tens of microseconds.
BUCKETS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
    0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # of a batch
STAGES: Final = ("decode", "queue", "merge", "run", "split", "encode")


class Histogram(Struct):
    """One count per bucket and one past the last; `total` is the sum of what was observed."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += times
        self.total += seconds * times


class Runs(Struct):
    """What the runs of one version cost; by rows of a batch `[executions, requests, merge, run, split]` in seconds."""

    sizes: dict[int, list[float]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=lambda: [0] * (len(ROWS) + 1))
    waited: float = 0.0
    last: float = 0.0  # seconds of the epoch


class Snapshot(Struct):
    """All counts of one moment. Two of them add up (`merged`); they cross processes as msgpack."""

    requests: dict[tuple[str, int, str, str], int] = field(default_factory=dict)  # model, version, wire, code
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    latencies: dict[tuple[str, int, str], Histogram] = field(default_factory=dict)  # model, version, wire
    failed: dict[tuple[str, int], Duration] = field(default_factory=dict)
    stages: dict[tuple[str, int, str], Histogram] = field(default_factory=dict)
    runs: dict[tuple[str, int], Runs] = field(default_factory=dict)
    refusals: dict[tuple[str, str], int] = field(default_factory=dict)  # model, reason
    caches: dict[tuple[str, int, bool], Duration] = field(default_factory=dict)  # model, version, hit
    gauges: dict[str, float] = field(default_factory=dict)


class Meter:
    """The counts of one process; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._now = Snapshot()
        self._stages: dict[tuple[str, int], tuple[Histogram, ...]] = {}

    def answered(self, model: str, version: int, wire: str, code: str, seconds: float, rows: int) -> None:
        """One request was answered; `code` is `ok` or the error's, `version` 0 where none answered."""
        now, one = self._now, (model, version, wire, code)
        with self._lock:
            now.requests[one] = now.requests.get(one, 0) + 1
            if code == "ok":
                now.rows[model, version] = now.rows.get((model, version), 0) + rows
                histogram = now.latencies.get((model, version, wire))
                if histogram is None:
                    histogram = now.latencies[model, version, wire] = Histogram()
                histogram.counts[bisect_left(BUCKETS, seconds)] += 1
                histogram.total += seconds
            elif model:
                fail = now.failed.setdefault((model, version), Duration())
                fail.count += 1
                fail.ns += int(seconds * 1e9)

    def batch(
        self, model: str, version: int, requests: int, rows: int, waited: float, merge: float, run: float, split: float
    ) -> None:
        """One run. `waited` is the sum of what its requests waited; all in seconds."""
        with self._lock:
            runs = self._now.runs.get((model, version))
            if runs is None:
                runs = self._now.runs[model, version] = Runs()
                made = tuple(Histogram() for _ in range(4))
                self._stages[model, version] = made
                for stage, histogram in zip(STAGES[1:5], made, strict=True):
                    self._now.stages[model, version, stage] = histogram
            size = runs.sizes.get(rows)
            if size is None:
                size = runs.sizes[rows] = [0, 0, 0.0, 0.0, 0.0]
            size[0] += 1
            size[1] += requests
            size[2] += merge
            size[3] += run
            size[4] += split
            runs.batches[bisect_left(ROWS, rows)] += 1
            runs.waited += waited
            runs.last = time()
            queued, merged_, ran, cut = self._stages[model, version]
            queued.add(waited / requests, requests)
            merged_.add(merge)
            ran.add(run)
            cut.add(split)

    def stage(self, model: str, version: int, stage: str, seconds: float) -> None:
        """One request's decoding or encoding."""
        with self._lock:
            self._now.stages.setdefault((model, version, stage), Histogram()).add(seconds)

    def refused(self, model: str, reason: str) -> None:
        """A request was not run."""
        with self._lock:
            self._now.refusals[model, reason] = self._now.refusals.get((model, reason), 0) + 1

    def cache(self, model: str, version: int, hit: bool, seconds: float) -> None:
        """The response cache was asked."""
        with self._lock:
            told = self._now.caches.setdefault((model, version, hit), Duration())
            told.count += 1
            told.ns += int(seconds * 1e9)

    def gauge(self, name: str, value: float) -> None:
        """A level of this moment: connections, requests in flight."""
        self._now.gauges[name] = value

    def snapshot(self) -> Snapshot:
        """A copy, all of one moment."""
        with self._lock:
            return merged([self._now])


Key = TypeVar("Key")


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum of several processes' counts, or a copy of one's."""
    whole = Snapshot()
    for one in snapshots:
        _add_counts(whole.requests, one.requests)
        _add_counts(whole.rows, one.rows)
        _add_counts(whole.refusals, one.refusals)
        _add_histograms(whole.latencies, one.latencies)
        _add_histograms(whole.stages, one.stages)
        _add_durations(whole.failed, one.failed)
        _add_durations(whole.caches, one.caches)
        for version, runs in one.runs.items():
            _add_runs(whole.runs.setdefault(version, Runs()), runs)
        for name, level in one.gauges.items():
            whole.gauges[name] = whole.gauges.get(name, 0.0) + level
    return whole


def _add_counts(whole: dict[Key, int], part: Mapping[Key, int]) -> None:
    for key, count in part.items():
        whole[key] = whole.get(key, 0) + count


def _add_histograms(whole: dict[Key, Histogram], part: Mapping[Key, Histogram]) -> None:
    for key, one in part.items():
        known = whole.get(key, Histogram())
        whole[key] = Histogram([a + b for a, b in zip(known.counts, one.counts, strict=True)], known.total + one.total)


def _add_durations(whole: dict[Key, Duration], part: Mapping[Key, Duration]) -> None:
    for key, one in part.items():
        known = whole.get(key, Duration())
        whole[key] = Duration(known.count + one.count, known.ns + one.ns)


def _add_runs(whole: Runs, part: Runs) -> None:
    for rows, costs in part.sizes.items():
        whole.sizes[rows] = [a + b for a, b in zip(whole.sizes.get(rows, [0] * len(costs)), costs, strict=True)]
    whole.batches = [a + b for a, b in zip(whole.batches, part.batches, strict=True)]
    whole.waited += part.waited
    whole.last = max(whole.last, part.last)
