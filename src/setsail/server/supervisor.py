"""Several worker processes behind one port, started, replaced and ended without losing a request.

The supervisor answers no prediction. It opens the listening sockets and keeps them open as long as it lives, one a
slot, so that a connection waits in a slot's queue while its worker is replaced; it tells every worker whether all slots
have one that is ready, because readiness is told by the workers; it passes questions about all of them around
(`fleet.py` merges the answers), and it ends them in the one order in which nothing is lost:

1. everybody says not ready, and goes on answering for `drain_delay`;
2. the door is closed (`listeners.py`) while workers accept who is in the doorway;
3. every worker answers each connection once more, finishes what runs, reports, ends.

All of this happens in one thread around one selector, with no asyncio and no numpy, so that workers start at once.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server.channel import Answer, Ended, Everyone, Failed, Gate, Leaving, Message, Ready
from setsail.server.gatherings import Gatherings
from setsail.server.hands import DRAINING, READY, STARTING, Hand, Slot
from setsail.server.listeners import Doorway, bind, slots, url
from setsail.server.opening import Opening, Progress, is_repository, resolve
from setsail.server.settings import Settings, rows

__all__ = ["Supervisor"]

_LOG = logging.getLogger("setsail.server")
_GRACE: Final = 5.0  # seconds beyond `drain_timeout` after which a worker that does not end is killed
_LEAVE: Final = 0.5  # a service manager signals every process of a service: ours may be the next
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """What `Server` is, for `count` processes: `open` paths, `start`, `wait`, `close`; or use it with `with`."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.settings = settings
        self.stopped_by: signal.Signals | None = None
        self._count = count
        self._given: list[tuple[Path, str | None]] = []
        self._paths: list[tuple[str, str | None]] = []  # what workers open
        self._slots: list[Slot] = []
        self._hands: set[Hand] = set()
        self._phase = STARTING
        self._fault: SetsailError | None = None
        self._about: dict[str, Any] = {}
        self._rolling: list[Slot] = []
        self._doorway: Doorway | None = None
        self._gate = self._terminal = False
        self._deaths = 0
        self._selector = DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._inbox: deque[Callable[[], None]] = deque()
        self._bell, self._ear = socket.socketpair()
        self._admin: socket.socket | None = None
        self._admin_thread: Any = None
        self._ports: list[int] = []
        self._thread: Thread | None = None
        self._ends: list[Callable[[], object]] = []
        self._began, self._over = Event(), Event()
        self.gatherings = Gatherings(self._call, lambda: [s.hand for s in self._slots if s.hand and s.ready],
                                     lambda: self._hands)  # fmt: skip

    # -- models ----------------------------------------------------------------------------------------------------

    def open(self, path: Path, *, name: str | None = None, progress: Progress | None = None) -> list[Opening]:
        """Take a path; a source is packed now, once for all workers, which load it when they start.

        Raises:
            SetsailError: `source.missing`, and whatever packing raises.
        """
        opening = _opened(path, name, progress)
        self._given.append((path.absolute(), name))
        self._paths.append(_entry(opening))
        return [opening]

    def predict(self, X: Any, model: str | None = None) -> Any:
        """As `Server.predict`; one of the workers answers."""
        fleet = import_module("setsail.server.fleet")
        return fleet.predict(fleet.Fleet(self.gatherings.ask), X, model)

    def describe(self) -> dict[str, Any]:
        """Where it is and what it serves: the ready line of `setsail serve --json`."""
        return self._about | {"url": self.url, "admin_url": self.admin_url}

    # -- ports -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the data port; what was asked for until `start` has bound it."""
        port = self._ports[0] if self._ports else self.settings.port
        return url(self.settings.host, port, bool(self.settings.tls_cert))

    @property
    def admin_url(self) -> str | None:
        if self.settings.admin_port < 0:
            return None
        port = self._ports[1] if len(self._ports) > 1 else self.settings.admin_port
        return url(self.settings.admin_host, port, False)

    @property
    def pids(self) -> list[int]:
        """The processes that answer, by slot; a slot whose worker is not ready is left out."""
        return [slot.hand.pid for slot in self._slots if slot.hand is not None and slot.ready]

    def start(self) -> Supervisor:
        """Bind the ports, start the workers, wait until all are ready.

        Raises:
            SetsailError: `port.in_use` or `setting.value` before anything was started; what keeps a worker from it.
        """
        settings = self.settings
        try:
            found = slots(settings.host, settings.port, "--port", self._count)
            self._slots = [Slot(number, listener) for number, listener in enumerate(found)]
            self._ports = [found[0].getsockname()[1]]
            if settings.admin_port >= 0:
                self._admin = bind(settings.admin_host, settings.admin_port, "--admin-port")
                self._ports.append(self._admin.getsockname()[1])
                self._selector.register(self._admin, EVENT_READ, self._serve_admin)
            self._ear.setblocking(False)
            self._selector.register(self._ear, EVENT_READ, self._hear)
            for slot in self._slots:
                slot.hand = self._spawn(slot)
            self._thread = Thread(target=self._run, name="setsail-supervisor", daemon=True)
            self._thread.start()
            self._began.wait()
            if self._fault is not None:
                raise self._fault
        except BaseException:
            self.close()
            raise
        return self

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM, then drain; a second one ends at once. SIGHUP restarts workers in turn.

        Call from the main thread.

        Raises:
            SetsailError: `server.worker` when workers end again and again.
        """
        before = {s: signal.signal(s, self._on_signal) for s in _SIGNALS}
        # A terminal that is closed says SIGHUP too, and means the end, unless it was told (nohup) that it does not.
        self._terminal = before[signal.SIGHUP] is not signal.SIG_IGN and _has_terminal()
        try:
            while not self._over.wait(3600):
                pass
            self.close()
            if self._fault is not None:
                raise self._fault
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if number == signal.SIGHUP and not (self._terminal and not _has_terminal()):
            self._call(self.restart)
            return
        if self.stopped_by is not None:
            self._kill()
            raise SystemExit(128 + number)
        self.stopped_by = signal.Signals(number)
        self._call(self._end)

    def close(self) -> None:
        """End all workers in good order; those that are still starting at once."""
        if self._thread is not None and self._thread.is_alive():
            self._call(self._end)
            self._thread.join(self.settings.drain_delay + 2 * (self.settings.drain_timeout + _GRACE))
        self._kill()
        if self._admin_thread is not None:
            self._admin_thread.close()
        self._selector.close()
        for made in (*(slot.listener for slot in self._slots), self._bell, self._ear, self._admin):
            if made is not None:
                made.close()
        while self._ends:
            self._ends.pop()()

    def at_end(self, call: Callable[[], object]) -> None:
        """Have something called when the server is closed."""
        self._ends.append(call)

    def _kill(self) -> None:
        for hand in list(self._hands):
            hand.signal(signal.SIGKILL)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<setsail server at {self.url}: {self._count} workers>"

    # -- the loop --------------------------------------------------------------------------------------------------

    def _call(self, call: Callable[[], None]) -> None:
        """Have something done in the loop's thread. May be called from anywhere, signal handlers included."""
        self._inbox.append(call)
        with suppress(OSError):
            self._bell.send(b".", socket.MSG_DONTWAIT)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._timers, (monotonic() + seconds, next(self._order), call))

    def _run(self) -> None:
        try:
            while self._hands or self._phase != DRAINING:
                wait = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
                for key, _ in self._selector.select(wait):
                    key.data()
                while self._inbox:
                    self._inbox.popleft()()
                while self._timers and self._timers[0][0] <= monotonic():
                    heappop(self._timers)[2]()
                self._write()
        except Exception:
            _LOG.exception("the supervisor failed")
            self._fault = self._fault or SetsailError("server.fault", "the supervisor failed; the log says how")
            self._kill()
        finally:
            self.gatherings.close()
            self._began.set()
            self._over.set()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._ear.recv(4096)

    def _write(self) -> None:
        """Wait for room wherever something is unsent."""
        for hand in self._hands:
            if hand.line.fileno() >= 0:
                hand.line.flush()
                events = EVENT_READ | (EVENT_WRITE if hand.line.pending else 0)
                key = self._selector.get_key(hand.line)
                if key.events != events:
                    self._selector.modify(hand.line, events, key.data)

    def _serve_admin(self) -> None:
        """Somebody connects to the admin port for the first time: from here on a thread serves it."""
        assert self._admin is not None
        self._selector.unregister(self._admin)
        settings = self.settings
        self._admin_thread = import_module("setsail.server.admin_thread").AdminThread(
            self._admin, self.gatherings.ask, lambda: {"workers": len(self.pids), "worker_restarts": self._deaths},
            seconds=settings.drain_timeout, data_url=self.url, hosts=(settings.admin_host,),
            keyed=bool(settings.api_key_file), triton=settings.triton_metrics == "on",
        )  # fmt: skip

    # -- workers ---------------------------------------------------------------------------------------------------

    def _spawn(self, slot: Slot) -> Hand:
        values = {row.name: getattr(self.settings, row.name) for row in rows()}
        start = {
            "settings": values | {"workers": 1, "admin_port": -1, "drain_delay": 0.0}, "paths": tuple(self._paths),
            "controls": self.gatherings.controls(), "log": logging.getLogger().getEffectiveLevel(),
        }  # fmt: skip
        hand = Hand(slot, start)
        self._hands.add(hand)
        self._selector.register(hand.line, EVENT_READ, lambda: self._read(hand))
        return hand

    def _read(self, hand: Hand) -> None:
        messages = hand.line.receive()
        if messages is None:
            self._selector.unregister(hand.line)
            hand.line.close()
            self._reap(hand, monotonic() + _GRACE)
            return
        for message in messages:
            self._on_message(hand, message)

    def _on_message(self, hand: Hand, message: Message) -> None:
        if isinstance(message, Ready):
            self._on_ready(hand, message)
        elif isinstance(message, Failed):
            hand.fault = message.fault.error()
        elif isinstance(message, Answer):
            self.gatherings.answered(hand, message)
        elif isinstance(message, Everyone):
            self.gatherings.pass_on(hand, message)
        elif isinstance(message, Ended):
            hand.counts = message.counts
            if not message.clean:
                _LOG.warning("%s: requests were still running after %d s", hand, self.settings.drain_timeout)
        elif isinstance(message, Leaving):
            self._later(_LEAVE, lambda: self._replace(hand))

    def _on_ready(self, hand: Hand, message: Ready) -> None:
        slot = hand.slot
        hand.became_ready(message.about, self._gate)
        self._about = message.about
        if slot.successor is hand:
            old, slot.hand, slot.successor = slot.hand, hand, None
            if old is not None:
                self._drain(old)
        self._look_at_gate()
        if self._phase == STARTING and all(s.ready for s in self._slots):
            self._phase = READY
            self._look_at_gate()
            self._began.set()

    def _look_at_gate(self) -> None:
        """Readiness tells the truth: everybody is not ready while a slot has nobody."""
        gate = self._phase == READY and all(slot.ready for slot in self._slots)
        if gate != self._gate:
            self._gate = gate
            for hand in self._hands:
                if hand.state == READY:
                    hand.line.send(Gate(gate))

    def _reap(self, hand: Hand, end: float) -> None:
        """Its channel is closed: wait for its end, kill it if that does not come."""
        how = hand.reaped()
        if how is None:
            if monotonic() >= end:
                hand.signal(signal.SIGKILL)
            self._later(0.002, lambda: self._reap(hand, end))
            return
        self._hands.discard(hand)
        self.gatherings.died(hand)
        self._on_death(hand, how)

    def _on_death(self, hand: Hand, how: str) -> None:
        slot, fault = hand.slot, hand.fault
        if self._phase == STARTING and fault is not None:
            self._give_up(fault)
        elif slot.successor is hand:
            slot.successor = None
            self._rolling.clear()
            _LOG.error("%s %s before it was ready%s; the old one stays", hand, how, f": {fault}" if fault else "")
        elif slot.hand is hand:
            slot.hand, slot.successor = slot.successor, None
            self._look_at_gate()
            if slot.hand is None and self._phase != DRAINING:
                self._replace_dead(hand, how)
        if self._phase == READY:
            self._roll()

    def _replace_dead(self, hand: Hand, how: str) -> None:
        slot, said = hand.slot, f": {hand.fault}" if hand.fault else ""
        self._deaths += 1
        wait = slot.patience.died(hand.lived())
        if wait is None:
            _LOG.error("%s %s%s", hand, how, said)
            self._give_up(SetsailError("server.worker", f"worker {slot.number} ended {slot.patience.deaths} times in a "
                                       f"row; the last one {how}", value=hand.fault and str(hand.fault)))  # fmt: skip
            return
        _LOG.warning("%s %s%s; another is started%s", hand, how, said, f" in {wait:g} s" if wait else "")
        self._later(wait, lambda: self._fill(slot))

    def _fill(self, slot: Slot) -> None:
        if slot.hand is None and self._phase != DRAINING:
            slot.hand = self._spawn(slot)

    def _give_up(self, fault: SetsailError) -> None:
        self._fault = self._fault or fault
        self._end()

    # -- replacing those that live -----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Replace every worker, one slot after the other; each is ready before the one it replaces drains.

        Paths are looked at again, and sources that changed are packed, before anything is replaced. May be called from
        any thread; returns at once.
        """
        Thread(target=self._look_again, name="setsail-restart", daemon=True).start()

    def _look_again(self) -> None:
        try:
            paths = [_entry(_opened(path, name)) for path, name in self._given]
        except SetsailError as fault:
            _LOG.error("no worker is replaced: %s", fault)
            return
        self._call(lambda: self._replace_all(paths))

    def _replace_all(self, paths: list[tuple[str, str | None]]) -> None:
        if self._phase == READY:
            self._paths = paths
            self._rolling = [*self._slots]
            self._roll()

    def _replace(self, hand: Hand) -> None:
        if self._phase == READY and hand.slot.hand is hand and hand.slot not in self._rolling:
            self._rolling.append(hand.slot)
            self._roll()

    def _roll(self) -> None:
        """The next of those to be replaced, when nobody is being replaced."""
        if any(hand.state == DRAINING or hand.slot.successor is hand for hand in self._hands):
            return
        while self._rolling:
            slot = self._rolling.pop(0)
            if slot.ready:
                slot.successor = self._spawn(slot)
                return

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._phase == DRAINING:
            return
        served, self._phase = self._phase == READY, DRAINING
        self._look_at_gate()
        for hand in self._hands:
            if hand.slot.successor is hand or not served:
                hand.signal(signal.SIGTERM)
                self._kill_later(hand, 2.0)
        self._later(self.settings.drain_delay if served else 0.0, self._shut)

    def _shut(self) -> None:
        if self._doorway is None:
            listeners = [slot.listener for slot in self._slots]
            self._doorway = Doorway(listeners, monotonic(), self.settings.drain_timeout)
        if not self._doorway.empty(monotonic()) and any(hand.state == READY for hand in self._hands):
            self._later(0.002, self._shut)
            return
        for hand in self._hands:
            if hand.state == READY:
                self._drain(hand)
            elif hand.state == STARTING:
                hand.signal(signal.SIGTERM)

    def _drain(self, hand: Hand) -> None:
        hand.drain(replaced=self._phase == READY)
        self._kill_later(hand, self.settings.drain_timeout + _GRACE)

    def _kill_later(self, hand: Hand, seconds: float) -> None:
        self._later(seconds, lambda: hand.signal(signal.SIGKILL))


def _opened(path: Path, name: str | None, progress: Progress | None = None) -> Opening:
    """What a path stands for; a repository stands for itself."""
    return Opening(path) if is_repository(path) else resolve(path, name=name, progress=progress)


def _entry(opening: Opening) -> tuple[str, str | None]:
    return str(opening.path.absolute()), opening.name


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
