"""A report as text: a table, the distribution, and how the figures came to be."""

from __future__ import annotations

from collections.abc import Sequence

from setsail.loadtest.plot import bars, duration, figure
from setsail.loadtest.report import Phase, Report
from setsail.loadtest.statistics import needed

__all__ = ["line", "text"]

_HEAD = ("load", "requests/s", "p50", "p90", "p99", "max", "errors", "CPU/1,000", "memory")


def line(phase: Phase) -> str:
    """A phase in a few words, for when it is over."""
    rate = f"{figure(phase.throughput * phase.rows)} rows/s" if phase.kind == "offline" else (
        f"{figure(phase.throughput)} requests/s"
    )  # fmt: skip
    kept = "" if phase.kept is None else ", target kept" if phase.kept else ", target missed"
    return f"{_load(phase)}: {rate}, p99 {_time(phase.latency.p99)}{kept}"


def text(report: Report, *, plain: bool) -> str:
    """The whole report.

    Args:
        plain: ASCII only, where the output is no terminal.
    """
    about = report.about
    named = f", signature {about.signature}," if about.signature else ""
    parts = [f"{about.model}{named} at {about.url}, {about.wire}"]
    if report.phases:
        parts += ["", *_table([_HEAD, *(_row(p) for p in report.phases)])]
        parts += [f"  {line}" for phase in report.phases if phase.errors for line in _errors(phase)]
        parts += ["", *_summary(report), "", *_distribution(report, plain)]
    else:
        parts += ["", "nothing was measured"]
    parts += ["", *_method(report), *(f"note: {note}" for note in report.notes)]
    return "\n".join(parts if not plain else [part.replace("µ", "u").replace("–", "-") for part in parts])


def _load(phase: Phase) -> str:
    if phase.kind == "closed":
        return f"closed, {phase.clients} client{'s' * (phase.clients > 1)}"
    if phase.kind == "open":
        return f"open, {figure(phase.offered or 0.0)}/s"
    return f"offline, {phase.rows} rows each"


def _row(phase: Phase) -> tuple[str, ...]:
    latency = phase.latency
    cpu = "–" if phase.server_cpu is None else f"{phase.server_cpu * 1000:,.1f} ms"
    memory = "–" if phase.server_mb is None else f"{phase.server_mb:,.0f} MB"
    times = (latency.p50, latency.p90, latency.p99, latency.max)
    return (
        _load(phase), figure(phase.throughput),
        *map(_time, times), f"{sum(phase.errors.values()):,}", cpu, memory,
    )  # fmt: skip


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *cells in rows:
        figures = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *figures]).rstrip())
    return lines


def _errors(phase: Phase) -> list[str]:
    return [f"{_load(phase)}: {count:,} times {code}" for code, count in sorted(phase.errors.items())]


def _summary(report: Report) -> list[str]:
    lines = []
    closed = [p for p in report.phases if p.kind == "closed"]
    if closed:
        best = max(closed, key=lambda p: p.throughput)
        lines.append(f"peak: {figure(best.throughput)} requests/s at {best.clients} clients")
    rate = report.best_rate
    if rate is not None and report.target is not None:
        said = f"{figure(rate)} requests/s" if rate else "no rate tried"
        lines.append(f"within a p99 of {duration(report.target)}: {said} (Poisson arrivals)")
    lines += [
        f"offline: {figure(p.throughput * p.rows)} rows/s in requests of {p.rows} rows"
        for p in report.phases if p.kind == "offline"
    ]  # fmt: skip
    return lines


def _distribution(report: Report, plain: bool) -> list[str]:
    """Of the best open-loop rate, else of the closed loop's peak."""
    kept = [p for p in report.phases if p.kind == "open" and p.kept and p.shape]
    drawn = max(kept, key=lambda p: p.offered or 0.0) if kept else max(
        (p for p in report.phases if p.shape), key=lambda p: (p.kind == "closed", p.throughput), default=None
    )  # fmt: skip
    if drawn is None:
        return []
    return [f"latency, {_load(drawn)}, {drawn.latency.count:,} answers", *bars(drawn.shape, plain=plain)]


def _method(report: Report) -> list[str]:
    about, phases = report.about, report.phases
    kinds = {phase.kind for phase in phases}
    lines = [
        "how it was measured:",
        f"  {about.requests} distinct requests of {about.request_bytes:,} bytes in turn, of {about.inputs}; "
        f"setsail {about.setsail}, client: {about.client}",
    ]
    if about.server:
        lines.append(f"  server: setsail {about.server}; its CPU and memory (shared pages once) are from /proc")
    if "closed" in kinds:
        lines.append("  closed: each client sends its next request when the last one is answered")
    if "open" in kinds:
        lines.append("  open: Poisson arrivals, latency from the scheduled arrival, whether or not anything was free")
    if "offline" in kinds:
        lines.append("  offline: large requests, a few at a time; p50 to max are of whole requests")
    if phases:
        compared = sum(p.compared for p in phases)
        lines.append(
            f"  a percentile needs 5 answers beyond it (p99: {needed(0.99)}); the status of all answers and the values "
            f"of {compared:,} were checked"
        )
    lags = [p.lag_p99 for p in phases if p.lag_p99 is not None]
    if lags:
        lines.append(f"  requests left at most {duration(max(lags))} late on the client's account (p99)")
    return lines
