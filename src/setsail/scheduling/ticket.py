"""What waits, and what runs together."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Any

from msgspec import Struct, field

__all__ = ["Batch", "Ticket"]


class Ticket(Struct, eq=False):
    """One request that waits for a run. Two tickets are equal when they are the same object.

    Attributes:
        rows: how many rows it adds to a run, 1 or more.
        nbytes: what it holds of the memory that waiting requests may take.
        key: only tickets with equal keys may share a run (the shapes and dtypes besides the batch axis).
        arrived, deadline: seconds of the driver's monotonic clock; without a deadline `inf`.
        priority: higher ones go first; equal ones in the order of `put`.
        cancelled: the client has gone. Set by `Scheduler.cancel`, or by the driver: then it comes back in `dropped`.
        payload: the driver's own; never looked at.
        waiting, order: the scheduler's own: it counts towards what waits; its place in the order of arrival.
    """

    rows: int
    nbytes: int
    key: Hashable
    arrived: float
    deadline: float = inf
    priority: int = 0
    cancelled: bool = False
    payload: Any = None
    waiting: bool = False
    order: int = 0


class Batch(Struct, eq=False):
    """Tickets to run as one, in their order.

    Attributes:
        tickets: empty only when everything that waited was dropped; then there is nothing to run.
        inline: run it here, on the event loop; otherwise on the model's own thread.
        dropped: tickets that must be answered without a run: cancelled, or their deadline cannot be met.
        predicted: seconds the run should take; `inf` when nothing is known.
        began: when it was taken.
    """

    tickets: list[Ticket]
    rows: int = 0
    inline: bool = False
    dropped: list[Ticket] = field(default_factory=list)
    predicted: float = inf
    began: float = 0.0
