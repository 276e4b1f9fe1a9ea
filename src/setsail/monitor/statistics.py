"""Counts of versions in the terms of Triton's statistics extension."""

from __future__ import annotations

from collections.abc import Sequence

from setsail.catalog import BatchCount, Duration, VersionStatistics
from setsail.monitor.meter import Runs, Snapshot

__all__ = ["statistics"]


def statistics(counts: Snapshot, versions: Sequence[tuple[str, int]]) -> tuple[VersionStatistics, ...]:
    """What a snapshot knows of versions, in their order; zeros for one that was never asked."""
    successes = {version: Duration() for version in versions}
    for (name, at, _), latency in counts.latencies.items():
        if (success := successes.get((name, at))) is not None:
            success.count += sum(latency.counts)
            success.ns += _ns(latency.total)
    return tuple(_one(counts, version, successes[version]) for version in versions)


def _one(counts: Snapshot, version: tuple[str, int], success: Duration) -> VersionStatistics:
    runs = counts.runs.get(version, Runs())
    batches = tuple(_batch(rows, costs) for rows, costs in sorted(runs.sizes.items()))
    requests = sum(int(costs[1]) for costs in runs.sizes.values())
    return VersionStatistics(
        *version, int(runs.last * 1000), counts.rows.get(version, 0), sum(batch.infer.count for batch in batches),
        success, counts.failed.get(version, Duration()), Duration(requests, _ns(runs.waited)),
        _total([b.input for b in batches]), _total([b.infer for b in batches]), _total([b.output for b in batches]),
        counts.caches.get((*version, True), Duration()), counts.caches.get((*version, False), Duration()), batches,
    )  # fmt: skip


def _batch(rows: int, costs: list[float]) -> BatchCount:
    executions, _, merge, run, split = costs
    count = int(executions)
    return BatchCount(rows, Duration(count, _ns(merge)), Duration(count, _ns(run)), Duration(count, _ns(split)))


def _total(durations: list[Duration]) -> Duration:
    return Duration(sum(d.count for d in durations), sum(d.ns for d in durations))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
