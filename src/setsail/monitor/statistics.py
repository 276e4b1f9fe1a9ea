"""Counts of one version in the terms of Triton's statistics extension."""

from __future__ import annotations

from setsail.catalog import BatchCount, Duration, VersionStatistics
from setsail.monitor.meter import Runs, Snapshot

__all__ = ["statistics"]


def statistics(counts: Snapshot, name: str, version: int) -> VersionStatistics:
    """What a snapshot knows of one version; zeros where it was never asked."""
    runs = counts.runs.get((name, version), Runs())
    batches = tuple(_batch(rows, costs) for rows, costs in sorted(runs.sizes.items()))
    requests = sum(int(costs[1]) for costs in runs.sizes.values())
    success = Duration(
        sum(n for (model, at, _, code), n in counts.requests.items() if (model, at, code) == (name, version, "ok")),
        sum(_ns(h.total) for (model, at, _), h in counts.latencies.items() if (model, at) == (name, version)),
    )
    return VersionStatistics(
        name, version, int(runs.last * 1000), counts.rows.get((name, version), 0),
        sum(batch.infer.count for batch in batches), success, counts.failed.get((name, version), Duration()),
        Duration(requests, _ns(runs.waited)), _total([b.input for b in batches]), _total([b.infer for b in batches]),
        _total([b.output for b in batches]), counts.caches.get((name, version, True), Duration()),
        counts.caches.get((name, version, False), Duration()), batches,
    )  # fmt: skip


def _batch(rows: int, costs: list[float]) -> BatchCount:
    executions, _, merge, run, split = costs
    count = int(executions)
    return BatchCount(rows, Duration(count, _ns(merge)), Duration(count, _ns(run)), Duration(count, _ns(split)))


def _total(durations: list[Duration]) -> Duration:
    return Duration(sum(d.count for d in durations), sum(d.ns for d in durations))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
