"""The measurement: check the answers, then closed loops, an open loop, and batches, each by one order to the client."""

from __future__ import annotations

import os
import platform
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any, Final, Protocol

import numpy as np
from msgspec import Struct

from setsail import __version__
from setsail.errors import SetsailError
from setsail.loadtest import usage
from setsail.loadtest.client import Client
from setsail.loadtest.orders import Answer, Order, Outcome
from setsail.loadtest.plot import buckets, duration, figure
from setsail.loadtest.report import About, Phase, Report
from setsail.loadtest.schedules import Search, arrivals
from setsail.loadtest.statistics import keeps, percentile, summarise
from setsail.loadtest.subject import Subject, requests, target_of
from setsail.loadtest.wires import WIRES, Wire, agree

__all__ = ["MODES", "Plan", "Watcher", "measure", "notes"]

MODES: Final = ("closed", "open", "offline")
_BATCH_CLIENTS: Final = 4
_OPEN_CLIENTS: Final = 128
_WARM: Final = 0.1  # of a phase's seconds, before its clock begins
_BUSY: Final = 0.9
_STARVED: Final = 0.15
_LATE: Final = 0.1  # of the target p99: a client's own delay worth a note
_LENIENT: Final = 10.0  # times the p50 of the fewest clients is the target, unless one is given
_LEAST_TARGET: Final = 0.005


class Plan(Struct, frozen=True):
    """What was asked for.

    Attributes:
        rate: of the open loop; 0 finds the highest that keeps the target.
        target: p99 in seconds; 0 takes ten times the p50 of the fewest clients, and 5 ms at least.
    """

    wire: str = "v2"
    clients: tuple[int, ...] = (1, 8, 64)
    seconds: float = 5.0
    modes: tuple[str, ...] = MODES
    rate: float = 0.0
    target: float = 0.0


class Watcher(Protocol):
    """Is told how it goes."""

    def phase(self, title: str) -> None:
        """A measurement begins."""

    def update(self, fraction: float, rows: int) -> None: ...

    def done(self, phase: Phase) -> None: ...


def measure(subject: Subject, plan: Plan, watcher: Watcher) -> Report:
    """Measure, and report what was measured; after Ctrl-C, what was measured until then.

    Raises:
        SetsailError: `bench.answers` when the server refuses the first requests or answers equal ones differently,
            `bench.target` when it cannot be reached, `dependency.missing` for gRPC without grpcio.
    """
    wire = WIRES[plan.wire]
    if wire.channel == "grpc" and find_spec("grpc") is None:
        line = 'pip install "setsail[grpcio]"'
        raise SetsailError("dependency.missing", "--wire grpc needs grpcio, which is not installed", field="grpcio",
                           todo=f"run: {line}", command=line)  # fmt: skip
    singles, batches, size = requests(subject, wire)
    target = target_of(subject, wire, [*singles, *batches])
    with Client(target) as client:
        return _Measurement(client, subject, plan, watcher, wire, singles, batches, size).carry_out()


class _StoppedError(Exception):
    """Ctrl-C: what was under way is in the report already."""


