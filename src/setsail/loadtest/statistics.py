"""What is said about many latencies: percentiles, each only where enough of them lie beyond it. Pure."""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.tensors import Array

__all__ = ["BEYOND", "Summary", "keeps", "needed", "percentile", "summarise"]

BEYOND: Final = 5  # latencies above a percentile, fewer than which make it one unlucky request's
_EPSILON: Final = 1e-9


class Summary(Struct, frozen=True):
    """Seconds. A percentile is None where too few were measured; all are None where none was."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    def to_json(self) -> dict[str, Any]:
        """In milliseconds."""
        return {"count": self.count} | {
            f"{name}_ms": None if (value := getattr(self, name)) is None else round(value * 1000, 4)
            for name in ("p50", "p90", "p99", "max")
        }


def needed(share: float) -> int:
    """How many latencies a percentile takes: p99 500, p90 50, p50 10."""
    return ceil(BEYOND / (1 - share) - _EPSILON)


def percentile(ordered: Array, share: float) -> float | None:
    """The smallest latency that at least `share` of all do not exceed (nearest rank), or None for too few.

    Args:
        ordered: ascending.
        share: 0.99 for p99.
    """
    if len(ordered) < needed(share):
        return None
    return float(ordered[ceil(share * len(ordered) - _EPSILON) - 1])


def summarise(latencies: Array) -> Summary:
    """Args: latencies: seconds, in any order."""
    ordered = np.sort(latencies)
    p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Summary(len(ordered), p50, p90, p99, float(ordered[-1]) if len(ordered) else None)


def keeps(latencies: Array, unanswered: int, target: float, share: float = 0.99) -> bool:
    """Whether at least `share` of all requests were answered within `target` seconds; an error is not an answer.

    This is the percentile's question without its need of many: for few requests it is stricter, not undefined.
    """
    total = len(latencies) + unanswered
    within = int(np.count_nonzero(latencies <= target))
    return total > 0 and within >= (share - _EPSILON) * total
