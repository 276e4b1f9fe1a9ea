"""Waking an event loop at a time, to the microsecond.

Event loops round waits up to a millisecond; a request that is due between two such ticks would be sent late, and the
client's own delay counted as the server's. Linux has timers that are files (timerfd_create(2)); elsewhere the loop's
own timer has to do, and the lag is reported with the figures.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

__all__ = ["Alarm"]

_MONOTONIC: Final = 1  # CLOCK_MONOTONIC, which time.perf_counter reads on Linux
_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_FLAGS: Final = 0o2000000 | 0o4000  # TFD_CLOEXEC | TFD_NONBLOCK


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval, then the time, each in seconds and nanoseconds."""

    _fields_ = [("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long)]


class Alarm:
    """Calls back once for each `set`.

    Args:
        call: called on the loop when the time has come.
        exact: False uses the loop's own timer, as where there are no others.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None], *, exact: bool = True) -> None:
        self._loop, self._call = loop, call
        self._handle: asyncio.TimerHandle | None = None
        self._libc: Any = None
        self._file = -1
        if exact and sys.platform == "linux":
            with suppress(OSError, AttributeError):
                self._libc = ctypes.CDLL(None, use_errno=True)
                self._file = self._libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._file >= 0:
            loop.add_reader(self._file, self._ring)

    def set(self, now: float, when: float) -> None:
        """Args: now, when: of `time.perf_counter`."""
        if self._file < 0:
            self._handle = self._loop.call_later(max(0.0, when - now), self._call)
            return
        whole, part = divmod(max(when, 1e-9), 1)
        spec = _Spec(0, 0, int(whole), int(part * 1e9))
        self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(spec), None)

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._file, 8)
            self._call()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1
