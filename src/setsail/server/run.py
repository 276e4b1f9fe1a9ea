"""A server: a house, a data port and an admin port, in one process.

The ports are bound in the caller's thread, so that a taken port is an error before anything answers; the event loop
runs in a thread of its own, so that a notebook and the command line use the same class. What stands behind the data
port is uvicorn for now; it sees only the ASGI application.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import uvicorn

from setsail.catalog import Index, Metadata, ModelMetadata, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols.curl import curl_lines
from setsail.server.asgi import Application
from setsail.server.lazy import Lazy
from setsail.server.opening import Opening, Progress, is_repository, pack_source, resolve
from setsail.server.settings import Settings
from setsail.serving.house import House
from setsail.serving.model import predict_rows
from setsail.serving.repository import Repository

__all__ = ["Server", "data_application"]

_LOG = logging.getLogger("setsail.server")
_BACKLOG: Final = 2048


class Server:
    """Models behind two ports. `open` them, `start`, and `close` when done; or use it as a context manager.

    Example::

        with Server(Settings(port=0)) as server:
            server.open(Path("credit.setsail"))
            server.start()
            print(server.url)
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.house = House(threads=self.settings.threads)
        self.stopped_by: signal.Signals | None = None
        self._repositories: list[Repository] = []
        self._sockets: list[socket.socket] = []
        self._ports: list[int] = []
        self._servers: list[_Uvicorn] = []
        self._thread: Thread | None = None
        self._app: Application | None = None
        self._over = Event()

    # -- models --------------------------------------------------------------------------------------------------

    def open(self, path: Path, *, name: str | None = None, progress: Progress | None = None) -> list[Opening]:
        """Load what a path stands for, and wait until it is ready.

        Args:
            name: instead of the manifest's; not for a repository, whose directories are the names.
            progress: told a line for every stage of packing a source.

        Raises:
            SetsailError: what keeps the model from being ready; a repository is refused only when nothing in it loads.
        """
        if not is_repository(path):
            opening = resolve(path, name=name, progress=progress)
            self.house.load(opening.path, opening.name)
            return [opening]

        def pack(source: Path) -> Path:
            return pack_source(source, progress=progress)[0]

        repository = Repository(self.house, path, poll=self.settings.repository_poll, pack=pack)
        faults = repository.open()
        self._repositories.append(repository)
        if faults and not self._ready() and not self.settings.repository_poll:
            raise faults[0][1]
        return [Opening(place, note=f"not loaded: {fault}") for place, fault in faults]

    def _ready(self) -> tuple[VersionStatus, ...]:
        answer: tuple[VersionStatus, ...] = self.house.answer(Index(ready_only=True))
        return answer

    def predict(self, X: Any, model: str | None = None) -> Any:
        """Answer rows like `setsail.load(path).predict`, by the same path as the wires'.

        Args:
            model: which one; may be left out when there is only one.
        """
        names = list(dict.fromkeys(status.name for status in self._ready()))
        if model is None and len(names) != 1:
            raise SetsailError("model.unknown", "not exactly one model is served", field="model",
                               expected=", ".join(names) or "a model")  # fmt: skip
        return predict_rows(self.house, ModelRef(model or names[0]), X)

    def describe(self) -> dict[str, Any]:
        """Where it is and what it serves: the ready line of `setsail serve --json`."""
        models, keyed = [], bool(self.settings.api_key_file)
        for status in self._ready():
            meta: ModelMetadata = self.house.answer(Metadata(ModelRef(status.name, status.version)))
            models.append({
                "name": status.name, "version": status.version, "signature": str(meta.signature),
                "curl": curl_lines(meta, self.url, pinned=not status.default, keyed=keyed),
            })  # fmt: skip
        return {"url": self.url, "admin_url": self.admin_url, "models": models}

    # -- ports ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the data port; what was asked for until `start` has bound it."""
        port = self._ports[0] if self._ports else self.settings.port
        return _url(self.settings.host, port, bool(self.settings.tls_cert))

    @property
    def admin_url(self) -> str | None:
        if self.settings.admin_port < 0:
            return None
        port = self._ports[1] if len(self._ports) > 1 else self.settings.admin_port
        return _url(self.settings.admin_host, port, False)

    def start(self) -> Server:
        """Bind the ports and answer in a background thread. Raises `port.in_use` or `setting.value`."""
        settings = self.settings
        app = self._app = data_application(self.house, settings)
        try:
            self._sockets.append(_bind(settings.host, settings.port, "--port"))
            self._servers.append(_Uvicorn(_config(app, settings, _tls(settings))))
            if settings.admin_port >= 0:
                self._sockets.append(_bind(settings.admin_host, settings.admin_port, "--admin-port"))
                admin = Lazy("setsail.server.admin:application", self.house, data_url=lambda: self.url,
                             traffic=app.traffic, hosts=(settings.admin_host,),
                             keyed=bool(settings.api_key_file))  # fmt: skip
                self._servers.append(_Uvicorn(_config(admin, settings, {})))
        except BaseException:
            self.close()
            raise
        self._ports = [bound.getsockname()[1] for bound in self._sockets]
        self._thread = Thread(target=self._loop, name="setsail-server", daemon=True)
        self._thread.start()
        while not all(server.started for server in self._servers) and self._thread.is_alive():
            self._over.wait(0.001)
        return self

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM, then drain; a second signal ends at once. Call from the main thread."""
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self._over.wait(3600):
                pass
            self.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.stopped_by is not None:
            raise SystemExit(128 + number)
        self.stopped_by = signal.Signals(number)
        self._over.set()

    def close(self) -> None:
        """Stop accepting, let running requests end, unload."""
        self._over.set()
        for repository in self._repositories:
            repository.close()
        for server in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(self.settings.drain_timeout + 5)
        for bound in self._sockets:
            bound.close()
        if self._app is not None:
            self._app.close()
        if not self.house.close(self.settings.drain_timeout):
            _LOG.warning("requests were still running after %d s", self.settings.drain_timeout)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(f"{s.name}/{s.version}" for s in self._ready()) or "no models"
        return f"<setsail server at {self.url}: {names}>"

    def _loop(self) -> None:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve())
        self._over.set()

    async def _serve(self) -> None:
        pairs = zip(self._servers, self._sockets, strict=True)
        await asyncio.gather(*(server.serve(sockets=[bound]) for server, bound in pairs))


def data_application(house: House, settings: Settings, close: Callable[[], object] | None = None) -> Application:
    """The data port's ASGI application with the settings that concern it."""
    keys: tuple[str, ...] = ()
    if settings.api_key_file:
        keys = tuple(line.strip() for line in Path(settings.api_key_file).read_text().splitlines() if line.strip())
        if not keys:
            raise SetsailError("setting.value", "the key file holds no key", field="--api-key-file",
                               value=settings.api_key_file, expected="one key a line")  # fmt: skip
    control = settings.model_control == "explicit"
    return Application(house, max_body=settings.max_body, control=control, api_keys=keys, close=close)


