"""One model's line: who is let in, what runs together, where it runs, and what was learnt from it.

A pure object: it is told the time (`now`, seconds of any monotonic clock), never asks for it, and runs nothing. Whoever
calls it from several threads holds a lock. The driver does this::

    if fault := scheduler.admit(length, now, deadline): refuse        # before the body is decoded
    scheduler.put(Ticket(rows, nbytes, key, now))                     # every request that a turn of the loop brought
    scheduler.turn(number)                                            # at the end of the turn
    while isinstance(batch := scheduler.take(now), Batch):
        answer(batch.dropped)
        if batch.tickets: run it here (batch.inline) or on the model's thread
        scheduler.done(batch, seconds, now)                           # at once, or when the thread is done

There is no waiting for company: `take` gives what is there. A request that comes alone runs alone; while a run is under
way outside the loop others gather, and become the next batch. So the batch size follows the load by itself.

What is promised, and held by `tests/scheduling`: no ticket is lost or given out twice; a batch never mixes keys nor
exceeds its cap, but for a single larger ticket; within a key, priorities and then arrival decide; not more than `lanes`
batches are under way; what waits and runs comes back to zero.
"""

from __future__ import annotations

from math import inf
from typing import Final

from setsail.errors import SetsailError
from setsail.scheduling.admission import Refused, busy, late
from setsail.scheduling.inline import Trust, Turn
from setsail.scheduling.limiter import Limiter
from setsail.scheduling.rules import Rules
from setsail.scheduling.ticket import Batch, Ticket
from setsail.scheduling.times import RunTimes
from setsail.scheduling.waiting import KEPT, Line, Waiting

__all__ = ["Scheduler"]

DOUBTS: Final = 16  # requests refused by an idle model for its run time alone, before one is tried
LEARNT: Final = 16  # of so many quick runs without a ticket, one is learnt from
GHOSTS: Final = 64  # cancelled tickets that may stand in the lines before they are taken out together
UNLIMITED: Final = 1 << 30
REPEATED: Final = 0.02  # seconds for which a refusal is told again


