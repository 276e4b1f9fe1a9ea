"""Requests that came by a route that is watched: a canary's results are counted, and shadows get a copy.

`Chosen` is the lease that such a request has on its version: a `Loaded` without a line, so that the intake asks for one
and gets a `Passage`, which is the version's own line but for what happens after the answer. A request that came by no
such route meets none of this.

A copy is made when the answer has been handed over, and runs on the shadow's own thread; nobody waits for it. It is
dropped where requests wait for the version that answered (the server has better to do), and where more than `ROOM` rows
of copies wait already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from threading import Lock
from time import perf_counter
from typing import Any, Final

from setsail import parity
from setsail.errors import SetsailError
from setsail.messages import Request, Response
from setsail.monitor.meter import Meter
from setsail.routing import Route
from setsail.scheduling import Ticket
from setsail.serving.canaries import Canaries, is_bad
from setsail.serving.chosen import Chosen
from setsail.serving.leases import Loaded
from setsail.serving.line import Done, Line
from setsail.serving.observers import Finished, Observer
from setsail.serving.predict import Prediction, wanted
from setsail.serving.table import Table
from setsail.signature import DEFAULT, Signature
from setsail.tensors import Array

__all__ = ["ROOM", "Passage", "Shadows", "agrees"]

ROOM: Final = 64  # rows of copies that may wait for one shadow
LOWEST: Final = -(1 << 30)


class Passage:
    """The line of one request that came by a watched route."""

    __slots__ = ("_canaries", "_line", "_route", "_shadows")

    def __init__(self, line: Line, chosen: Chosen, canaries: Canaries, shadows: Shadows) -> None:
        self._line, self._route, self._canaries, self._shadows = line, chosen.route, canaries, shadows

    @property
    def memory(self) -> Any:
        """Answers from memory are neither counted for a canary nor copied: nothing ran for them."""
        return self._line.memory

    def put(self, prediction: Prediction, done: Done, nbytes: int, deadline: float, priority: int = 0) -> Ticket | None:
        """As `Line.put`."""

        def answered(outcome: Any) -> None:
            seconds = perf_counter() - prediction.began
            try:
                done(outcome)
            finally:
                self._watch(prediction, outcome, seconds)

        return self._line.put(prediction, answered, nbytes, deadline, priority)

    def _watch(self, prediction: Prediction, outcome: Any, seconds: float) -> None:
        name, route = prediction.request.model.name, self._route
        if route.canary is not None and (bad := is_bad(outcome)) is not None:
            self._canaries.observe(name, route.canary, prediction.version, bad, seconds)
        if route.shadows and isinstance(outcome, Response):
            self._shadows.copy(route, prediction, outcome, self._line.scheduler.waiting_rows > 0)


class Shadows:
    """Copies of requests, of one event loop. `copy` is called on its thread.

    Args:
        later: has something called when the loop has done what it is at.
        line: makes the line of a shadow's copies, apart from the version's own: a copy never stands before a client's
            request, nor runs on the loop. Its runs are told to an observer, on the thread that ran them.
    """

    def __init__(
        self, tables: Callable[[], Table], meter: Meter, later: Callable[..., object],
        line: Callable[[str, int, Loaded, Observer], Line],
    ) -> None:  # fmt: skip
        self._tables, self._meter, self._later, self._made = tables, meter, later, line
        self._lines: dict[tuple[str, int], tuple[Loaded, dict[Loaded, Line]]] = {}  # a line a signature
        self._answers: dict[tuple[int, int], Response] = {}  # what copies that are on their way were answered
        self._counting = Lock()

    def copy(self, route: Route, prediction: Prediction, answer: Response, busy: bool) -> None:
        """Have every shadow of the route answer it too."""
        for shadow in route.shadows:
            if busy:
                self._count(answer, shadow, "dropped")
            else:
                self._later(self._ask, shadow, prediction.request, answer, prediction.rows)

    def _ask(self, shadow: int, request: Request, answer: Response, rows: int) -> None:
        entry = self._tables().get(answer.model, shadow)
        loaded = None if entry is None or not entry.ready else entry.loaded
        if loaded is None or not loaded.acquire():
            return self._count(answer, shadow, "away")
        meant = loaded.under(request.signature)
        if request.signature != DEFAULT:
            try:
                wanted(meant, request, loaded)
            except SetsailError:  # so would a client be told
                loaded.release()
                return self._count(answer, shadow, "failed")
        line = self._line(answer.model, shadow, loaded, meant)
        key = (id(request), shadow)
        if key in self._answers or line.scheduler.waiting_rows + rows > ROOM:
            loaded.release()
            return self._count(answer, shadow, "dropped")
        try:
            copied = Prediction(request, shadow, meant, None, perf_counter())
            self._answers[key] = answer
            line.put(copied, lambda outcome: self._forget(key), 0, inf, LOWEST)
        except BaseException:
            self._answers.pop(key, None)
            loaded.release()
            raise

    def _line(self, name: str, shadow: int, loaded: Loaded, meant: Loaded) -> Line:
        known = self._lines.get((name, shadow))
        if known is None or known[0] is not loaded:
            known = self._lines[name, shadow] = (loaded, {})
        line = known[1].get(meant)
        if line is None:
            line = known[1][meant] = self._made(name, shadow, meant, self._ended)
        return line

    def _forget(self, key: tuple[int, int]) -> None:
        self._answers.pop(key, None)

    def _ended(self, event: Finished) -> None:
        """A copy was run, or could not be. On the shadow's thread, so that comparing costs the loop nothing."""
        answer = self._answers.get((id(event.request), event.version))
        if answer is None:
            return
        if event.error is not None:
            refused = isinstance(event.error, SetsailError) and event.error.kind.family == "exhausted"
            result = "dropped" if refused else "failed"
        else:
            result = "agreed" if agrees(answer.signature, answer.outputs, event.outputs) else "differed"
        self._count(answer, event.version, result, event.seconds)

    def _count(self, answer: Response, shadow: int, result: str, seconds: float = 0.0) -> None:
        with self._counting:
            self._meter.shadowed(answer.model, answer.version, shadow, result, seconds)


def agrees(signature: Signature, first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Whether two versions answered the same by the rule of parity, in what the first was asked for."""
    outputs = tuple(spec for spec in signature.outputs if spec.name in first)
    if not all(spec.name in second for spec in outputs):
        return False
    narrowed = Signature(signature.inputs, outputs, tuple(spec.name for spec in outputs[:1]))
    return parity.compare(narrowed, first, second, what="example").passed
