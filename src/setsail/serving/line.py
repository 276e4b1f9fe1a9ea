"""The requests that wait for one version, and what runs them: on the loop, or on a thread of their own.

What runs together, when and where is the scheduler's word (`scheduling/`); this is the hands. Everything here happens
on the loop's thread but `_Worker._work` and `follow`: a thread that has ended a run takes what waits then by itself,
because a loop that has hundreds of requests to refuse comes round too seldom to keep it busy. A request is answered
exactly once, by calling its `done` with an answer or a fault, and its lease on the version is given back then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.merging import portion
from setsail.messages import Response
from setsail.monitor.meter import Meter
from setsail.scheduling import Batch, Scheduler, Ticket
from setsail.serving.observers import Finished, Observer, tell
from setsail.serving.predict import Prediction, Timings, together
from setsail.serving.turns import Turns

__all__ = ["Done", "Line"]

_LOG = logging.getLogger("setsail.serving")
_IDLE_SECONDS: Final = 30.0
_EARLY: Final = 0.002  # a loop counts in milliseconds: its timer may have come, and gone, this long before its time
Done = Callable[[Response | BaseException], None]


class Line:
    """One version's waiting requests.

    Args:
        name, version: of the model, for the meter.
        scheduler: decides.
        turns: of the loop whose thread this lives on.
    """

    __slots__ = (
        "_lock", "_name", "_observers", "_timed", "_turn", "_turns", "_version", "_worker", "memory", "meter",
        "scheduler",
    )  # fmt: skip

    def __init__(
        self, name: str, version: int, scheduler: Scheduler, turns: Turns, meter: Meter, observers: Sequence[Observer]
    ) -> None:
        self.scheduler, self.meter = scheduler, meter
        self._name, self._version, self._turns, self._observers = name, version, turns, observers
        self._lock = Lock()  # of the scheduler
        self._worker = _Worker(self, turns, observers)
        self.memory: Any = None  # the answers it keeps (`remembering.py`), if it keeps any
        self._timed = 0.0  # when the next look at this line is due
        self._turn = -1

    def admit(self, nbytes: int, now: float, deadline: float) -> SetsailError | None:
        """Why a request should not wait here, or None (`Scheduler.admit`)."""
        with self._lock:
            return self.scheduler.admit(nbytes, now, deadline)

    def put(self, prediction: Prediction, done: Done, nbytes: int, deadline: float, priority: int = 0) -> Ticket | None:
        """Have a request answered. The ticket can be cancelled until its run begins; None when it may not wait."""
        # A row takes a byte or more on every wire, so the bytes say how many there can be at most.
        if deadline == inf and self._turns.alone() and self.scheduler.alone(max(1, nbytes)):
            self._turns.passed()
            self._run_now(prediction, done)
            return None
        part = portion(prediction.request.body) if prediction.signature.batched else None
        if part is not None:
            prediction.rows = part.rows
        ticket = Ticket(
            prediction.rows, nbytes, object() if part is None else part.key, prediction.began, deadline, priority,
            payload=(prediction, done),
        )  # fmt: skip
        with self._lock:
            refusal = self.scheduler.admit(nbytes, prediction.began, deadline, prediction.rows)
            if refusal is None:
                self.scheduler.put(ticket)
        if refusal is not None:
            self.meter.refused(self._name, refusal.code)
            if self._observers:
                tell(self._observers, Finished(prediction.request, prediction.version, error=refusal))
            done(refusal)
            prediction.loaded.release()
            return None
        self._turns.note(self)
        return ticket

    def _run_now(self, prediction: Prediction, done: Done) -> None:
        """Run a request that nobody else could share a run with, nor has to wait for."""
        timings = Timings(begun=perf_counter())
        (outcome,) = together((prediction,), timings, self._observers)
        with self._lock:
            self.scheduler.ran_alone(prediction.rows, timings.run)
        self._turns.ran = timings
        self._finish(prediction, done, outcome)
        self._turns.ran = None
        waited = timings.begun - prediction.began
        self.meter.batch(
            self._name, self._version, 1, prediction.rows, waited, timings.merge, timings.run, timings.split
        )

    def pump(self, now: float) -> None:
        """Run what may run now."""
        scheduler = self.scheduler
        if self._turn != self._turns.number:
            self._turn = self._turns.number
            scheduler.turn(self._turn)
        while True:
            with self._lock:
                what = scheduler.take(now)
            if what is None:
                return
            if isinstance(what, float):
                if not now + _EARLY < self._timed <= what:  # one timer is enough
                    self._timed = what
                    self._turns.later(what - now, self)
                return
            for ticket in what.dropped:
                self._drop(ticket)
            if not what.tickets:
                continue
            if not what.inline:
                self._worker.run(what)
                continue
            timings = Timings()
            outcomes = together([ticket.payload[0] for ticket in what.tickets], timings, self._observers)
            with self._lock:
                scheduler.done(what, timings.run, now)
            self._answer(what, outcomes, timings, now)
            now = perf_counter()

    def expire(self, now: float) -> None:
        """Tell those whose deadline has passed, and forget those who have gone, though nothing runs meanwhile."""
        with self._lock:
            gone = self.scheduler.expired(now)
        for ticket in gone:
            self._drop(ticket)

    def close(self) -> None:
        """End the thread, if there is one. Nothing waits any more: every waiting request holds a lease."""
        self._worker.close()

    # -- ends --------------------------------------------------------------------------------------------------------

    def follow(self, batch: Batch, seconds: float) -> Batch | None:
        """A thread has ended a run of so many seconds: what it runs next, if anything. The only call from a thread."""
        now = perf_counter()
        try:
            with self._lock:
                self.scheduler.done(batch, seconds, now)
                what = self.scheduler.take(now, here=False)
        except Exception:  # the thread must live: its batch is not answered yet
            _LOG.exception("a line of requests failed")
            return None
        return what if isinstance(what, Batch) else None  # a time to ask again is for the loop, which asks now

    def ran(self, batch: Batch, outcomes: Sequence[Response | BaseException], timings: Timings, begun: float) -> None:
        """A batch has come back from the thread."""
        self._turns.again(self)
        self._answer(batch, outcomes, timings, begun)

    def drop(self, tickets: Sequence[Ticket]) -> None:
        """Tickets that a thread found it must not run."""
        for ticket in tickets:
            self._drop(ticket)

    def _answer(
        self, batch: Batch, outcomes: Sequence[Response | BaseException], timings: Timings, begun: float
    ) -> None:
        waited, timings.begun = 0.0, begun
        self._turns.ran = timings
        for ticket, outcome in zip(batch.tickets, outcomes, strict=True):
            waited += begun - ticket.arrived
            prediction, done = ticket.payload
            ticket.payload = None  # whoever is told has the ticket: a ring, which would keep the body until it is found
            self._finish(prediction, done, outcome)
        self._turns.ran = None
        self.meter.batch(
            self._name, self._version, len(batch.tickets), batch.rows, waited, timings.merge, timings.run, timings.split
        )

    def _drop(self, ticket: Ticket) -> None:
        prediction, done = ticket.payload
        ticket.payload = None
        if ticket.cancelled:
            fault = SetsailError("request.cancelled", "the client went away")
            self.meter.refused(self._name, fault.code)
        else:
            fault = SetsailError("request.deadline", "the request cannot be answered within its deadline")
            self.meter.refused(self._name, fault.code)
        if self._observers:
            tell(self._observers, Finished(prediction.request, prediction.version, error=fault))
        self._finish(prediction, done, fault)

    @staticmethod
    def _finish(prediction: Prediction, done: Done, outcome: Response | BaseException) -> None:
        try:
            done(outcome)
        except Exception:  # a connection that closed half way, say: the others of the batch still get their answers
            _LOG.exception("an answer could not be handed over")
        prediction.loaded.release()


class _Worker:
    """A thread that runs one batch after the other; it comes with the first and goes when it had none for a while."""

    __slots__ = ("_batches", "_line", "_lock", "_observers", "_thread", "_turns")

    def __init__(self, line: Line, turns: Turns, observers: Sequence[Observer]) -> None:
        self._line, self._turns, self._observers = line, turns, observers
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None

    def run(self, batch: Batch) -> None:
        with self._lock:
            self._batches.put(batch)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="setsail-run", daemon=True)
                self._thread.start()

    def close(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._batches.put(None)

    def _work(self) -> None:
        call, batch = self._turns.loop.call_soon_threadsafe, self._next()
        while batch is not None:
            timings, begun = Timings(), perf_counter()
            outcomes: Any
            try:
                outcomes = together([ticket.payload[0] for ticket in batch.tickets], timings, self._observers)
            except BaseException as fault:  # whatever it is, everybody in the batch hears of it
                outcomes = [fault] * len(batch.tickets)
            following = self._line.follow(batch, timings.run)
            call(self._line.ran, batch, outcomes, timings, begun)
            if following is not None and following.dropped:
                call(self._line.drop, following.dropped)
            batch = following if following is not None and following.tickets else self._next()

    def _next(self) -> Batch | None:
        while True:
            try:
                return self._batches.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._batches.empty():
                        self._thread = None
                        return None
