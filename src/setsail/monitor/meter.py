"""Counts and timings of one process, kept without any metrics library; the admin port renders them when asked.

What is told of a request is put down, and what is told of a run once for all its requests; both are counted many at a
time, and everything else is derived when somebody asks. Labels come from the server, never from a client: a name nobody
serves is counted under the empty name, so that a scanner cannot make the page grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from importlib import import_module
from operator import add
from threading import Lock
from time import time
from typing import Final, TypeVar

from msgspec import Struct, field

from setsail.catalog import Duration

__all__ = ["BUCKETS", "ROWS", "STAGES", "Histogram", "Meter", "OfSignature", "Runs", "Snapshot", "merged"]

# Upper bounds in seconds: OpenTelemetry's for http.server.request.duration, with finer ones below, because a run of a
# small model takes tens of microseconds.
BUCKETS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
    0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # of a batch
STAGES: Final = ("decode", "queue", "merge", "run", "split", "encode")
_NOTES: Final = 64  # of answers or runs that wait to be counted
_TALLIES: Final = 64
_K = TypeVar("_K")
_V = TypeVar("_V")
_SIZES: Final = 256  # sizes of batches that are told apart; clients choose them, so others share a power of two


def _zeros() -> list[int]:
    return [0] * (len(BUCKETS) + 1)


class Histogram(Struct):
    """One count per bucket and one past the last; `total` is the sum of what was observed."""

    counts: list[int] = field(default_factory=_zeros)
    total: float = 0.0


class Runs(Struct):
    """What the runs of one version cost.

    Attributes:
        sizes: by rows of the batch `[executions, requests, merge, run, split]`, the last three in seconds.
        rows: of all batches.
        waited: seconds in the queue, of all requests.
        last: when, in seconds of the epoch.
        queue, merge, run, split: executions by `BUCKETS`; of `queue` requests, by the mean of their batch.
    """

    sizes: dict[int, list[float]] = field(default_factory=dict)
    rows: int = 0
    waited: float = 0.0
    last: float = 0.0
    queue: list[int] = field(default_factory=_zeros)
    merge: list[int] = field(default_factory=_zeros)
    run: list[int] = field(default_factory=_zeros)
    split: list[int] = field(default_factory=_zeros)

    def batches(self) -> list[int]:
        """Executions by `ROWS`."""
        counts = [0] * (len(ROWS) + 1)
        for rows, costs in self.sizes.items():
            counts[bisect_left(ROWS, rows)] += int(costs[0])
        return counts

    def stages(self) -> dict[str, Histogram]:
        """The histograms, by the names of `STAGES`."""
        merge, run, split = (sum(costs[place] for costs in self.sizes.values()) for place in (2, 3, 4))
        return {
            "queue": Histogram(self.queue, self.waited), "merge": Histogram(self.merge, merge),
            "run": Histogram(self.run, run), "split": Histogram(self.split, split),
        }  # fmt: skip


class Snapshot(Struct):
    """All counts of one moment. Two of them add up (`merged`); they cross processes as msgpack."""

    requests: dict[tuple[str, int, str, str], int] = field(default_factory=dict)  # model, version, wire, code
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    latencies: dict[tuple[str, int, str], Histogram] = field(
        default_factory=dict
    )  # model, version, wire; answered only
    failed: dict[tuple[str, int], Duration] = field(default_factory=dict)
    stages: dict[tuple[str, int, str], Histogram] = field(
        default_factory=dict
    )  # decode and encode; see Runs for others
    runs: dict[tuple[str, int], Runs] = field(default_factory=dict)
    refusals: dict[tuple[str, str], int] = field(default_factory=dict)  # model, reason
    caches: dict[tuple[str, int, bool], Duration] = field(default_factory=dict)  # model, version, hit
    gauges: dict[str, float] = field(default_factory=dict)
    watched: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)  # model, version; tallies (`watch.py`)
    pairs: dict[tuple[str, int, str], list[int]] = field(
        default_factory=dict
    )  # model, a canary's number and metric; pairs by cell (`canary.py`)
    shadows: dict[tuple[str, int, int, str], Duration] = field(
        default_factory=dict
    )  # model, version that answered, shadow, what became of it
    signatures: dict[tuple[str, int, str], list[int]] = field(
        default_factory=dict
    )  # model, version, signature, of versions that have several; requests and rows of their runs


class _Answers:
    """Requests of one model, version, wire and code."""

    __slots__ = ("counts", "rows", "seconds")

    def __init__(self) -> None:
        self.counts = _zeros()
        self.rows = 0
        self.seconds = 0.0


class Meter:
    """The counts of one process. Any thread may tell of answers and ask for a snapshot; the rest is one thread's.

    Counting many at a time costs a third of counting each between other work, which has to be fetched from afar.
    """

    def __init__(self) -> None:
        self._noted: list[tuple[str, int, str, str, float, int]] = []
        self._ran: list[tuple[str, int, int, int, float, float, float, float, float]] = []
        self._counting = Lock()
        self._answers: dict[tuple[str, int, str, str], _Answers] = {}
        self._runs: dict[tuple[str, int], Runs] = {}
        self._rest = Snapshot()  # what is counted seldom
        self.watched: Callable[[], dict[tuple[str, int], list[bytes]]] = dict  # the versions that are watched

    def answered(self, model: str, version: int, wire: str, code: str, seconds: float, rows: int) -> None:
        """One request was answered; `code` is `ok` or the error's, `version` 0 where none answered."""
        noted = self._noted
        noted.append((model, version, wire, code, seconds, rows))
        if len(noted) >= _NOTES:
            self._count()

    def batch(
        self, model: str, version: int, requests: int, rows: int, waited: float, merge: float, run: float, split: float
    ) -> None:
        """One run. `waited` is the sum of what its requests waited; all in seconds."""
        ran = self._ran
        ran.append((model, version, requests, rows, waited, merge, run, split, time()))
        if len(ran) >= _NOTES:
            self._count()

    def _count(self) -> None:
        with self._counting:
            self._count_answers(_taken(self._noted))
            self._count_runs(_taken(self._ran))

    def _count_answers(self, noted: list[tuple[str, int, str, str, float, int]]) -> None:
        """Most are of one kind, one after the other: those are told by identity, and added up before they are kept."""
        buckets, find, cell = BUCKETS, bisect_left, _Answers()
        counts, total, many = cell.counts, 0.0, 0
        model_ = version_ = wire_ = code_ = None  # of the one before
        for model, version, wire, code, seconds, rows in noted:
            if model is not model_ or wire is not wire_ or code is not code_ or version != version_:
                cell.seconds += total
                cell.rows += many
                model_, version_, wire_, code_ = model, version, wire, code
                cell = self._cell((model, version, wire, code))
                counts, total, many = cell.counts, 0.0, 0
            counts[find(buckets, seconds)] += 1
            total += seconds
            many += rows
        cell.seconds += total
        cell.rows += many

    def _cell(self, key: tuple[str, int, str, str]) -> _Answers:
        cell = self._answers.get(key)
        if cell is None:
            cell = self._answers[key] = _Answers()
        return cell

    def _count_runs(self, ran: list[tuple[str, int, int, int, float, float, float, float, float]]) -> None:
        """Likewise: most are of the version before, and of as many rows."""
        buckets, find, cell = BUCKETS, bisect_left, Runs()
        size: list[float] = []
        model_ = version_ = rows_ = None  # of the one before
        for model, version, requests, rows, waited, merge, run, split, when in ran:
            if model is not model_ or version != version_ or rows != rows_:
                model_, version_, rows_ = model, version, rows
                cell = self._runs.get((model, version)) or self._runs.setdefault((model, version), Runs())
                size = cell.sizes.get(rows) or _new_size(cell.sizes, rows)
            size[0] += 1
            size[1] += requests
            size[2] += merge
            size[3] += run
            size[4] += split
            cell.queue[find(buckets, waited / requests)] += requests
            cell.merge[find(buckets, merge)] += 1
            cell.run[find(buckets, run)] += 1
            cell.split[find(buckets, split)] += 1
            cell.rows += rows
            cell.waited += waited
            cell.last = when

    def stage(self, model: str, version: int, stage: str, seconds: float) -> None:
        """One request's decoding or encoding."""
        cell = self._rest.stages.get((model, version, stage))
        if cell is None:
            cell = self._rest.stages.setdefault((model, version, stage), Histogram())
        cell.counts[bisect_left(BUCKETS, seconds)] += 1
        cell.total += seconds

    def refused(self, model: str, reason: str) -> None:
        """A request was not run; `reason` is the error's code."""
        self._rest.refusals[model, reason] = self._rest.refusals.get((model, reason), 0) + 1

    def cache(self, model: str, version: int, hit: bool, seconds: float) -> None:
        """The response cache was asked."""
        told = self._rest.caches.setdefault((model, version, hit), Duration())
        told.count += 1
        told.ns += int(seconds * 1e9)

    def paired(self, model: str, canary: int, metric: str, cell: int, cells: int) -> None:
        """A result of a canary was held against its control; `cells` is how many values there are."""
        counts = self._rest.pairs.get((model, canary, metric))
        if counts is None:
            counts = self._rest.pairs.setdefault((model, canary, metric), [0] * cells)
        counts[cell] += 1

    def shadowed(self, model: str, version: int, shadow: int, result: str, seconds: float = 0.0) -> None:
        """A copy of a request that `version` answered went to a shadow."""
        told = self._rest.shadows.setdefault((model, version, shadow, result), Duration())
        told.count += 1
        told.ns += int(seconds * 1e9)

    def signed(self, model: str, version: int, signature: str, requests: int, rows: int) -> None:
        """One run of a signature, where a version has several."""
        counts = self._rest.signatures.get((model, version, signature))
        if counts is None:
            counts = self._rest.signatures.setdefault((model, version, signature), [0, 0])
        counts[0] += requests
        counts[1] += rows

    def gauge(self, name: str, value: float) -> None:
        """A level of this moment: connections, requests in flight."""
        self._rest.gauges[name] = value

    def snapshot(self) -> Snapshot:
        """A copy. A request that is counted meanwhile may be in one of its numbers and not yet in another."""
        self._count()
        whole = _copied(self._rest)
        for key, cell in list(self._answers.items()):
            _add_answers(whole, key, cell)
        for version, runs in list(self._runs.items()):
            _add_runs(whole.runs.setdefault(version, Runs()), runs)
        whole.watched = self.watched()
        return whole