class _Measurement:
    def __init__(
        self, client: Client, subject: Subject, plan: Plan, watcher: Watcher, wire: Wire, singles: Sequence[bytes],
        batches: Sequence[bytes], size: int,
    ) -> None:  # fmt: skip
        self._client, self._subject, self._plan, self._watcher, self._wire = client, subject, plan, watcher, wire
        self._singles, self._batches, self._size = len(singles), len(batches), size
        self._first: dict[int, Any] = {}
        self._interrupted = False
        self._cpu: float | None = None
        place = subject.place
        self.report = Report(About(
            model=place.model, url=place.url, server=subject.command, workers=subject.workers, wire=wire.title,
            inputs=subject.inputs.origin, requests=len(singles), request_bytes=sum(map(len, singles)) // len(singles),
            cores=_cores(), client=_client_title(wire), setsail=__version__, signature=subject.asked,
        ))  # fmt: skip

    def carry_out(self) -> Report:
        with self._on_interrupt():
            try:
                self._check()
                for mode in MODES:
                    if mode in self._plan.modes:
                        {"closed": self._closed, "open": self._open, "offline": self._offline}[mode]()
            except _StoppedError:
                self.report.interrupted = True
            except SetsailError:  # an interrupt may have caught the client while it was starting
                if not self._interrupted:
                    raise
                self.report.interrupted = True
        self.report.notes += notes(self.report, self._subject.pid)
        return self.report

    @contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends what is being measured, the second everything."""

        def handler(number: int, frame: FrameType | None) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            self._client.interrupt()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # -- the phases ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Every request twice, alone: it must be answered, and equally."""
        self._watcher.phase(f"checking the answers to {self._singles + self._batches} requests")
        count = self._singles + (self._batches if "offline" in self._plan.modes else 0)
        for _ in range(2):
            outcome = self._client.carry_out(Order("ask", 0, count, timeout=60.0))
            self._reached(outcome)
            for answer in outcome.answers:
                self._look(answer)
            if outcome.cut or self._interrupted:
                raise _StoppedError

    def _look(self, answer: Answer) -> None:
        if answer.code not in ("200", "OK"):
            said = answer.body[:400].decode(errors="replace") or answer.headers.get("grpc-message", "")
            raise SetsailError("bench.answers", f"the server answers {answer.code} to request {answer.request}",
                               value=said or None, expected="an answer")  # fmt: skip
        try:
            value = self._wire.read(answer)
        except (ValueError, KeyError, TypeError, SetsailError) as fault:
            raise SetsailError("bench.answers", f"the answer to request {answer.request} is not one of this wire",
                               value=str(fault)) from fault  # fmt: skip
        if not agree(value, self._first.setdefault(answer.request, value)):
            raise SetsailError("bench.answers", f"request {answer.request}, sent twice, is answered differently",
                               value=value)  # fmt: skip

    def _reached(self, outcome: Outcome) -> None:
        if outcome.fault:
            url = self._subject.place.url
            raise SetsailError("bench.target", f"{url} does not answer: {outcome.fault}", field="TARGET", value=url)

    def _closed(self) -> None:
        for clients in self._plan.clients:
            title = f"closed loop, {clients} client{'s' * (clients > 1)}"
            self._phase("closed", title, Order("closed", 0, self._singles, clients, self._plan.seconds, self._warm()))

    def _warm(self) -> float:
        return min(1.0, self._plan.seconds * _WARM)

    def _open(self) -> None:
        closed = [p for p in self.report.phases if p.kind == "closed" and p.latency.count]
        peak = max((p.throughput for p in closed), default=0.0)
        self.report.target = self._plan.target or None
        if not self.report.target and closed:
            alone = min(closed, key=lambda p: p.clients).latency
            self.report.target = max(_LEAST_TARGET, _LENIENT * (alone.p50 or alone.max or 0.0))
        if self._plan.rate:
            self._at_rate(self._plan.rate)
            return
        if not peak:
            self.report.notes.append("no open loop: the closed loop had no answers to take a rate from")
            return
        search = Search(peak)
        while search.next is not None:
            search.tell(bool(self._at_rate(search.next).kept))

    def _at_rate(self, rate: float) -> Phase:
        warm, seconds = self._warm(), self._plan.seconds
        times = arrivals(rate, warm + seconds).tobytes()
        order = Order("open", 0, self._singles, _OPEN_CLIENTS, seconds, warm, times)
        return self._phase("open", f"open loop, {figure(rate)} requests/s", order, rate)

    def _offline(self) -> None:
        if not self._batches:
            self.report.notes.append("no offline measurement: the model's inputs have no batch dimension")
            return
        order = Order("closed", self._singles, self._batches, _BATCH_CLIENTS, self._plan.seconds, self._warm())
        self._phase("offline", f"offline, {self._size} rows a request", order)

    def _phase(self, kind: str, title: str, order: Order, offered: float | None = None) -> Phase:
        self._watcher.phase(title)
        rows = self._size if kind == "offline" else 1

        def told(fraction: float, count: int) -> None:
            self._watcher.update(fraction, count * rows)

        outcome = self._client.carry_out(order, began=self._began, told=told)
        self._reached(outcome)
        phase = self._of(kind, order, outcome, rows, offered)
        if phase.seconds > 0 and (phase.latency.count or phase.errors):
            self.report.phases.append(phase)
            self._watcher.done(phase)
        if outcome.cut or self._interrupted:
            raise _StoppedError
        return phase

    def _began(self) -> None:
        self._cpu = None if self._subject.pid is None else usage.cpu_seconds(self._subject.pid)

    def _of(self, kind: str, order: Order, outcome: Outcome, rows: int, offered: float | None) -> Phase:
        latencies = np.frombuffer(outcome.latencies)
        failed = sum(outcome.errors.values())
        pid, cpu, lag = self._subject.pid, None, np.sort(np.frombuffer(outcome.lag))
        if pid is not None and self._cpu is not None and (after := usage.cpu_seconds(pid)) is not None:
            cpu = (after - self._cpu) / max(1, len(latencies) + failed) * 1000
        target = self.report.target if kind == "open" else None
        return Phase(
            kind, order.clients, offered, rows, outcome.seconds,
            outcome.in_time / outcome.seconds if outcome.seconds else 0.0, summarise(latencies), buckets(latencies),
            outcome.errors, None if target is None else keeps(latencies, failed, target), outcome.compared,
            sum(not self._agrees(answer) for answer in outcome.differing), outcome.client_cpu, outcome.client_wait, cpu,
            None if pid is None else usage.memory_mb(pid), percentile(lag, 0.99), outcome.cut,
        )  # fmt: skip

    def _agrees(self, answer: Answer) -> bool:
        try:
            return agree(self._wire.read(answer), self._first[answer.request])
        except (ValueError, KeyError, TypeError, SetsailError):
            return False


def notes(report: Report, pid: int | None) -> list[str]:
    """What a reader must know before believing the figures."""
    said = []
    busy = [p for p in report.phases if p.client_cpu > _BUSY]
    if busy:
        most = max(p.client_cpu for p in busy)
        which = ", ".join(dict.fromkeys(f"{p.kind} {p.clients}" for p in busy))
        said.append(f"the client was the bottleneck ({which}: up to {most:.0%} of a core): the server can do more")
    waited = max((p.client_wait for p in report.phases), default=0.0)
    if waited > _STARVED:
        said.append(f"the client had to wait for a core up to {waited:.0%} of the time: latencies contain these waits")
    if report.unequal:
        said.append(f"{report.unequal} answers do not agree with the first one to the same request")
    if pid is not None:
        said.append(f"client and server share this machine's {_cores()} core{'s' * (_cores() > 1)}")
    late = max((p.lag_p99 or 0.0 for p in report.phases), default=0.0)
    if report.target is not None and late > _LATE * report.target:
        said.append(f"requests left up to {duration(late)} late (p99): the machine was busy with other things as well")
    if any(p.kind == "open" for p in report.phases) and report.best_rate == 0 and report.target is not None:
        said.append("no open-loop rate that was tried kept the target")
    return said


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _client_title(wire: Wire) -> str:
    python = f"Python {platform.python_version()}"
    if wire.channel == "grpc":
        return f"grpcio, {python}"
    return f"{'uvloop' if find_spec('uvloop') else 'asyncio'}, {python}"
