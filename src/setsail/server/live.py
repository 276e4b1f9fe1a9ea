"""What the console draws while it is looked at: counts of this moment. Who asks twice knows what came between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from setsail.catalog import VersionStatus
from setsail.monitor.meter import BUCKETS, Snapshot

__all__ = ["live"]

_OK: Final = "ok"


def live(counts: Snapshot, statuses: Iterable[VersionStatus], now: float) -> dict[str, Any]:
    """Counts of every version that is known, since the server started.

    Args:
        statuses: of all versions.
        now: seconds of the epoch.

    Returns:
        JSON: `buckets`, upper bounds in seconds; `versions`, with `requests`, `failed` (of those), `rows`, `runs`
        (batches) and `latency`, answered requests by `buckets` and one past the last; `refused`, requests that were
        refused unread, by model; `gauges`.
    """
    told = {(s.name, s.version): _version(s) for s in statuses}
    for (name, version, _, code), count in counts.requests.items():
        row = told.get((name, version))
        if row is not None:
            row["requests"] += count
            row["failed"] += 0 if code == _OK else count
    for (name, version, _), histogram in counts.latencies.items():
        row = told.get((name, version))
        if row is not None:
            row["latency"] = [a + b for a, b in zip(row["latency"], histogram.counts, strict=True)]
    for key, rows in counts.rows.items():
        if key in told:
            told[key]["rows"] += rows
    for key, runs in counts.runs.items():
        if key in told:
            told[key]["runs"] += sum(int(costs[0]) for costs in runs.sizes.values())
    refused: dict[str, int] = {}
    for (name, _), count in counts.refusals.items():
        refused[name] = refused.get(name, 0) + count
    return {
        "at": now, "buckets": list(BUCKETS), "versions": list(told.values()), "refused": refused,
        "gauges": counts.gauges,
    }  # fmt: skip


def _version(status: VersionStatus) -> dict[str, Any]:
    return {
        "name": status.name, "version": status.version, "state": status.state, "default": status.default,
        "requests": 0, "failed": 0, "rows": 0, "runs": 0, "latency": [0] * (len(BUCKETS) + 1),
    }  # fmt: skip
