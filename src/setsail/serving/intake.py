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
from setsail.monitor.meter import Meter, OfSignature
from setsail.scheduling import Rules, RunTimes, Scheduler, Ticket, Turn
from setsail.serving.canaries import Canaries, is_bad
from setsail.serving.chosen import Chosen
from setsail.serving.leases import Loaded, Other
from setsail.serving.line import Done, Line
from setsail.serving.observers import Finished, Observer, tell
from setsail.serving.predict import Prediction, Timings, begin
from setsail.serving.remembering import Remembering
from setsail.serving.shadows import ROOM, Passage, Shadows
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
        canaries: told of requests that came by a route with one.
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
        canaries: Canaries | None = None,
    ) -> None:
        self._tables, self._turns, self._rules = tables, turns, rules
        self._meter, self._observers, self._cache = meter, observers, cache
        self._turn = Turn()  # what all models of this loop may run inline in one turn of it, together
        self._canaries = canaries or Canaries(meter)
        self._shadows = Shadows(tables, meter, turns.loop.call_soon, self._shadow_line)
        self._lacks = self._lacking  # made once, not for every request

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
        table = self._tables()
        entry = table.found.get(ref)
        if entry is None:
            try:
                entry = table.find(ref)
            except SetsailError as fault:
                return fault
            if table.picker(ref) is not None:  # nobody knows yet whose line it will be
                return None
        line: Line | None = None if entry.loaded is None else entry.loaded.line
        if line is None:
            return None
        now = perf_counter()
        refusal = line.admit(nbytes, now, deadline)
        if refusal is None:
            return None
        others = [] if entry.loaded is None else entry.loaded.signatures[1:]
        if any(one.line is None or one.line.admit(nbytes, now, deadline) is None for one in others):
            return None  # nobody knows yet which signature's it will be
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
            prediction = begin(self._tables, request, perf_counter(), done, self._lacks)
        except SetsailError as fault:
            if self._observers:
                tell(self._observers, Finished(request, error=fault))
            done(fault)
            return None
        line: Line | Passage = prediction.loaded.line or self._line(prediction)
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
        ready = [entry.loaded for entry in self._tables() if entry.loaded is not None]
        return [one.line for loaded in ready for one in loaded.signatures if one.line is not None]

    def _line(self, prediction: Prediction) -> Line | Passage:
        """The line of a version that has none yet, or of a request that came by a watched route."""
        loaded = prediction.loaded
        if type(loaded) is Chosen:
            line = loaded.own.line or self._opened(prediction.request.model.name, prediction.version, loaded.own)
            return Passage(line, loaded, self._canaries, self._shadows)
        return self._opened(prediction.request.model.name, prediction.version, loaded)

    def _lacking(self, request: Request, version: int, loaded: Loaded, fault: BaseException) -> None:
        """A route gave a request to a version that has no such signature or output: its canary hears of that too."""
        if isinstance(loaded, Chosen) and loaded.route.canary is not None and (bad := is_bad(fault)) is not None:
            self._canaries.observe(request.model.name, loaded.route.canary, version, bad, 0.0)

    def _opened(self, name: str, version: int, loaded: Loaded) -> Line:
        line = self._made(name, version, loaded, self._rules, self._observers, self._turn)
        kept = self._cache(name)
        line.memory = Remembering(kept, self._meter) if kept else None
        loaded.line = line
        return line

    def _shadow_line(self, name: str, version: int, loaded: Loaded, ended: Observer) -> Line:
        rules = replace(self._rules, inline_seconds=0.0, queue_rows=ROOM)
        return self._made(name, version, loaded, rules, (ended,), Turn())

    def _made(
        self, name: str, version: int, loaded: Loaded, rules: Rules, observers: Sequence[Observer], turn: Turn
    ) -> Line:
        facts, runner = loaded.facts, loaded.runner
        rules = replace(rules, inline_seconds=0.0) if facts.apart else rules
        rules = rules if facts.delay is None else replace(rules, max_delay=facts.delay)
        scheduler = Scheduler(
            rules, RunTimes.from_ladder(facts.ladder), batches=facts.invariant and runner.signature.batched,
            max_rows=runner.max_batch, shared=turn,
        )  # fmt: skip
        several = bool(loaded.others) or isinstance(loaded, Other)
        meter = OfSignature(self._meter, loaded.called) if several else self._meter
        return Line(name, version, scheduler, self._turns, meter, observers)