class OfSignature(Meter):
    """A meter for the line of one signature of several: its runs count for the version, and by its name as well.

    The name is the artifact's: a further name that a client uses counts as the one it means.
    """

    def __init__(self, meter: Meter, signature: str) -> None:
        self._meter, self._signature = meter, signature

    def batch(
        self, model: str, version: int, requests: int, rows: int, waited: float, merge: float, run: float, split: float
    ) -> None:
        self._meter.batch(model, version, requests, rows, waited, merge, run, split)
        self._meter.signed(model, version, self._signature, requests, rows)

    def refused(self, model: str, reason: str) -> None:
        self._meter.refused(model, reason)


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum of several processes' counts, or a copy of one's."""
    whole = Snapshot()
    for one in snapshots:
        _merge(whole.requests, one.requests, add)
        _merge(whole.rows, one.rows, add)
        _merge(whole.refusals, one.refusals, add)
        _merge(whole.gauges, one.gauges, add)
        _merge(whole.watched, one.watched, _tallies)
        _merge(whole.latencies, one.latencies, _both)
        _merge(whole.stages, one.stages, _both)
        _merge(whole.failed, one.failed, _longer)
        _merge(whole.caches, one.caches, _longer)
        _merge(whole.pairs, one.pairs, _sum)
        _merge(whole.shadows, one.shadows, _longer)
        _merge(whole.signatures, one.signatures, _sum)
        for version, runs in one.runs.items():
            _add_runs(whole.runs.setdefault(version, Runs()), runs)
    return whole


def _merge(whole: dict[_K, _V], part: dict[_K, _V], plus: Callable[[_V, _V], _V]) -> None:
    for key, value in part.items():
        whole[key] = plus(whole[key], value) if key in whole else value


def _tallies(a: list[bytes], b: list[bytes]) -> list[bytes]:
    """Whoever asks adds them up; of many dead processes they are one."""
    both = a + b
    return both if len(both) < _TALLIES else [import_module("setsail.monitor.watch").joined(both)]


def _both(a: Histogram, b: Histogram) -> Histogram:
    return Histogram(_sum(a.counts, b.counts), a.total + b.total)


def _longer(a: Duration, b: Duration) -> Duration:
    return Duration(a.count + b.count, a.ns + b.ns)


def _taken(notes: list[_V]) -> list[_V]:
    """What is in a list that others append to meanwhile."""
    many = len(notes)
    taken = notes[:many]
    del notes[:many]
    return taken


def _new_size(sizes: dict[int, list[float]], rows: int) -> list[float]:
    """Where a batch of a size that was not seen yet is counted."""
    if len(sizes) >= _SIZES:
        rows = 1 << (rows - 1).bit_length()  # the same bucket of `ROWS`
    return sizes.setdefault(rows, [0, 0, 0.0, 0.0, 0.0])


def _copied(rest: Snapshot) -> Snapshot:
    """Its tables, each copied at a stroke: they may grow while they are gone through."""
    return Snapshot(
        stages={key: Histogram(h.counts.copy(), h.total) for key, h in list(rest.stages.items())},
        refusals=rest.refusals.copy(),
        caches={key: Duration(told.count, told.ns) for key, told in list(rest.caches.items())},
        gauges=rest.gauges.copy(),
        pairs={key: counts.copy() for key, counts in list(rest.pairs.items())},
        shadows={key: Duration(told.count, told.ns) for key, told in list(rest.shadows.items())},
        signatures={key: counts.copy() for key, counts in list(rest.signatures.items())},
    )


def _add_answers(whole: Snapshot, key: tuple[str, int, str, str], cell: _Answers) -> None:
    model, version, wire, code = key
    counts, seconds, rows = cell.counts.copy(), cell.seconds, cell.rows
    count = sum(counts)
    whole.requests[key] = count
    if code == "ok":
        whole.rows[model, version] = whole.rows.get((model, version), 0) + rows
        whole.latencies[model, version, wire] = Histogram(counts, seconds)
    elif model:
        had = whole.failed.get((model, version), Duration())
        whole.failed[model, version] = Duration(had.count + count, had.ns + int(seconds * 1e9))


def _add_runs(whole: Runs, part: Runs) -> None:
    for rows, costs in part.sizes.copy().items():
        whole.sizes[rows] = [a + b for a, b in zip(whole.sizes.get(rows, [0] * len(costs)), costs, strict=True)]
    whole.queue, whole.merge = _sum(whole.queue, part.queue), _sum(whole.merge, part.merge)
    whole.run, whole.split = _sum(whole.run, part.run), _sum(whole.split, part.split)
    whole.rows += part.rows
    whole.waited += part.waited
    whole.last = max(whole.last, part.last)


def _sum(a: list[int], b: list[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)]
