"""A selector, timers and calls from other threads: all that a supervisor needs of an event loop, without asyncio."""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Protocol

__all__ = ["Call", "Loop"]

Call = Callable[[], object]


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Loop:
    """Runs in one thread. Everything but `call` and `close` is called there, or before it runs."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()
        self._timers: list[tuple[float, int, Call]] = []
        self._order = itertools.count()  # of timers of one moment
        self._inbox: deque[Call] = deque()
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self.watch(self._ear, self._hear)

    def call(self, call: Call) -> None:
        """Have something done in the loop's thread. May be called from anywhere, signal handlers included."""
        self._inbox.append(call)
        with suppress(OSError):  # it is rung already, or nobody is there any more
            self._bell.send(b".", socket.MSG_DONTWAIT)

    def later(self, seconds: float, call: Call) -> None:
        heappush(self._timers, (monotonic() + seconds, next(self._order), call))

    def watch(self, file: HasDescriptor, call: Call) -> None:
        """Have something called whenever there is something to read."""
        self._selector.register(file, EVENT_READ, call)

    def watch_writing(self, file: HasDescriptor, wanted: bool) -> None:
        """Have the same called when there is room to write, too."""
        key = self._selector.get_key(file)
        events = EVENT_READ | (EVENT_WRITE if wanted else 0)
        if key.events != events:
            self._selector.modify(file, events, key.data)

    def forget(self, file: HasDescriptor) -> None:
        self._selector.unregister(file)

    def run(self, going: Callable[[], object], after: Call) -> None:
        """Call what there is to call, as long as `going` says so; `after` each turn."""
        while going():
            wait = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
            for key, _ in self._selector.select(wait):
                key.data()
            while self._inbox:
                self._inbox.popleft()()
            while self._timers and self._timers[0][0] <= monotonic():
                heappop(self._timers)[2]()
            after()

    def close(self) -> None:
        self._selector.close()
        self._bell.close()
        self._ear.close()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(4096)
