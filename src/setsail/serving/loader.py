"""One thread that loads and unloads, one job after the other: off the way of requests, and never two at a time.

Two loads at once would only fight for the same cores and memory; and with one writer an unload never meets a load
half way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Generic, TypeVar

from setsail.errors import SetsailError

__all__ = ["Loader"]

_LOG = logging.getLogger("setsail.serving")
T = TypeVar("T")


class _Job(Generic[T]):
    """A call, and what came of it."""

    __slots__ = ("call", "done", "fault", "result")

    def __init__(self, call: Callable[[], T]) -> None:
        self.call, self.done = call, Event()
        self.result: T | None = None
        self.fault: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.result = self.call()
        except SetsailError as fault:
            self.fault = fault  # logged by who knows what it means
        except BaseException as fault:
            self.fault = fault
            _LOG.exception("loading failed in a way it should not")
        finally:
            self.done.set()


class Loader:
    """A queue and, from the first job on, a thread. The thread is a daemon: a load that hangs cannot hold the exit."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False

    def submit(self, call: Callable[[], T], *, wait: bool) -> T | None:
        """Run `call` in the thread (at once when this is it). With `wait`, return its result or raise its fault."""
        if current_thread() is self._thread:
            return call()
        job = _Job(call)
        with self._lock:
            if self._closed:
                raise _closing()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="setsail-loader", daemon=True)
                self._thread.start()
            self._jobs.put(job)  # type: ignore[arg-type]  # a queue of jobs of any result
        if not wait:
            return None
        job.done.wait()
        if job.fault is not None:
            raise job.fault
        return job.result

    def close(self, last: Callable[[], object], seconds: float) -> None:
        """End with one last job; those that have not begun are dropped. Waits for it, but not longer than told."""
        with self._lock:
            thread, first, self._closed = self._thread, not self._closed, True
            if first and thread is not None:
                with suppress(Empty):
                    while True:
                        self._drop(self._jobs.get_nowait())
                self._jobs.put(_Job(last))
                self._jobs.put(None)
        if thread is not None and thread is not current_thread():
            thread.join(seconds)

    @staticmethod
    def _drop(job: _Job[object] | None) -> None:
        if job is not None:
            job.fault = _closing()
            job.done.set()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _closing() -> SetsailError:
    return SetsailError("model.not_ready", "the server is shutting down")
