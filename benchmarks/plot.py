"""The figures as an SVG: a row of bar charts for each workload, one chart a figure, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import log10
from typing import Any, Final

from benchmarks.figures import shown
from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS

__all__ = ["plotted"]

Key = tuple[str, str, int, int]
FIGURES: Final = {
    "rate": "requests/s, more is better", "p50_ms": "p50, ms", "p99_ms": "p99, ms",
    "cpu_ms_per_1000": "CPU ms a 1,000 requests", "pss_mb": "memory, MB", "cold_start_s": "cold start, s",
}  # fmt: skip
NAMES, CHART, BAR, GAP = 200, 170, 15, 26  # pixels: the names' column, a chart's width, a bar's height, between rows
OURS, THEIRS, LIMIT = "#0b6e99", "#b9c0c6", "#e0c080"


def plotted(rows: Mapping[Key, Mapping[str, Any]]) -> str:
    """Every workload at its most clients; setsail in colour, ceilings (echo, nginx, in process) in another."""
    height, body = 10, []
    for workload, row in WORKLOADS.items():
        bars = _bars(rows, workload)
        if bars:
            body.append(_row(row.title, bars, height))
            height += 44 + BAR * len(bars) + GAP
    width = NAMES + CHART * len(FIGURES) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(body)}</svg>\n'
    )


def _bars(rows: Mapping[Key, Mapping[str, Any]], workload: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(label, colour, row), best first, at the largest number of clients that was measured."""
    most = max((key[3] for key in rows if key[0] == workload), default=0)
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for (name, peer, workers, clients), row in rows.items():
        if name == workload and clients in (most, 0):
            colour = OURS if peer == "setsail" else THEIRS if PEERS[peer].serves else LIMIT
            found.append((f"{PEERS[peer].title} ×{workers}", colour, row))
    found.sort(key=lambda item: -item[2]["rate"])
    return found


def _row(title: str, bars: list[tuple[str, str, Mapping[str, Any]]], top: int) -> str:
    parts = [f'<text x="6" y="{top + 14}" font-size="14" font-weight="bold">{escape(title)}</text>']
    first = top + 42
    for number, (label, colour, _) in enumerate(bars):
        weight = ' font-weight="bold"' if colour == OURS else ""
        parts.append(
            f'<text x="{NAMES - 8}" y="{first + BAR * number + 11}" text-anchor="end"{weight}>{escape(label)}</text>'
        )
    for place, (figure, heading) in enumerate(FIGURES.items()):
        left = NAMES + CHART * place
        parts.append(f'<text x="{left}" y="{top + 34}" fill="#555">{escape(heading)}</text>')
        values = [row.get(figure) for _, _, row in bars]
        for number, (value, (_, colour, _)) in enumerate(zip(values, bars, strict=True)):
            if value is None:
                continue
            length = _length(value, [v for v in values if v is not None])
            y = first + BAR * number
            parts.append(f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{BAR - 4}" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 3:.1f}" y="{y + 11}">{shown(value)}</text>')
    return "".join(parts)


def _length(value: float, values: list[float]) -> float:
    """Pixels of a bar: logarithmic, from half the smallest value of the chart to its largest."""
    above = [v for v in values if v > 0]
    if value <= 0 or not above:
        return 1.0
    low, high = log10(min(above) / 2), log10(max(above))
    return 4 + (CHART - 64) * (log10(value) - low) / max(high - low, 1e-9)
