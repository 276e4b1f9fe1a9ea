"""What was measured, as values and as the JSON document of `setsail bench --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from setsail.loadtest.plot import Bucket
from setsail.loadtest.statistics import Summary

__all__ = ["About", "Phase", "Report"]


class About(Struct, frozen=True):
    """Under which circumstances: without them no figure means anything.

    Attributes:
        server: the command line that was started, or "" for a server that was there.
        workers: of a server that was started; 0 lets it choose.
        signature: that was asked, or "" for the default one.
        cores: of this machine, that server and client share where the server is on it.
    """

    model: str
    url: str
    server: str
    workers: int
    wire: str
    inputs: str
    requests: int
    request_bytes: int
    cores: int
    client: str
    setsail: str
    signature: str = ""


class Phase(Struct, frozen=True):
    """One measurement.

    Attributes:
        kind: "closed", "open" or "offline".
        clients: connections; of an open loop the most of them.
        offered: requests/s that were scheduled, None but in an open loop.
        rows: of one request.
        seconds: how long the clock ran.
        throughput: good answers a second while it ran.
        kept: whether the target p99 was kept, None without a target.
        compared, unequal: answers held against the first one, and how many do not agree with it.
        client_cpu: of the process that sends, as a share of one core.
        client_wait: share of the time that it could have run but had no core.
        server_cpu: CPU seconds per 1,000 requests of all the server's processes; None where it is not ours to see.
        server_mb: its memory at the end, shared pages once.
        lag_p99: seconds by which requests of an open loop left late though a connection was free.
    """

    kind: str
    clients: int
    offered: float | None
    rows: int
    seconds: float
    throughput: float
    latency: Summary
    shape: list[Bucket]
    errors: Mapping[str, int]
    kept: bool | None
    compared: int
    unequal: int
    client_cpu: float
    client_wait: float
    server_cpu: float | None
    server_mb: float | None
    lag_p99: float | None = None
    cut: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "clients": self.clients, "offered_per_s": _rounded(self.offered), "rows": self.rows,
            "seconds": _rounded(self.seconds), "requests_per_s": _rounded(self.throughput),
            "rows_per_s": _rounded(self.throughput * self.rows), "latency": self.latency.to_json(),
            "distribution_ms": [[_rounded(b.low * 1e3, 6), _rounded(b.high * 1e3, 6), b.count] for b in self.shape],
            "errors": dict(self.errors), "kept_target": self.kept, "compared": self.compared, "unequal": self.unequal,
            "client_cpu": _rounded(self.client_cpu),
            "client_wait": _rounded(self.client_wait), "server_cpu_s_per_1000": _rounded(self.server_cpu, 6),
            "server_memory_mb": _rounded(self.server_mb, 1),
            "lag_p99_ms": None if self.lag_p99 is None else _rounded(self.lag_p99 * 1e3, 4), "cut_short": self.cut,
        }  # fmt: skip


class Report(Struct):
    """All of it. `target` is the p99 in seconds that an open loop was to keep, None before it was known."""

    about: About
    phases: list[Phase] = field(default_factory=list)
    target: float | None = None
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def best_rate(self) -> float | None:
        """The highest open-loop rate that kept the target; None when none was tried."""
        tried = [p for p in self.phases if p.kind == "open"]
        return max((p.offered or 0.0 for p in tried if p.kept), default=0.0) if tried else None

    @property
    def unequal(self) -> int:
        return sum(phase.unequal for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        about = {name: getattr(self.about, name) for name in self.about.__struct_fields__}
        return about | {
            "target_p99_ms": None if self.target is None else _rounded(self.target * 1e3, 4),
            "best_rate_per_s": _rounded(self.best_rate), "phases": [p.to_json() for p in self.phases],
            "notes": self.notes, "interrupted": self.interrupted,
        }  # fmt: skip


def _rounded(value: float | None, places: int = 3) -> float | None:
    return None if value is None else round(value, places)
