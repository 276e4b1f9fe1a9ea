"""The refusals of a request that may not wait."""

from __future__ import annotations

from math import ceil, inf

from msgspec import Struct

from setsail.errors import SetsailError

__all__ = ["Refused", "busy", "late"]


class Refused(Struct, frozen=True):
    """A refusal, until when it is told again, and what waited and what was asked for then."""

    fault: SetsailError
    until: float
    waiting_rows: int
    waiting_bytes: int
    rows: int
    nbytes: int

    def covers(self, waiting_rows: int, waiting_bytes: int, rows: int, nbytes: int, now: float) -> bool:
        """Whether another request, of no less while no less waits, would be refused as well."""
        return (
            now < self.until
            and waiting_rows >= self.waiting_rows
            and waiting_bytes >= self.waiting_bytes
            and rows >= self.rows
            and nbytes >= self.nbytes
        )


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
