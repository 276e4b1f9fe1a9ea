"""Medians of rounds, percentiles of latencies, and the order in which servers take turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any, TypeVar

__all__ = ["FIGURES", "Load", "load_of", "medians", "percentile", "rotated", "shown"]

Item = TypeVar("Item")
# what one window of load on one server tells; every figure is a median over rounds in the end
FIGURES = ("rate", "p50_ms", "p99_ms", "cpu_ms_per_1000", "pss_mb", "cold_start_s", "errors", "others_cores")


@dataclass(frozen=True)
class Load:
    """What a load generator saw in one window."""

    requests: int  # answered well, those that were under way when time was up included where they were waited for
    rate: float  # answers a second within the window
    p50_ms: float
    p99_ms: float
    errors: int
    generator: str


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank); nan of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def load_of(seconds: Sequence[float], requests: int, rate: float, errors: int, generator: str) -> Load:
    half, most = percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000
    return Load(requests, rate, half, most, errors, generator)


def shown(value: float) -> str:
    """Three digits that count: 0.152, 15.2, 1,520; whole numbers as they are."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def rotated(items: Sequence[Item], turn: int) -> list[Item]:
    """ABBA: forwards in even rounds, backwards in odd ones, so that what drifts hits all alike."""
    return list(items) if turn % 2 == 0 else list(reversed(items))


def medians(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One row for several samples of the same thing: the median of each figure, errors summed, rounds counted."""
    rows = list(samples)
    found: dict[str, Any] = {"rounds": len(rows)}
    for figure in FIGURES:
        values = [row[figure] for row in rows if row.get(figure) is not None]
        if values:
            found[figure] = sum(values) if figure == "errors" else median(values)
    if rates := [row["rate"] for row in rows if row.get("rate") is not None]:
        found["rate_min"], found["rate_max"] = min(rates), max(rates)
    return found
