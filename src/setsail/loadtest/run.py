"""One order, carried out: requests sent and timed on an event loop."""

from __future__ import annotations

import asyncio
import signal
from array import array
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import perf_counter, process_time
from typing import IO, Final

from setsail.loadtest.alarm import Alarm
from setsail.loadtest.lines import CONNECT, GOOD, Line
from setsail.loadtest.orders import Answer, Began, Order, Outcome, Progress, Target, send

__all__ = ["Run"]

_EVERY: Final = 16  # one answer in so many is held against the first one
_ODD: Final = 64  # answers that differ and are kept
_TOLD: Final = 0.2  # seconds between two reports
_RETRY: Final = 0.02


class Run:
    """One order, carried out.

    Args:
        first: of each request, the body of its first answer; "ask" fills it.
        out: where progress is told.
    """

    def __init__(self, target: Target, order: Order, first: dict[int, bytes], out: IO[bytes]) -> None:
        self._target, self._order, self._first, self._out = target, order, first, out
        self._turn = count()
        self._lines: list[Line] = []
        self._latencies, self._lag = array("d"), array("d")
        self._errors: Counter[str] = Counter()
        self._in_time = self._seen = self._compared = self._busy = 0
        self._differing: list[Answer] = []
        self._begin = self._end = 0.0
        self._cut_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._cpu = (0.0, 0.0, 0.0)

    async def carry_out(self) -> Outcome:
        loop = asyncio.get_running_loop()
        self._over, self._came = asyncio.Event(), asyncio.Event()
        with suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, self._cut)
        try:
            if self._order.kind == "ask":
                return await self._ask()
            await self._open_lines()
            await (self._open() if self._order.kind == "open" else self._closed())
            return self._outcome()
        except (OSError, TimeoutError) as fault:
            return Outcome(0.0, fault=str(fault) or type(fault).__name__)
        finally:
            for line in self._lines:
                line.close()
            for task in self._tasks:
                task.cancel()
            with suppress(NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)

    # -- answers -------------------------------------------------------------------------------------------------

    async def _ask(self) -> Outcome:
        answers: list[Answer] = []
        came = self._came = asyncio.Event()

        def done(line: Line, code: str, headers: Mapping[str, str], body: bytes) -> None:
            answers.append(Answer(line.request, code, dict(headers), body))
            came.set()

        line: Line | None = None
        for request in range(self._order.first, self._order.first + self._order.count):
            if line is None or line.lost:
                line = await CONNECT[self._target.channel](self._target, done)
                self._lines.append(line)
            came.clear()
            line.send(request, perf_counter())
            try:
                await asyncio.wait_for(came.wait(), self._order.timeout)
            except TimeoutError:
                return Outcome(0.0, fault=f"no answer within {self._order.timeout:.0f} s")
            if self._cut_at is not None:
                break
            self._first.setdefault(request, answers[-1].body)
        return Outcome(0.0, answers=answers, cut=self._cut_at is not None)

    def _count(self, line: Line, code: str, headers: Mapping[str, str], body: bytes) -> float:
        """Take an answer's time; what was sent before the clock began is left out. Returns now."""
        now = perf_counter()
        if line.begin < self._begin:
            return now
        if code not in GOOD:
            self._errors[code] += 1
            return now
        self._latencies.append(now - line.begin)
        self._in_time += now <= self._end
        self._seen += 1
        if self._seen % _EVERY == 1:
            self._compared += 1
            if body != self._first.get(line.request) and len(self._differing) < _ODD:
                self._differing.append(Answer(line.request, code, dict(headers), body))
        return now

    def _next(self) -> int:
        return self._order.first + next(self._turn) % self._order.count

    # -- the clock -----------------------------------------------------------------------------------------------

    async def _open_lines(self) -> None:
        done = self._done_open if self._order.kind == "open" else self._done_closed
        connect = CONNECT[self._target.channel]
        for _ in range(self._order.clients):
            self._lines.append(await connect(self._target, done))

    def _start_clock(self) -> None:
        self._cpu = (process_time(), perf_counter(), _waited())
        send(self._out, Began())

    async def _watch(self) -> None:
        """Wait for the clock's end, telling how far it is."""
        if self._order.warm:
            await self._pause(self._begin - perf_counter())
        if self._cut_at is None:
            self._start_clock()
        while self._cut_at is None and (left := self._end - perf_counter()) > 0:
            await self._pause(min(_TOLD, left))
            done = 1 - max(0.0, self._end - perf_counter()) / self._order.seconds
            send(self._out, Progress(done, len(self._latencies)))
        cpu, wall = process_time() - self._cpu[0], perf_counter() - self._cpu[1]
        began = self._cpu[1] and wall > 0
        self._share, self._wait = (cpu / wall, (_waited() - self._cpu[2]) / wall) if began else (0.0, 0.0)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), max(0.0, seconds))

    def _cut(self) -> None:
        self._cut_at = perf_counter()
        self._end = min(self._end, self._cut_at)
        self._over.set()
        self._came.set()

    async def _last_answers(self) -> None:
        """Give those under way their time; whoever has none by then is an error."""
        limit = perf_counter() + (0.5 if self._cut_at is not None else self._order.timeout)
        while self._busy and perf_counter() < limit:
            await asyncio.sleep(0.002)
        if self._busy and self._cut_at is None:
            self._errors["no answer"] += self._busy

    def _outcome(self) -> Outcome:
        return Outcome(
            max(0.0, self._end - self._begin), self._latencies.tobytes(), self._in_time, dict(self._errors),
            self._share, self._wait, self._compared, self._differing,
            lag=self._lag.tobytes(), cut=self._cut_at is not None,
        )  # fmt: skip

    # -- closed loop ---------------------------------------------------------------------------------------------

    async def _closed(self) -> None:
        self._begin = perf_counter() + self._order.warm
        self._end = self._begin + self._order.seconds
        for line in self._lines:
            self._busy += 1
            line.send(self._next(), perf_counter())
        await self._watch()
        await self._last_answers()

    def _done_closed(self, line: Line, code: str, headers: Mapping[str, str], body: bytes) -> None:
        now = self._count(line, code, headers, body)
        if now >= self._end:
            self._busy -= 1
        elif line.lost:
            self._spawn(line)
        else:
            line.send(self._next(), now)

    def _spawn(self, line: Line) -> None:
        task = asyncio.ensure_future(self._replace(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, old: Line) -> None:
        """A connection that ended has a successor, which goes on with its work."""
        done = self._done_open if self._order.kind == "open" else self._done_closed
        while self._order.kind == "open" or perf_counter() < self._end:
            try:
                line = await CONNECT[self._target.channel](self._target, done)
            except (OSError, TimeoutError):
                if perf_counter() > self._end:
                    break
                if self._order.kind == "closed" and perf_counter() >= self._begin:
                    self._errors["no connection"] += 1
                await asyncio.sleep(_RETRY)
                continue
            self._lines[self._lines.index(old)] = line
            if self._order.kind == "open":
                self._free(line)
            else:
                line.send(self._next(), perf_counter())
            return
        if self._order.kind == "closed":
            self._busy -= 1

    # -- open loop -----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._times = array("d", self._order.times)
        self._at = 0
        self._idle, self._waiting = deque(self._lines), deque[float]()
        alarm = self._alarm = Alarm(asyncio.get_running_loop(), self._arrive)
        try:
            self._origin = perf_counter() + 0.01
            self._begin = self._origin + self._order.warm
            self._end = self._begin + self._order.seconds
            self._arrive()
            await self._watch()
            if self._cut_at is not None:
                self._busy -= len(self._waiting)
                self._waiting.clear()
            await self._last_answers()
        finally:
            alarm.close()

    def _arrive(self) -> None:
        """Send what is due, and be woken for the next."""
        now = perf_counter()
        while self._at < len(self._times) and self._cut_at is None:
            due = self._origin + self._times[self._at]
            if due > now:
                self._alarm.set(now, due)
                return
            self._at += 1
            self._busy += 1
            if self._idle:
                line = self._idle.popleft()
                self._lag.append(now - due)
                line.send(self._next(), due)
            else:
                self._waiting.append(due)

    def _done_open(self, line: Line, code: str, headers: Mapping[str, str], body: bytes) -> None:
        self._count(line, code, headers, body)
        self._busy -= 1
        if line.lost:
            self._spawn(line)
        else:
            self._free(line)

    def _free(self, line: Line) -> None:
        if self._waiting:
            line.send(self._next(), self._waiting.popleft())
        else:
            self._idle.append(line)


def _waited() -> float:
    """Seconds that this process's main thread was ready to run and had no core; 0 where nobody counts them."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
