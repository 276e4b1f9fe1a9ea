"""A server: a house, its doors and an admin port, in one process.

The ports are bound in the caller's thread, so that a taken port is an error before anything answers; the event loop
runs in a thread of its own, so that a notebook and the command line use the same class. Behind each door (`doors.py`;
one, the data port, unless other servers are imitated) stands our own engine (`plane.py`), behind the admin port an
ordinary web framework (`admin_port.py`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from setsail.catalog import Control, Index, Metadata, ModelMetadata, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.monitor.meter import Meter
from setsail.protocols.curl import curl_lines
from setsail.server import provisions
from setsail.server.admin_port import AdminPort
from setsail.server.dispatch import Answering, Desk
from setsail.server.doors import TOKENS, Door, about, admin_port, asks_for_tokens, doors, write_tokens
from setsail.server.exposition import Observed
from setsail.server.grpc_engines import grpc_engine
from setsail.server.lazy import Lazy
from setsail.server.listeners import bind, url
from setsail.server.marks import Tracing, open_tracer
from setsail.server.opening import Opening, Progress, is_repository, layout, resolve, trusted
from setsail.server.origins import NO_ORIGINS
from setsail.server.plane import Plane
from setsail.server.settings import Settings
from setsail.server.watched import Watching
from setsail.serving.house import House
from setsail.serving.intake import Intake
from setsail.serving.model import predict_rows
from setsail.serving.repository import Repository
from setsail.serving.turns import Turns
from setsail.serving.watchers import Watchers
from setsail.signature import DEFAULT

if TYPE_CHECKING:
    from setsail.server.metrics import Counted

__all__ = ["Server"]

_LOG = logging.getLogger("setsail.server")
_JUDGE: Final = "setsail.server.verdicts"
_INITIAL: Final = "setsail.server.initial"
_APPS: Final = "setsail.server.apps"
_QUIET: Final = 1.0  # see Plane.drain


class Server:
    """Models behind their ports. `open` them, `start`, and `close` when done; or use it as a context manager.

    Example::

        with Server(Settings(port=0)) as server:
            server.open(Path("credit.setsail"))
            server.start()
            print(server.url)

    Args:
        listeners: a socket for every door that somebody else has bound and will close; without any, it binds them.

    Attributes:
        answering: what clients ask but predictions; the house, unless there are other processes.
        counted: what was counted here; or everywhere, where there are other processes.
        judges: whether canaries are judged here (`verdicts.py`).
    """

    def __init__(self, settings: Settings | None = None, listeners: Sequence[socket.socket] = ()) -> None:
        self.settings = settings or Settings()
        self.meter = Meter()
        share = self.settings.weights_cache == "auto"
        self.house = House(
            threads=self.settings.threads, share_weights=share, meter=self.meter, poll=self.settings.repository_poll,
            watchers=Watchers(self.settings.watch, self.settings.watch_client_rows),
            pack=self._packed, host=lambda path: import_module(_APPS).app(path, None, self.settings),
            room=self.settings.queue_rows,
        )  # fmt: skip
        self.house.management.at_start = True
        for folder in self.settings.model_store.split(","):
            if folder.strip():
                self.house.management.store.allow(Path(folder.strip()))
        self.watching = Watching(self.meter, self.settings, when=lambda: self.house.watchers.some)
        self.answering: Answering = self.house
        self.counted: Counted = self.meter
        self.judges = True
        self.stopped_by: signal.Signals | None = None
        self._repositories: list[Repository] = []
        self._inherited = list(listeners)
        self._sockets: list[socket.socket] = []
        self.doors = doors(self.settings)
        self._ports: list[int] = []  # of the doors
        self._admin_port = admin_port(self.settings, (door.port for door in self.doors))
        self._desks: list[Desk] = []
        self._planes: list[Plane] = []
        self._admin: AdminPort | None = None
        self._grpc: Any = None  # grpcio's engine, where it was chosen
        self._fault: SetsailError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._stop: asyncio.Event | None = None
        self._ends: list[Callable[[], object]] = []
        self._began, self._over = Event(), Event()
        self._gate, self._quiet, self._whole = True, 0.0, True

    # -- models --------------------------------------------------------------------------------------------------

    def open(self, path: Path, *, name: str | None = None, progress: Progress | None = None) -> list[Opening]:
        """Load what a path stands for, and wait until it is ready.

        Args:
            name: instead of the manifest's; not for a repository, whose directories are the names.
            progress: told a line for every stage of packing a source.

        Raises:
            SetsailError: what keeps the model from being ready; a repository is refused only when nothing in it loads,
                and with `setting.value` when it is given a name.
        """
        theirs = layout(path, self.settings, name, progress)
        if theirs is None and not is_repository(path):
            opening = resolve(path, name=name, progress=progress, trust=trusted(self.settings))
            self.house.load(opening.path, opening.name)
            return [opening]
        if theirs is None and name is not None:
            raise SetsailError("setting.value", f"{path} is a repository, whose directories are its models' names",
                               field="--name", value=name,
                               todo="rename the directory, or give the path of the one model")  # fmt: skip

        def pack(source: Path) -> Path:
            return self._packed(source, progress)

        self.house.management.store.allow(path)
        repository = Repository(self.house, path, poll=self.settings.repository_poll, pack=pack)
        if theirs is not None:
            repository.scan = theirs.scan
        faults = repository.open()
        self._repositories.append(repository)
        if faults and not self._ready() and not self.settings.repository_poll:
            raise faults[0][1]
        told = [Opening(path, note=note) for note in (theirs.notes if theirs is not None else ())]
        return told + [Opening(place, note=f"not loaded: {fault}") for place, fault in faults]

    def _packed(self, source: Path, progress: Progress | None = None) -> Path:
        """What a source is packed into; code stays where it is."""
        return resolve(source, progress=progress, trust=trusted(self.settings)).path

    def do(self, ask: Control) -> None:
        """What another server's configuration asks for, once paths are open. Raises what it raises."""
        self.house.answer(ask, control=True)

    def _ready(self) -> tuple[VersionStatus, ...]:
        answer: tuple[VersionStatus, ...] = self.house.answer(Index(ready_only=True))
        return answer

    def predict(self, X: Any, model: str | None = None, signature: str = DEFAULT) -> Any:
        """Answer rows like `setsail.load(path).predict`, by the same path as the wires'.

        Args:
            model: which one; may be left out when there is only one.
            signature: which of the model's, where it has several.
        """
        names = list(dict.fromkeys(status.name for status in self._ready()))
        if model is None and len(names) != 1:
            raise SetsailError("model.unknown", "not exactly one model is served", field="model",
                               expected=", ".join(names) or "a model")  # fmt: skip
        return predict_rows(self.house.answer, ModelRef(model or names[0]), X, signature)

    def describe(self) -> dict[str, Any]:
        """Where it is and what it serves: the ready line of `setsail serve --json`."""
        models, keyed = [], bool(self.settings.api_key_file)
        wires = {wire.name for wire in self.doors[0].table().wires}
        for status in self._ready():
            meta: ModelMetadata = self.house.answer(Metadata(ModelRef(status.name, status.version)))
            lines = curl_lines(meta, self.url, pinned=not status.default, keyed=keyed)
            models.append({
                "name": status.name, "version": status.version, "signature": str(meta.signature),
                "watched": self.house.watchers.watch(status.name, status.version) is not None,
                "curl": {wire: line for wire, line in lines.items() if wire in wires},
            })  # fmt: skip
            if meta.others:
                models[-1]["others"] = {name: str(other.signature) for name, other in meta.others.items()}
        told = about(self.doors, self._numbers, self.settings)
        return {"url": self.url, "admin_url": self.admin_url, "doors": told, "models": models}

    # -- ports ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the first door; what was asked for until `start` has bound it."""
        return url(self.settings.host, self._numbers[0], bool(self.settings.tls_cert))

    @property
    def _numbers(self) -> list[int]:
        return self._ports or [door.port for door in self.doors]

    @property
    def admin_url(self) -> str | None:
        return url(self.settings.admin_host, self._admin_port, False) if self._admin_port >= 0 else None

    @property
    def grpc_target(self) -> str:
        """Where gRPC is answered, as its clients want to hear it: an address and a port."""
        if self._grpc is not None:
            return str(self._grpc.target)
        return self.url.partition("://")[2]

    @property
    def ready_gate(self) -> bool:
        """False makes readiness say no, whatever the models' states: other parts of the server are missing."""
        return self._gate

    @ready_gate.setter
    def ready_gate(self, ready: bool) -> None:
        self._gate = ready
        for desk in self._desks:
            desk.ready = ready

    def start(self) -> Server:
        """Bind the ports and answer in a background thread. Raises `port.in_use` or `setting.value`."""
        settings = self.settings
        self.house.management.at_start = False
        try:
            tls = provisions.tls(settings)
            if tracer := open_tracer(settings):
                self.at_end(tracer.close)
            if not self._inherited:
                write_tokens(self.doors, settings)
            self._desks = [self._desk(door, tracer) for door in self.doors]
            data = self._inherited or [self._bind(door.host, door.port, door.flag) for door in self.doors]
            self._ports = [bound.getsockname()[1] for bound in data]
            if settings.admin_port >= 0:
                bound = self._bind(settings.admin_host, self._admin_port, "--admin-port")
                self._admin_port = bound.getsockname()[1]
                admin = Lazy("setsail.server.admin:application", self.house, data_url=lambda: self.url,
                             meter=self.meter, hosts=(settings.admin_host,),
                             keyed=bool(settings.api_key_file), triton=settings.triton_metrics == "on",
                             table=self.doors[0].table, watching=self.watching)  # fmt: skip
                self._admin = AdminPort(admin, bound, settings.drain_timeout)
            if engine := grpc_engine(settings.grpc_engine):
                self._grpc = engine(self._desks[0], settings, shared=bool(self._inherited))
        except BaseException:
            self.close()
            raise
        if self.settings.route:
            import_module(_INITIAL).begin(self.house, self.settings.route)
        if self.judges:
            self.house.traffic.on_route = self._judge
            for name in [name for name, versions in self.house.table.models.items() if versions.picker is not None]:
                self._judge(name)
        self._thread = Thread(target=self._run, args=(data, tls), name="setsail-server", daemon=True)
        self._thread.start()
        self._began.wait()
        if self._fault is not None:
            self.close()
            raise self._fault
        if not self._inherited:
            self.watching.start()
        return self

    def _judge(self, name: str) -> None:
        """The first route has come: canaries are judged from now on."""
        judge = import_module(_JUDGE).Judge(self.answering, self.counted)
        self.house.traffic.on_route = judge.wake
        self.at_end(judge.close)
        judge.wake(name)

    def _desk(self, door: Door, tracer: Tracing | None) -> Desk:
        """What a door answers: its own paths, out of the one house."""
        given = provisions.desk(self.settings)
        if door.control:
            given |= {"control": True, "origins": NO_ORIGINS}
        house = Observed(self.answering, self.counted)
        made: Callable[..., Desk] = Desk
        if asks_for_tokens(door, self.settings):
            made = import_module(TOKENS).desk(self.settings, door.role)
        desk = made(house, meter=self.meter, api_keys=provisions.keys(self.settings), tracer=tracer, table=door.table(),
                    grpc=door.grpc, **given)  # fmt: skip
        desk.ready = self._gate
        return desk

    def _bind(self, host: str, port: int, flag: str) -> socket.socket:
        bound = bind(host, port, flag)
        self._sockets.append(bound)
        return bound

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM, then drain; a second signal ends at once. Call from the main thread."""
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self._over.wait(3600):
                pass
            if self.stopped_by is signal.SIGTERM:
                self.drain()
            self.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.stopped_by is not None:
            raise SystemExit(128 + number)
        self.stopped_by = signal.Signals(number)
        self._over.set()

    def drain(self, *, ready: bool = False) -> bool:
        """Say not ready, go on answering for `drain_delay`, then answer everybody once more and stop.

        Args:
            ready: other processes go on: what a client hears about readiness stays true.

        Returns:
            False when something was still owed to a client after `drain_timeout`.
        """
        self.ready_gate = self.ready_gate and ready
        if self.settings.drain_delay:
            Event().wait(self.settings.drain_delay)
        self._quiet = _QUIET
        self._end_loop()
        return self._whole

    def close(self) -> None:
        """Stop accepting, let running requests end, unload."""
        self._over.set()
        self.watching.close()
        for repository in self._repositories:
            repository.close()
        self._end_loop()
        for bound in self._sockets:
            bound.close()
        for desk in self._desks:
            desk.close()
        if not self.house.close(self.settings.drain_timeout):
            _LOG.warning("requests were still running after %d s", self.settings.drain_timeout)
        while self._ends:
            self._ends.pop()()

    def at_end(self, call: Callable[[], object]) -> None:
        """Have something called when the server is closed."""
        self._ends.append(call)

    def _end_loop(self) -> None:
        if self._thread is None or self._loop is None or self._stop is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(self.settings.drain_timeout + 5)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(f"{s.name}/{s.version}" for s in self._ready()) or "no models"
        return f"<setsail server at {self.url}: {names}>"

    # -- on the loop's thread ------------------------------------------------------------------------------------

    def _run(self, data: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        try:
            with asyncio.Runner(loop_factory=provisions.loop_factory()) as runner:
                runner.run(self._serve(data, tls))
        except SetsailError as fault:
            self._fault = fault
        except Exception:
            _LOG.exception("the server's event loop failed")
        finally:
            self._began.set()
            self._over.set()

    async def _serve(self, data: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        loop = self._loop = asyncio.get_running_loop()
        intake = Intake(
            lambda: self.house.table, Turns(loop), rules=provisions.rules(self.settings), meter=self.meter,
            observers=self.house.observers, cache=provisions.cache(self.settings), canaries=self.house.traffic.canaries,
        )  # fmt: skip
        planes = self._planes
        for desk in self._desks:
            desk.intake = intake
            planes.append(Plane(desk, self.settings, loop, planes[0] if planes else None))
        self._stop = asyncio.Event()
        for plane, door, bound in zip(planes, self.doors, data, strict=True):
            await plane.listen([bound], None if door.guarded else tls, own=not self._inherited)
        if self._admin is not None:
            self._admin.start(loop)
        try:
            if self._grpc is not None:
                await self._grpc.start()
            self._began.set()
            await self._stop.wait()
            ending = [plane.drain(self.settings.drain_timeout, self._quiet) for plane in planes]
            if self._grpc is not None:
                ending.append(self._grpc.drain(self.settings.drain_timeout))
            self._whole = all(await asyncio.gather(*ending))
        finally:
            for plane in planes:
                plane.close()
            if self._admin is not None:
                await self._admin.close()
