"""The refusals of a request that may not wait."""

from __future__ import annotations

from math import ceil, inf

from setsail.errors import SetsailError

__all__ = ["busy", "late"]


def busy(what: str, value: object, expected: str, wait: float) -> SetsailError:
    """The queue is full. `retry_after` is how long what waits now will take, in whole seconds, 1 or more."""
    return SetsailError("model.busy", what, value=value, expected=expected, retry_after=_seconds(wait))


def late(wait: float, left: float) -> SetsailError:
    """The answer would come after the deadline."""
    return SetsailError(
        "request.deadline", "the request would be answered too late", value=f"{max(0.0, left):.3f} s left",
        expected=f"at least {wait:.3f} s", retry_after=_seconds(wait),
    )  # fmt: skip


def _seconds(wait: float) -> int:
    return 1 if not wait < inf else min(60, max(1, ceil(wait)))
