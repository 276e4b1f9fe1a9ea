"""A person's code as a runner: one child process after the other, each as good as the last.

A thread of its own (`setsail-app`) starts the child, waits for its end and starts the next, later each time while they
end quickly. While there is none, runs fail with `app.ended` at once, and whoever looks (`down`) knows. The child is
started by that thread and no other, because the kernel ends a child with the thread that started it.

A call that takes too long or is answered with nonsense ends the child: there is no other way to stop a person's code.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final

from setsail.apps.code import Entry
from setsail.apps.frames import BrokenError
from setsail.apps.process import About, FunctionError, Process
from setsail.apps.slab import NoRoomError
from setsail.apps.terms import Terms
from setsail.errors import SetsailError
from setsail.runtime import Weights
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array, dtype_of

__all__ = ["AppRunner"]

_FIRST_PAUSE: Final = 0.1  # seconds before the second start; doubled with each one that ended quickly
_LONGEST_PAUSE: Final = 30.0
_STEADY: Final = 10.0  # seconds of life after which an end is the first one again
_PINGS: Final = 20
_END: Final = 10.0  # seconds that `close` waits for the last child, which is killed after one


class AppRunner:
    """See `runtime.runner.Runner`.

    Args:
        name: of the model: the log's lines carry it.
        look: called with this runner whenever `down` has changed, from any thread.

    Attributes:
        down: why there is no process; empty while there is one.
        python: the version that runs the code.

    Raises:
        SetsailError: what keeps the first child from answering: `app.load`, `app.hints`, `source.sandbox`.
    """

    signature: Signature

    def __init__(self, entry: Entry, terms: Terms, name: str, look: Callable[[AppRunner], object]) -> None:
        self.max_batch = entry.max_batch
        self.weights = Weights()
        self.down = "it was not started"
        self._entry, self._terms, self._look = entry, terms, look
        self._log = logging.getLogger(f"setsail.app.{name}")
        if self._log.level == logging.NOTSET:
            self._log.setLevel(logging.INFO)  # what a function prints is meant to be seen
        self._process: Process | None = None
        self._about: About | None = None
        self._fault: SetsailError | None = None
        self._calls = Lock()
        self._begun, self._closed = Event(), Event()
        self._keeper = Thread(target=self._keep, name="setsail-app", daemon=True)
        self._keeper.start()
        about = self._first()
        self.signature, self.python = about.signature, about.python

    def _first(self) -> About:
        """What the first child says of the code."""
        self._begun.wait()
        if self._about is None:
            raise self._fault or SetsailError("model.not_ready", "the model was unloaded")
        return self._about

    @property
    def pid(self) -> int | None:
        """The child's process, if there is one."""
        process = self._process
        return None if process is None else process.pid

    def ladder(self) -> dict[int, float]:
        """Seconds by rows of code that costs nothing: what is known before anybody calls it for good."""
        with self._calls:
            if self._process is None:
                return {}
            try:
                least = min(self._process.ping() for _ in range(_PINGS))
            except (BrokenError, TimeoutError):
                return {}
        return {1 << power: least for power in range(7)}

    # -- answering -----------------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Call the code.

        Raises:
            SetsailError: `app.fault` or `app.answer` for the code's own doing, `app.timeout`, `app.ended`,
                `request.too_large`, or `model.not_ready` once closed.
        """
        arrays = [inputs[spec.name] for spec in self.signature.inputs]
        with self._calls:
            if self._closed.is_set():
                raise SetsailError("model.not_ready", "the model was unloaded")
            process = self._process
            if process is None:
                raise _ended(f"the process of the {self._entry.noun} has ended, and is being started again")
            try:
                answers = process.ask(arrays)
                self._check(answers, len(arrays[0]))
            except FunctionError as fault:
                raise self._failed(*fault.args) from None
            except NoRoomError as full:
                raise SetsailError("request.too_large", "the inputs are larger than the memory shared with the "
                                   f"{self._entry.noun}", expected=f"at most {full.args[0]} bytes more",
                                   todo="send fewer rows a request") from None  # fmt: skip
            except UnicodeEncodeError:
                raise SetsailError("input.dtype", "a text is not Unicode", expected="UTF-8 text") from None
            except TimeoutError:
                self._end(process, f"a call took longer than {self._terms.seconds:g} seconds")
                raise SetsailError("app.timeout", f"the {self._entry.noun} took longer than one call may",
                                   expected=f"at most {self._terms.seconds:g} seconds") from None  # fmt: skip
            except BrokenError as fault:
                self._end(process, str(fault))
                raise _ended(f"the process of the {self._entry.noun} ended before it answered") from None
        return {spec.name: array for spec, array in zip(self.signature.outputs, answers, strict=True)}

    def rest(self, inputs: Mapping[str, Array]) -> None:
        """Nothing: what the code keeps is its own affair."""

    def _check(self, answers: tuple[Array, ...], rows: int) -> None:
        """The child has held its answers against the hints; this holds the child against its word."""
        specs = self.signature.outputs
        if len(answers) != len(specs) or not all(_fits(s, a, rows) for s, a in zip(specs, answers, strict=True)):
            raise BrokenError("an answer that is not what it said its answers are")

    def _failed(self, code: str, text: str) -> SetsailError:
        """The log gets the trace, the client an id to ask for it."""
        ident = os.urandom(4).hex()
        self._log.error("%s (id %s):\n%s", code, ident, text.rstrip())
        what = "failed on this request" if code == "app.fault" else "did not answer as it was declared to"
        return SetsailError(code, f"the {self._entry.noun} {what} (id {ident})", id=ident)

    def _end(self, process: Process, why: str) -> None:
        """No more calls to this child."""
        self._process, self.down = None, why
        process.kill()
        self._look(self)

    # -- one child after the other -------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """In the keeper's thread."""
        pause, failures = 0.0, 0
        while not self._closed.wait(pause):
            born = monotonic()
            process, fault = self._start()
            if process is None:
                if self._about is None:
                    self._fault = fault
                    break
                self._log.error("it could not be started again: %s", fault)
            else:
                status = process.wait()
                why = self.down or f"its process ended with status {status}"
                self._process, self.down = None, why
                if not self._closed.is_set():
                    self._look(self)
                with self._calls:  # whoever was calling has heard of it by now
                    process.close()
                if monotonic() - born > _STEADY:
                    failures = 0
            failures += 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 16))
            if process is not None and not self._closed.is_set():
                self._log.error("%s: starting it again in %.1f s", self.down, pause)
        self._begun.set()

    def _start(self) -> tuple[Process | None, SetsailError | None]:
        """A child that has loaded the code, or why there is none."""
        process = None
        try:
            process = Process(self._entry, self._terms, self._log)
            about = process.begin()
            if self._about is not None and about.signature != self._about.signature:
                raise SetsailError("app.hints", f"the {self._entry.noun} has other tensors than when it was loaded",
                                   todo="load the model again, or restart the server")  # fmt: skip
        except Exception as fault:
            if process is not None:
                process.kill()
                process.wait()
                process.close()
            if isinstance(fault, SetsailError):
                return None, fault
            self._log.exception("a process could not be started")
            return None, SetsailError("app.load", f"the process of the {self._entry.noun} could not be started",
                                      value=f"{type(fault).__name__}: {fault}")  # fmt: skip
        again = self._about is not None
        self._about = self._about or about
        self._process, self.down = process, ""
        self._begun.set()
        if again:
            self._log.warning("it was started again")
            self._look(self)
        if self._closed.is_set():
            process.hang_up()
        return process, None

    def close(self) -> None:
        """End the child. Waits for its end, but never on an event loop."""
        self._closed.set()
        process = self._process
        if process is None:
            return
        Thread(target=process.hang_up, name="setsail-app-end", daemon=True).start()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._keeper.join(_END)


def _ended(what: str) -> SetsailError:
    return SetsailError("app.ended", what, retry_after=1)


def _fits(spec: TensorSpec, array: Array, rows: int) -> bool:
    return (
        dtype_of(array) is spec.dtype
        and array.ndim == len(spec.shape)
        and len(array) == rows
        and all(isinstance(dim, str) or dim == size for dim, size in zip(spec.shape, array.shape, strict=True))
    )
