"""A distribution of latencies drawn with characters: logarithmic buckets, one bar each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Final

import numpy as np
from msgspec import Struct

from setsail.tensors import Array

__all__ = ["Bucket", "bars", "buckets", "duration", "figure"]

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_STEPS: Final = (20, 10, 5, 3, 2, 1)  # buckets a decade, tried in this order
_MOST: Final = 20


class Bucket(Struct, frozen=True):
    """How many of the values are in [low, high)."""

    low: float
    high: float
    count: int


def buckets(values: Array, most: int = _MOST) -> list[Bucket]:
    """Equal steps of the logarithm over all values, as fine as `most` buckets allow; every value is in exactly one.

    Args:
        values: seconds; what is not above zero counts as a nanosecond.
    """
    if not len(values):
        return []
    logs = np.log10(np.maximum(values, 1e-9))
    low, high = float(logs.min()), float(logs.max())
    step, first, last = _grid(low, high, most)
    places = np.clip(np.floor(logs * step).astype(int), first, last - 1) - first
    counts = np.bincount(places, minlength=last - first)
    edges = [10 ** (place / step) for place in range(first, last + 1)]
    return [Bucket(edges[i], edges[i + 1], int(count)) for i, count in enumerate(counts)]


def _grid(low: float, high: float, most: int) -> tuple[float, int, int]:
    """Buckets a decade, and the first and the end of them."""
    step = 0.0
    for step in (*_STEPS, 1 / ceil((high - low + 1) / max(1, most - 1))):  # the last: more decades than bars
        first, last = floor(low * step), floor(high * step) + 1
        if last - first <= most:
            break
    return step, first, last


def bars(found: Sequence[Bucket], width: int = 40, *, plain: bool = False) -> list[str]:
    """One line a bucket: its lower edge, a bar, its share. A bucket that is not empty is never drawn as empty.

    Args:
        width: of the longest bar.
        plain: ASCII only.
    """
    total, most = sum(b.count for b in found), max((b.count for b in found), default=0)
    axis = "|" if plain else "│"
    lines = []
    for bucket in found:
        bar = _bar(bucket.count / most, width, plain) if bucket.count else ""
        share = _share(bucket.count / total) if bucket.count else ""
        lines.append(f"{duration(bucket.low):>9} {axis}{bar} {share}".rstrip())
    return lines


def _bar(share: float, width: int, plain: bool) -> str:
    if plain:
        return "#" * max(1, round(share * width))
    eighths = max(1, round(share * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _share(part: float) -> str:
    return "<0.1%" if part < 0.0005 else f"{part:.1%}"


def duration(seconds: float) -> str:
    """Three digits and a unit that suits: `0.0123` is `12.3 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-6)} us"


def _digits(value: float) -> str:
    places = max(0, 2 - floor(log10(value))) if value >= 1 else 2
    return f"{value:.{places}f}"


def figure(value: float) -> str:
    """A rate with three digits at least: `12,345`, `123`, `1.23`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