class Scheduler:
    """The line of one version of one model.

    Args:
        rules: limits and wishes.
        times: what is known about its run times; this object keeps it up to date.
        batches: False where the program does not answer the same in a batch: then every ticket runs alone.
        max_rows: most rows that the program takes; larger tickets run alone, and the runner splits them.
        shared: the turn of the event loop, where several schedulers share one.

    Attributes:
        waiting_rows, waiting_bytes: of tickets that may still run.
        running: batches given out and not done yet.
        cap: most rows of the next batch (0: nothing is ever merged).
    """

    __slots__ = (
        "_doubts", "_ghosts", "_limiter", "_lone", "_refused", "_runs", "_trust", "_turn", "_useful", "_waiting",
        "batches", "cap", "max_rows", "rules", "running", "times", "waiting_bytes", "waiting_rows",
    )  # fmt: skip

    def __init__(
        self,
        rules: Rules,
        times: RunTimes,
        *,
        batches: bool = True,
        max_rows: int | None = None,
        shared: Turn | None = None,
    ) -> None:
        self.rules, self.times, self.batches = rules, times, batches
        self.max_rows = max_rows or UNLIMITED
        self.waiting_rows = self.waiting_bytes = self.running = 0
        self._waiting = Waiting()
        self._lone = 0
        self._ghosts = self._doubts = 0
        self._turn = shared or Turn()
        self._trust = Trust(rules.inline_seconds, times.predict(1))
        self._limiter = (
            Limiter(rules.latency_target, self._fitting(rules.latency_target / 2)) if rules.latency_target > 0 else None
        )
        self._runs: list[Batch] = []
        self._refused: Refused | None = None
        self.cap = 0
        self._useful = 0
        self._set_cap()

    # -- who is let in ---------------------------------------------------------------------------------------------

    def admit(self, nbytes: int, now: float, deadline: float = inf, rows: int = 1) -> SetsailError | None:
        """None to let a request in, or the refusal: `model.busy` or `request.deadline`, with `retry_after` (seconds).

        Cheap enough to be asked with the announced length before the body is read, and again with the true rows.
        """
        rules, waiting = self.rules, self.waiting_rows
        if waiting:
            refused = self._refused
            if (
                refused is not None
                and refused.covers(waiting, self.waiting_bytes, rows, nbytes, now)
                and deadline == inf
            ):
                return refused.fault
            if waiting + rows > rules.queue_rows:
                return self._full(rows, nbytes, now, waiting, f"at most {rules.queue_rows} rows")
            if self.waiting_bytes + nbytes > rules.queue_bytes:
                total = self.waiting_bytes + nbytes
                return self._full(rows, nbytes, now, total, f"at most {rules.queue_bytes} bytes")
        if deadline < inf:
            if deadline <= now:
                return late(0.0, 0.0)
            wait = self._wait(now) + self.times.predict(rows)
            if now + wait > deadline and wait < inf:
                # Where everybody is refused nothing runs, and an estimate that is wrong would stay wrong: try one.
                idle = not waiting and not self.running
                self._doubts += idle
                if self._doubts < DOUBTS or not idle:
                    return late(wait, deadline - now)
        if waiting and (rules.queue_seconds or rules.latency_target):
            wait = self._wait(now)
            longest = rules.queue_seconds or rules.latency_target
            if rules.latency_target:
                longest = min(longest, max(0.0, rules.latency_target - self.times.predict(min(self.cap or 1, waiting))))
            if longest < wait < inf:
                fault = busy("the model's queue is too long", f"{wait:.3f} s", f"at most {longest:.3f} s", wait)
                return self._remember(fault, rows, nbytes, now)
        return None

    def _full(self, rows: int, nbytes: int, now: float, value: int, expected: str) -> SetsailError:
        return self._remember(busy("the model's queue is full", value, expected, self._wait(now)), rows, nbytes, now)

    def _remember(self, fault: SetsailError, rows: int, nbytes: int, now: float) -> SetsailError:
        """Who comes next, and is refused whatever the reason was, is told the same: that costs next to nothing."""
        fault.written = {}
        self._refused = Refused(fault, now + REPEATED, self.waiting_rows, self.waiting_bytes, rows, nbytes)
        return fault

    def put(self, ticket: Ticket) -> None:
        """Let a ticket wait. Limits are `admit`'s business."""
        ticket.waiting = True
        self.waiting_rows += ticket.rows
        self.waiting_bytes += ticket.nbytes
        self._waiting.put(ticket)

    def cancel(self, ticket: Ticket) -> bool:
        """The client has gone. True: the ticket was waiting, will not run, and does not come back in `dropped`."""
        if not ticket.waiting:
            ticket.cancelled = True
            return False
        ticket.cancelled = True
        self._forget(ticket)
        self._ghosts += 1
        if self._ghosts > GHOSTS and self._ghosts > self.waiting_rows:
            self._waiting.sweep(lambda t: not t.waiting)
            self._ghosts = 0
        return True

    def expired(self, now: float) -> list[Ticket]:
        """Take out what is cancelled or too late while all lanes run. Looks at everything: for once a second."""
        gone = self._waiting.sweep(lambda t: t.cancelled or t.deadline <= now)
        self._ghosts = 0
        late = [ticket for ticket in gone if ticket.waiting]
        for ticket in late:
            self._forget(ticket)
        return late

    # -- what runs ---------------------------------------------------------------------------------------------------

    def turn(self, number: float) -> None:
        """A turn of the event loop has begun: anything that differs from turn to turn. Never called: no turn ends."""
        self._turn.begin(number)

    def take(self, now: float, *, here: bool = True) -> Batch | float | None:
        """The next batch; or the time to ask again (only with `max_delay`); or None: nothing waits, or all lanes run.

        A batch without tickets has only `dropped` ones; it needs no `done`.

        Args:
            here: the event loop asks. A thread that asks is given nothing that the loop would run inline.
        """
        if self.running >= self.rules.lanes:
            return None
        if (
            not here
            and self._trust.held
            and self.times.predict(min(self.cap or 1, self.waiting_rows)) <= self.rules.inline_seconds
        ):
            return None
        dropped: list[Ticket] = []
        while (line := self._waiting.next()) is not None:
            if self.rules.max_delay > 0 and not dropped:
                until = self._until(line, now)
                if until > now:
                    self._waiting.expose(line)
                    return until
            head = line.levels[0][0]
            if (head.cancelled or head.deadline < inf) and self._is_dead(head, now):
                line.levels[0].popleft()
                self._leave(line, head, dropped)
                self._waiting.expose(line)
                continue  # another line may be first now
            batch = self._gather(line, now, dropped)
            batch.inline = batch.inline and here
            return batch
        return Batch([], dropped=dropped) if dropped else None

    def alone(self, rows: int) -> bool:
        """Whether a request of at most `rows` rows that came by itself may run at once on the loop, without a ticket.

        It is what `put` and `take` would decide, in fewer steps; `ran_alone` is told of it instead of `done`.
        """
        return (
            self._trust.held and not self.waiting_rows and not self.running and self._limiter is None
            and not self.rules.max_delay and self.times.predict(rows) <= self.rules.inline_seconds
        )  # fmt: skip

    def ran_alone(self, rows: int, seconds: float) -> None:
        """Such a request has run. Slow ones count all, quick ones now and then: they are all alike."""
        self._lone += 1
        if seconds > self.rules.inline_seconds or (seconds and not self._lone % LEARNT):
            predicted = self.times.predict(rows)
            self.times.observe(rows, seconds)
            self._trust.ran(True, predicted, seconds)
            if self._useful != self.times.useful:
                self._set_cap()

    def done(self, batch: Batch, seconds: float, now: float) -> None:
        """A batch has ended, well or not, after `seconds` of running; 0 when the model was not run at all."""
        if not batch.tickets:
            return
        self._runs.remove(batch)
        self.running -= 1
        if not seconds:  # refused before it ran: nothing was learnt
            return
        if batch.inline:
            self._turn.spent += seconds
        self.times.observe(batch.rows, seconds)
        self._trust.ran(batch.inline, batch.predicted, seconds)
        if self._limiter is not None:
            self._limiter.ran(batch.tickets, batch.rows, seconds, batch.began)
            self._set_cap()
        elif self._useful != self.times.useful:
            self._set_cap()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _is_dead(self, ticket: Ticket, now: float) -> bool:
        """Whether a ticket must not run: its client has gone, or its answer would be late even if it ran alone."""
        if ticket.cancelled or ticket.deadline <= now:
            return True
        if self._doubts >= DOUBTS:
            self._doubts = 0
            return False
        return ticket.deadline < now + self.times.predict(ticket.rows) < inf

    def _leave(self, line: Line, ticket: Ticket, dropped: list[Ticket]) -> None:
        """A ticket that was taken out of a queue without being run."""
        line.rows -= ticket.rows
        if ticket.waiting:
            self._forget(ticket)
            dropped.append(ticket)
        else:
            self._ghosts -= 1

    def _gather(self, line: Line, now: float, dropped: list[Ticket]) -> Batch:
        """A batch of one line's first tickets, the very first of which may run; what must not goes to `dropped`."""
        cap, rows, nbytes, soonest = self.cap, 0, 0, inf
        tickets: list[Ticket] = []
        while True:
            queue = line.levels[0]
            while queue:
                ticket = queue[0]
                if ticket.cancelled or ticket.deadline <= now:
                    queue.popleft()
                    self._leave(line, ticket, dropped)
                    continue
                if tickets and rows + ticket.rows > cap:
                    break
                queue.popleft()
                tickets.append(ticket)
                ticket.waiting = False
                rows += ticket.rows
                nbytes += ticket.nbytes
                if ticket.deadline < soonest:
                    soonest = ticket.deadline
            if queue or line.first() is None:
                break
        line.rows -= rows
        self.waiting_rows -= rows
        self.waiting_bytes -= nbytes
        if soonest < inf and soonest < now + self.times.predict(rows) < inf:
            rows = self._hurry(line, tickets, dropped, now)
        if line.levels[0] or len(line.levels) > 1 or len(self._waiting.lines) > KEPT:
            self._waiting.expose(line)
        return self._batch(tickets, rows, dropped, now)

    def _batch(self, tickets: list[Ticket], rows: int, dropped: list[Ticket], now: float) -> Batch:
        predicted = self.times.predict(rows)
        turn = self._turn
        inline = (
            self._trust.held
            and predicted <= self.rules.inline_seconds
            and not self.running  # a run under way was earlier: it answers first
            and (turn.number < 0 or turn.spent + predicted <= self.rules.turn_seconds)
        )
        batch = Batch(tickets, rows, inline, dropped, predicted, now)
        self.running += 1
        self._runs.append(batch)
        return batch

    def _hurry(self, line: Line, tickets: list[Ticket], dropped: list[Ticket], now: float) -> int:
        """Make a batch in which the first ticket can be in time; put the rest back, but for what can no longer be.

        The first one decides, because it has waited longest. If the tightest deadline did, one impatient client would
        make everybody's batches small.
        """
        predict = self.times.predict
        first, size = tickets[0], sum(ticket.rows for ticket in tickets)
        while size > first.rows and now + predict(size) > first.deadline:
            size = max(first.rows, size // 2)
        rows, end = first.rows, 1
        while end < len(tickets) and rows + tickets[end].rows <= size:
            rows += tickets[end].rows
            end += 1
        for ticket in reversed(tickets[end:]):
            ticket.waiting = True
            self.waiting_rows += ticket.rows
            self.waiting_bytes += ticket.nbytes
            line.rows += ticket.rows
            line.level(ticket.priority).appendleft(ticket)
        del tickets[end:]
        finish = now + predict(rows)
        dropped += [ticket for ticket in tickets if ticket.deadline < finish and ticket is not first]
        tickets[:] = [ticket for ticket in tickets if ticket.deadline >= finish or ticket is first]
        return sum(ticket.rows for ticket in tickets)

    def _until(self, line: Line, now: float) -> float:
        """When this line's first ticket has waited long enough for company; the past when it need not wait."""
        first = line.first()
        if first is None or first.cancelled or line.rows >= self.cap:
            return now
        until = first.arrived + self.rules.max_delay
        if first.deadline < inf:
            until = min(until, first.deadline - 2 * self.times.predict(line.rows))
        return until

    def _forget(self, ticket: Ticket) -> None:
        ticket.waiting = False
        self.waiting_rows -= ticket.rows
        self.waiting_bytes -= ticket.nbytes

    def _wait(self, now: float) -> float:
        """Seconds before a request that comes now would run; 0 or more, `inf` when nothing is known."""
        wait = 0.0
        if self.waiting_rows:
            size = self.cap or 1
            wait = self.waiting_rows * self.times.predict(size) / (size * self.rules.lanes)
        if self.running >= self.rules.lanes:
            wait += max(0.0, min(batch.began + batch.predicted for batch in self._runs) - now)
        return wait

    def _fitting(self, seconds: float) -> int:
        """The largest power of two of rows whose run fits; 1 while nothing is known."""
        rows = 1
        while rows < self.times.useful and self.times.predict(2 * rows) <= seconds:
            rows *= 2
        return rows

    def _set_cap(self) -> None:
        """The cap by what is known now."""
        self._useful = self.times.useful
        if self.batches:
            cap = min(self.rules.max_batch or self.times.useful, self.max_rows)
            if self._limiter is not None:
                cap = min(cap, self._limiter.cap)
            self.cap = cap
