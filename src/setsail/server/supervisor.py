"""Several worker processes behind the same doors, started, replaced and ended without losing a request.

The supervisor answers no prediction. It opens the listening sockets and keeps them open as long as it lives, one a
door and slot, so that a connection waits in a slot's queue while its worker is replaced; it tells every worker whether
all slots have one that is ready, because readiness is told by the workers; it passes questions about all of them around
(`fleet.py` merges the answers), and it ends them in the one order in which nothing is lost:

1. everybody says not ready, and goes on answering for `drain_delay`;
2. the door is closed (`listeners.py`) while workers accept who is in the doorway;
3. every worker answers each connection once more, finishes what runs, reports, ends.

All of this (`crew.py`) happens in one thread around one selector (`loop.py`), with no asyncio and no numpy, so that
workers start at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server.crew import GRACE, Crew
from setsail.server.doors import Door, admin_port, doors, write_tokens
from setsail.server.listeners import bind, slots, url
from setsail.server.loop import Loop
from setsail.server.opening import Opening, Progress, is_repository, layout, resolve, trusted
from setsail.server.settings import Settings

__all__ = ["Supervisor"]

_LOG = logging.getLogger("setsail.server")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """What `Server` is, for `count` processes: `open` paths, `start`, `wait`, `close`; or use it with `with`."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.settings = settings
        self.stopped_by: signal.Signals | None = None
        self._count = count
        self._given: list[tuple[Path, str | None]] = []
        self._paths: list[tuple[str, str | None]] = []  # what workers open
        self._asks: list[tuple[str, bytes]] = []  # and what they do then
        self._crew: Crew | None = None
        self._loop = Loop()
        self._sockets: list[socket.socket] = []
        self.doors = doors(settings)
        self._ports: list[int] = []  # of the doors
        self._admin_port = admin_port(settings, (door.port for door in self.doors))
        self._admin: Any = None
        self._terminal = False
        self._thread: Thread | None = None
        self._ends: list[Callable[[], object]] = []
        self._began, self._over = Event(), Event()

    # -- models ----------------------------------------------------------------------------------------------------

    def open(self, path: Path, *, name: str | None = None, progress: Progress | None = None) -> list[Opening]:
        """Take a path; a source is packed now, once for all workers, which load it when they start.

        Raises:
            SetsailError: `source.missing`, and whatever packing raises.
        """
        opening = _opened(path, name, self.settings, progress)
        self._given.append((path.absolute(), name))
        self._paths.append(_entry(opening))
        theirs = layout(path, self.settings, name)
        return [opening, *(Opening(path, note=note) for note in (theirs.notes if theirs is not None else ()))]

    def do(self, ask: Any) -> None:
        """What another server's configuration asks for (`catalog.Control`): every worker does it, paths first."""
        self._asks.append(import_module("setsail.server.questions").encode(ask))

    def predict(self, X: Any, model: str | None = None) -> Any:
        """As `Server.predict`; one of the workers answers."""
        fleet = import_module("setsail.server.fleet")
        return fleet.predict(fleet.Fleet(self.crew.gatherings.ask), X, model)

    def describe(self) -> dict[str, Any]:
        """Where it is and what it serves: the ready line of `setsail serve --json`."""
        return self.crew.about | {"url": self.url, "admin_url": self.admin_url}

    # -- ports -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the first door; what was asked for until `start` has bound it."""
        port = self._ports[0] if self._ports else self.doors[0].port
        return url(self.settings.host, port, bool(self.settings.tls_cert))

    @property
    def admin_url(self) -> str | None:
        return url(self.settings.admin_host, self._admin_port, False) if self._admin_port >= 0 else None

    @property
    def crew(self) -> Crew:
        """The workers; there are none before `start`."""
        if self._crew is None:
            raise SetsailError("server.draining", "the server was not started")
        return self._crew

    def start(self) -> Supervisor:
        """Bind the ports, start the workers, wait until all are ready.

        Raises:
            SetsailError: `port.in_use` or `setting.value` before anything was started; what keeps a worker from it.
        """
        settings = self.settings
        admin: socket.socket | None = None
        try:
            write_tokens(self.doors, settings)
            found = [self._slots(door) for door in self.doors]
            if settings.admin_port >= 0:
                admin = bind(settings.admin_host, self._admin_port, "--admin-port")
                self._sockets.append(admin)
                self._admin_port = admin.getsockname()[1]
                self._loop.watch(admin, partial(self._serve_admin, admin))
            self._crew = Crew(self._loop, settings, list(zip(*found, strict=True)), self._paths, self._began.set,
                              asks=self._asks)  # fmt: skip
            self._crew.start()
            self._thread = Thread(target=self._run, args=(self._crew,), name="setsail-supervisor", daemon=True)
            self._thread.start()
            self._began.wait()
            if self._crew.fault is not None:
                raise self._crew.fault
            if admin is not None and any(model.get("watched") for model in self._crew.about.get("models", ())):
                self._loop.call(partial(self._serve_admin, admin))  # alarms are raised though nobody looks
        except BaseException:
            self.close()
            raise
        return self

    def _slots(self, door: Door) -> list[socket.socket]:
        """A door's sockets, one a worker."""
        bound = slots(door.host, door.port, door.flag, self._count)
        self._sockets += bound
        self._ports.append(bound[0].getsockname()[1])
        return bound

    def _serve_admin(self, bound: socket.socket) -> None:
        """Somebody connects to the admin port for the first time: from here on a thread serves it."""
        if self._admin is not None:
            return
        self._loop.forget(bound)
        settings, crew = self.settings, self.crew
        self._admin = import_module("setsail.server.admin_thread").AdminThread(
            bound, crew.gatherings.ask, lambda: {"workers": len(crew.pids), "worker_restarts": crew.deaths},
            seconds=settings.drain_timeout, watch=settings, data_url=self.url, hosts=(settings.admin_host,),
            keyed=bool(settings.api_key_file), triton=settings.triton_metrics == "on",
            table=self.doors[0].table,
        )  # fmt: skip

    # -- the loop's thread -------------------------------------------------------------------------------------------

    def _run(self, crew: Crew) -> None:
        try:
            self._loop.run(lambda: not crew.over, crew.write)
        except Exception:
            _LOG.exception("the supervisor failed")
            crew.fault = crew.fault or SetsailError("server.fault", "the supervisor failed; the log says how")
            crew.kill()
        finally:
            crew.gatherings.close()
            self._began.set()
            self._over.set()

    # -- signals, and the end ------------------------------------------------------------------------------------------

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
            if self.crew.fault is not None:
                raise self.crew.fault
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if number == signal.SIGHUP and not (self._terminal and not _has_terminal()):
            self._loop.call(self.restart)
            return
        if self.stopped_by is not None:
            self.crew.kill()
            raise SystemExit(128 + number)
        self.stopped_by = signal.Signals(number)
        self._loop.call(self.crew.end)

    def restart(self) -> None:
        """Replace every worker, one slot after the other; each is ready before the one it replaces drains.

        Paths are looked at again, and sources that changed are packed, before anything is replaced. May be called from
        any thread; returns at once.
        """
        Thread(target=self._look_again, name="setsail-restart", daemon=True).start()

    def _look_again(self) -> None:
        try:
            paths = [_entry(_opened(path, name, self.settings)) for path, name in self._given]
        except SetsailError as fault:
            _LOG.error("no worker is replaced: %s", fault)
            return
        self._loop.call(lambda: self.crew.replace_all(paths))

    def close(self) -> None:
        """End all workers in good order; those that are still starting at once."""
        if self._crew is not None:
            if self._thread is not None and self._thread.is_alive():
                self._loop.call(self._crew.end)
                self._thread.join(self.settings.drain_delay + 2 * (self.settings.drain_timeout + GRACE))
            self._crew.kill()
        if self._admin is not None:
            self._admin.close()
        self._loop.close()
        for bound in self._sockets:
            bound.close()
        while self._ends:
            self._ends.pop()()

    def at_end(self, call: Callable[[], object]) -> None:
        """Have something called when the server is closed."""
        self._ends.append(call)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<setsail server at {self.url}: {self._count} workers>"


def _opened(path: Path, name: str | None, settings: Settings, progress: Progress | None = None) -> Opening:
    """What a path stands for; a repository, ours or another server's, stands for itself."""
    if layout(path, settings) is not None:
        return Opening(path, name)
    if is_repository(path):
        return Opening(path)
    return resolve(path, name=name, progress=progress, trust=trusted(settings))


def _entry(opening: Opening) -> tuple[str, str | None]:
    return str(opening.path.absolute()), opening.name


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
