"""What an operator decides about one model's line. The settings of the server with the same names fill these."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Rules"]


class Rules(Struct, frozen=True):
    """Limits and wishes; the defaults are those of the contract.

    Attributes:
        queue_rows, queue_bytes: most that waits. A single request larger than either is let in when nothing waits.
        queue_seconds: longest predicted wait of a request that is let in; 0 does not look at it.
        max_batch: most rows of one run; 0 learns it, 1 never batches.
        max_delay: seconds a request may wait for company when it could run; 0 never waits.
        latency_target: seconds from arrival to answer that 99 of 100 requests should keep; 0 has no target. The cap
            of a run is steered towards it, and requests that would wait longer are refused.
        inline_seconds: longest run that may hold up the event loop.
        turn_seconds: most seconds of runs in one turn of the event loop, of all models that share a `Turn`.
        lanes: runs of this model that may go on at once outside the event loop.
    """

    queue_rows: int = 1000
    queue_bytes: int = 256 << 20
    queue_seconds: float = 0.0
    max_batch: int = 0
    max_delay: float = 0.0
    latency_target: float = 0.0
    inline_seconds: float = 0.002
    turn_seconds: float = 0.002
    lanes: int = 1
