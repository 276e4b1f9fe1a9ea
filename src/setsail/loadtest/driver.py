"""The driving process: `python -m setsail.loadtest.driver`. It sends requests, takes times, and does nothing else.

It reads a `Target` and then `Order`s from standard input and answers each with an `Outcome`. An interrupt (SIGINT)
ends what is being measured, and what was measured so far is the outcome.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from importlib import import_module
from typing import Any

from setsail.loadtest.orders import Order, Target, receive, send
from setsail.loadtest.run import Run

__all__ = ["main"]


def main() -> None:
    """Carry out orders until standard input ends."""
    pipe, out = sys.stdin.buffer, sys.stdout.buffer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = receive(pipe)
    if not isinstance(target, Target):
        return
    first: dict[int, bytes] = {}
    gc.collect()
    gc.freeze()
    while isinstance(order := receive(pipe), Order):
        with asyncio.Runner(loop_factory=_loop(target)) as runner:
            outcome = runner.run(Run(target, order, first, out).carry_out())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loop has put Python's own handler back
        send(out, outcome)


def _loop(target: Target) -> Any:
    """uvloop where it is installed; grpcio's own poller stands behind asyncio's."""
    if target.channel == "grpc":
        return None
    try:
        return import_module("uvloop").new_event_loop
    except ImportError:
        return None


if __name__ == "__main__":
    main()
