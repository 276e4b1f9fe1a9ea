"""Where predictions come in from an event loop: they are not answered one by one, but put in their version's line.

`House.answer` answers in the caller's thread and is right for a notebook, the admin port and everything that is not a
prediction. A server's data port uses this instead: `admit` before a body is read or decoded, `submit` when it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import perf_counter

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.monitor.meter import Meter
from setsail.scheduling import Rules, RunTimes, Scheduler, Ticket, Turn
from setsail.serving.line import Done, Line
from setsail.serving.observers import Finished, Observer, tell
from setsail.serving.predict import Prediction, Timings, begin
from setsail.serving.remembering import Remembering
from setsail.serving.table import Table
from setsail.serving.turns import Turns

__all__ = ["Intake"]


class Intake:
    """Predictions of one event loop. Everything here is called on its thread.

    Args:
        tables: gives the table of this moment.
        rules: how requests wait and run together.
        meter: counts what runs.
        observers: told of every finished request.
        cache: bytes of answers to keep for a model of this name.
    """

    def __init__(
        self,
        tables: Callable[[], Table],
        turns: Turns,
        *,
        rules: Rules,
        meter: Meter,
        observers: Sequence[Observer] = (),
        cache: Callable[[str], int] = lambda name: 0,
    ) -> None:
        self._tables, self._turns, self._rules = tables, turns, rules
        self._meter, self._observers, self._cache = meter, observers, cache
        self._turn = Turn()  # what all models of this loop may run inline in one turn of it, together

    @property
    def ran(self) -> Timings | None:
        """The run whose answers are being handed out at this moment."""
        return self._turns.ran

    def names(self) -> list[str]:
        """Of all models, whatever their states."""
        return list(self._tables().models)

    def serves(self, name: str) -> bool:
        """Whether there is a model of this name, whatever its state."""
        return name in self._tables().models

    def admit(self, ref: ModelRef, nbytes: int, deadline: float = inf) -> SetsailError | None:
        """Why a request should not be read or decoded at all, or None.

        Args:
            nbytes: of its body.
            deadline: on the clock of `time.perf_counter`.
        """
        try:
            loaded = self._tables().find(ref).loaded
        except SetsailError as fault:
            return fault
        line: Line | None = None if loaded is None else loaded.line
        if line is None:
            return None
        refusal = line.admit(nbytes, perf_counter(), deadline)
        if refusal is not None:
            self._meter.refused(ref.name, refusal.code)
        return refusal

    def submit(
        self, request: Request, done: Done, *, nbytes: int = 0, deadline: float = inf, priority: int = 0
    ) -> Ticket | None:
        """Have a prediction answered, together with others that come at the same time.

        Args:
            done: called once with the answer or the fault, on the loop's thread; perhaps before this returns.
            nbytes: of its body, for the queue's limit.
            deadline: on the clock of `time.perf_counter`; a request that cannot end by then is not run.
            priority: higher ones run first.

        Returns:
            What can be cancelled; None when it was refused.
        """
        try:
            prediction = begin(self._tables, request, perf_counter())
        except SetsailError as fault:
            if self._observers:
                tell(self._observers, Finished(request, error=fault))
            done(fault)
            return None
        line: Line = prediction.loaded.line or self._line(prediction)
        if line.memory is not None:
            asked = line.memory.ask(
                prediction, done,
                lambda: self.submit(request, done, nbytes=nbytes, deadline=deadline, priority=priority),
            )  # fmt: skip
            if asked is None:
                prediction.loaded.release()
                return None
            done = asked
        return line.put(prediction, done, nbytes, deadline, priority)

    def tick(self, now: float) -> None:
        """Once a second: tell those whose deadline has passed while they waited.

        Args:
            now: on the clock of `time.perf_counter`.
        """
        for line in self._lines():
            line.expire(now)

    def waiting(self) -> int:
        """Rows that wait for a run."""
        return sum(line.scheduler.waiting_rows for line in self._lines())

    def _lines(self) -> list[Line]:
        loaded = [entry.loaded for entry in self._tables()]
        return [one.line for one in loaded if one is not None and one.line is not None]

    def _line(self, prediction: Prediction) -> Line:
        loaded = prediction.loaded
        facts, runner = loaded.facts, loaded.runner
        rules = replace(self._rules, inline_seconds=0.0) if facts.apart else self._rules
        rules = rules if facts.delay is None else replace(rules, max_delay=facts.delay)
        scheduler = Scheduler(
            rules, RunTimes.from_ladder(facts.ladder), batches=facts.invariant and runner.signature.batched,
            max_rows=runner.max_batch, shared=self._turn,
        )  # fmt: skip
        name = prediction.request.model.name
        line = Line(name, prediction.version, scheduler, self._turns, self._meter, self._observers)
        kept = self._cache(name)
        line.memory = Remembering(kept, self._meter) if kept else None
        loaded.line = line
        return line
