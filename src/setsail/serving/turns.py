"""One event loop's share of the serving side: what the sockets deliver in one turn of the loop runs together.

A request that was decoded is put in its version's line (`line.py`), and the line is noted here. When the loop has read
every socket that was ready it calls back, once, and every noted line is pumped: what came together is one batch, and
nobody has waited for it. While turns bring one request each there is nothing to wait for at all, so a lone request runs
at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from setsail.serving.predict import Timings

__all__ = ["Loop", "Pumped", "Turns"]

_LOG = logging.getLogger("setsail.serving")


class Loop(Protocol):
    """What is used of an asyncio event loop."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...
    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Any: ...


class Pumped(Protocol):
    """A line of requests."""

    def pump(self, now: float) -> None: ...


class Turns:
    """Pumps lines at the end of each turn of the loop.

    Attributes:
        number: of the turn, so that lines know when a new one has begun.
        ran: of the run whose answers are being handed out, for who notes where the time went.
    """

    __slots__ = ("_armed", "_lines", "_puts", "_solo", "loop", "number", "ran")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.number = 0
        self.ran: Timings | None = None
        self._lines: dict[Pumped, None] = {}
        self._armed = False
        self._solo = True
        self._puts = 0

    def alone(self) -> bool:
        """Whether a request is its turn's first, and most likely its only one: then it need not wait for others."""
        return self._solo and not self._armed

    def passed(self) -> None:
        """A request was answered without being put in a line. It counts for whether turns bring one each."""
        self._puts += 1
        self._armed = True
        self.loop.call_soon(self._end)

    def note(self, line: Pumped) -> None:
        """A request was put in this line."""
        self._puts += 1
        if self._armed:
            self._lines[line] = None
            return
        self._armed = True
        self.loop.call_soon(self._end)
        if self._solo:
            self._pump(line)
        else:
            self._lines[line] = None

    def later(self, seconds: float, line: Pumped) -> None:
        """Pump a line that has nothing to do now."""
        self.loop.call_later(max(0.0, seconds), self.again, line)

    def again(self, line: Pumped) -> None:
        """Pump outside of any turn: a timer, or a run that has ended in a thread."""
        self.number += 1
        self._pump(line)

    def _end(self) -> None:
        lines, self._lines = self._lines, {}
        self._armed, self._solo, self._puts = False, self._puts <= 1, 0
        for line in lines:
            self._pump(line)
        self.number += 1

    def _pump(self, line: Pumped) -> None:
        try:
            line.pump(perf_counter())
        except Exception:  # one line's fault must not leave the others unanswered
            _LOG.exception("a line of requests failed")