# -- uvicorn -----------------------------------------------------------------------------------------------------


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: two of them share one process, and signals are `Server.wait`'s."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Any, settings: Settings, tls: dict[str, Any]) -> uvicorn.Config:
    return uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", interface="asgi3", access_log=False, log_config=None,
        server_header=False, timeout_keep_alive=settings.idle_timeout, backlog=_BACKLOG,
        timeout_graceful_shutdown=settings.drain_timeout, **tls,
    )  # fmt: skip


def _tls(settings: Settings) -> dict[str, Any]:
    if not settings.tls_cert:
        return {}
    options: dict[str, Any] = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    if settings.tls_client_ca:
        options |= {"ssl_ca_certs": settings.tls_client_ca, "ssl_cert_reqs": int(ssl.CERT_REQUIRED)}
    return options


def _loop_factory() -> Any:
    """uvloop where it is installed, else asyncio's own."""
    try:
        return import_module("uvloop").new_event_loop
    except ImportError:
        return None


def _bind(host: str, port: int, flag: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as fault:
        bound.close()
        if fault.errno == errno.EADDRINUSE:
            advice = f"choose another: {flag} {_free(host)}, or {flag} 0 for any free one"
            what = f"port {port} of {host} is taken"
            raise SetsailError("port.in_use", what, field=flag, value=port, todo=advice) from fault
        raise SetsailError("setting.value", f"cannot listen on {host}:{port}", field=flag, value=str(fault),
                           expected="an address of this machine and a port it may use") from fault  # fmt: skip
    return bound


def _free(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _url(host: str, port: int, tls: bool) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if tls else ''}://{shown}:{port}"
