"""The models of one process: loading and unloading them, and answering whatever a wire asks.

Requests read `house.table`; one loader thread at a time makes the next one. A load that fails touches nothing but its
own version's state, and a reload keeps the old runner answering until the new one was seen to be right. What the wires
ask (`catalog.py`, `messages.Request`) is answered by `answer`; who answers what is a table: what is only told
(`inquiries.py`), where requests go and what labels say of it (`traffic.py`), what is registered (`management.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Condition
from time import monotonic
from typing import Any, Final

from setsail.artifact import Artifact
from setsail.catalog import (
    Ask,
    Configure,
    Describe,
    Load,
    Locate,
    Register,
    RenewToken,
    Scale,
    SetDefault,
    Unload,
    Unregister,
)  # fmt: skip
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response
from setsail.monitor.meter import Meter
from setsail.routing import PutRoute, Reroute
from setsail.serving import loading
from setsail.serving.hosting import Host, Hosted, Source
from setsail.serving.inquiries import Inquiries, present
from setsail.serving.leases import Loaded
from setsail.serving.loader import Loader
from setsail.serving.management import Management, check_name
from setsail.serving.observers import Observer
from setsail.serving.predict import predict
from setsail.serving.rehearsal import Rehearsal
from setsail.serving.store import Packer, opened_at
from setsail.serving.table import Entry, Swap, Table
from setsail.serving.traffic import Traffic
from setsail.serving.watchers import Watchers

__all__ = ["DRAIN_SECONDS", "House"]

_LOG = logging.getLogger("setsail.serving")
DRAIN_SECONDS: Final = 30.0


class House:
    """Models by name and version.

    Args:
        threads: of one run of one model.
        share_weights: keep large weights on disk in the form that the runtime needs, so that processes share them.
        observers: told of every finished request (`observers.py`).
        meter: counts what runs; asked for statistics.
        watchers: note the rows of versions with a reference; by default nobody does.
        pack: turns a registered model that is no artifact into the path of one; code it leaves where it is.
        host: makes a model of a path that is code.
        poll: seconds between looks at configured base paths.
        room: rows that may wait for a model, where they wait (`intake.py`): only told.

    Attributes:
        management: registers, scales and configures; its `store` says which folders clients may name files in.
        traffic: says which version bare requests go to, and judges by labels.
    """

    def __init__(
        self, *, threads: int = 1, share_weights: bool = True, observers: Iterable[Observer] = (),
        meter: Meter | None = None, watchers: Watchers | None = None, pack: Packer | None = None,
        host: Host | None = None, poll: float = 0.0, room: int = 0,
    ) -> None:  # fmt: skip
        self.table = Table()
        self.observers = tuple(observers)
        meter = meter or Meter()
        self.watchers = watchers or Watchers()
        self.traffic = Traffic(self, meter, self.watchers)
        self._inquiries = Inquiries(lambda: self.table, meter)
        self._threads, self._share, self._host = threads, share_weights, host
        self._changed = Condition()  # held by whoever swaps the table; notified after
        self._loader = Loader()
        self._sources: dict[tuple[str, int], Source] = {}
        self._looks: list[Callable[[str], None]] = []
        self._rehearsals: dict[tuple[str, int], Rehearsal] = {}
        self._then: dict[tuple[str, int], Swap] = {}  # what becomes of a version that is leaving
        self.management = Management(self, pack=pack, host=host, poll=poll, room=room)

    # -- changing the table --------------------------------------------------------------------------------------

    def load(
        self, source: str | Source, name: str | None = None, version: int | None = None, *, wait: bool = True
    ) -> ModelRef | None:
        """Load an artifact, or load it again; or something else that answers (`hosting.py`).

        Args:
            name, version: instead of the manifest's. With both given and `wait` False, a version that cannot be read
                shows as failed; otherwise what it is called is known only once it was read.
            wait: False returns at once (None); the states of the version tell how it goes.

        Raises:
            SetsailError: with `wait`, whatever made the load fail; `model.name` or `repository.layout` at once.
        """
        check_name(name, version)
        known = Path(source) if isinstance(source, str) else source
        if name is not None and version is not None:
            self._sources[name, version] = known
            self._queue(name, version)
        return self._loader.submit(lambda: self._load(known, name, version), wait=wait)

    def unload(self, name: str, version: int | None = None, *, forget: bool = False, wait: bool = True) -> None:
        """Unload a version, or all of a name's: no new requests, gone when the last one ends.

        Args:
            forget: also forget where it came from, so that a later Load does not bring it back.
            wait: until no new request goes there; the last ones may still be running.

        Raises:
            SetsailError: `model.unknown` or `model.version`.
        """
        self.table.status(ModelRef(name, version))
        self._loader.submit(lambda: self._unload(name, version, forget), wait=wait)

    def park(self, name: str, version: int, source: Source, *, wait: bool = True) -> None:
        """Know a version without having it loaded; one that is there is unloaded, after its last request."""
        self._sources[name, version] = source
        self._loader.submit(lambda: self._leave(name, version, lambda table: table.parked(name, version)), wait=wait)
        if wait:
            self.wait(lambda table: _is(table, name, version, "parked"), DRAIN_SECONDS)

    def remove(self, name: str, version: int) -> None:
        """Unload a version, and know it no longer once its last request was answered, which is waited for."""

        def job() -> None:
            self._sources.pop((name, version), None)
            self._leave(name, version, lambda table: table.without(name, version))

        self._loader.submit(job, wait=True)
        self.wait(lambda table: table.get(name, version) is None, DRAIN_SECONDS)

    @property
    def sources(self) -> Mapping[tuple[str, int], Source]:
        """Every version that is known, and what it is loaded from."""
        return self._sources

    def refuse(self, name: str, version: int, fault: Exception) -> None:
        """Show a version as failed without loading it; one that is ready or on its way stays so."""
        with self._changed:
            if not any(
                _is(self.table, name, version, s) for s in ("ready", "restarting", "loading", "warming", "draining")
            ):
                self._queue(name, version)
                self._failed(name, version, fault)

    def rehearse(self, name: str, version: int, rehearsal: Rehearsal | None) -> None:
        """Have a version run something whenever it is loaded, before it answers; None takes that back."""
        if rehearsal is None:
            self._rehearsals.pop((name, version), None)
        else:
            self._rehearsals[name, version] = rehearsal

    def before_load(self, look: Callable[[str], None]) -> None:
        """Have `look(name)` called before a Load is answered, to find what came since (`repository.py`)."""
        self._looks.append(look)

    def label(self, name: str, label: str, version: int | None) -> None:
        """Point a label at a version; None takes the label away. Raises `model.unknown` or `model.version`."""
        self.swap(lambda table: table.labelled(name, label, version))

    def wait(self, done: Callable[[Table], bool], seconds: float) -> bool:
        """Wait until the table is as wanted; False when it was not in time."""
        end = monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(lambda: done(self.table), max(0.0, end - monotonic()))

    def close(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Unload everything and wait for the last requests; False when some were still running after that time.

        Loads that have not begun are dropped. A second call only waits.
        """
        self.management.close()
        self.watchers.close()
        self._loader.close(self._unload_everything, seconds)
        return self.wait(lambda table: not any(e.state in ("ready", "restarting", "draining") for e in table), seconds)

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- answering -----------------------------------------------------------------------------------------------

    def predict(self, request: Request, asker: object = None) -> Response:
        """Answer a prediction. Raises what `predict.predict` raises.

        Args:
            asker: who has its headers, for routes that look at them (`chosen.py`).
        """
        return predict(lambda: self.table, request, self.observers, asker)

    def answer(self, ask: Request | Ask, *, control: bool = True) -> Any:
        """Answer anything a wire decodes to; the type of the answer stands with each ask in `catalog.py`.

        Load and Unload block until they are done: call them from a thread that may wait.

        Args:
            control: whether this caller may load and unload.
        """
        return self._ANSWERS[type(ask)](self, ask, control)

    def _predict(self, ask: Request, control: bool) -> Response:
        return predict(lambda: self.table, ask, self.observers)

    def _ask(self, ask: Any, control: bool) -> Any:
        return self._inquiries.answer(ask)

    def _load_again(self, ask: Load, control: bool) -> None:
        """Every version of the name that this house has ever been given."""
        _allow(control)
        for look in self._looks:
            look(ask.name)
        sources = [(version, source) for (name, version), source in list(self._sources.items()) if name == ask.name]
        if not sources:
            raise SetsailError("model.unknown", "no model of this name is known", field="model", value=ask.name)
        faults = []
        for version, source in sources:
            try:
                self.load(source, ask.name, version)
            except SetsailError as fault:
                faults.append(fault)
        if faults:
            raise faults[0]

    def _unload_all(self, ask: Unload, control: bool) -> None:
        _allow(control)
        self.unload(ask.name)

    def _renew_token(self, ask: RenewToken, control: bool) -> None:
        raise SetsailError("request.path", "no tokens are asked for here", field="path", value="/token")

    def _direct(self, ask: Any, control: bool) -> Any:
        if isinstance(ask, Reroute | PutRoute):
            _allow(control)
        return self.traffic.answer(ask)

    def _manage(self, ask: Any, control: bool) -> Any:
        if not isinstance(ask, Describe):
            _allow(control)
        return self.management.answer(ask)

    _ANSWERS: Final[Mapping[type, Callable[..., Any]]] = {
        Request: _predict, RenewToken: _renew_token, Load: _load_again, Unload: _unload_all,
        **dict.fromkeys(Inquiries.ASKS, _ask), **dict.fromkeys(Traffic.ASKS, _direct),
        **dict.fromkeys((Locate, Register, Unregister, SetDefault, Scale, Describe, Configure), _manage),
    }  # fmt: skip

    # -- in the loader's thread -----------------------------------------------------------------------------------

    def _load(self, source: Source, name: str | None, version: int | None) -> ModelRef:
        if name is not None and version is not None and (name, version) not in self._sources:
            raise SetsailError("model.not_ready", f"version {version} of {name!r} was unloaded meanwhile", model=name)
        try:
            opened = opened_at(source, self._host) if isinstance(source, Path) else source
        except SetsailError as fault:
            if name is not None and version is not None:
                self._failed(name, version, fault)
            raise
        try:
            key = (name or opened.name, version or opened.version)
            known = self._sources.setdefault(key, source)
            if known != source and (name is None or version is None):
                raise SetsailError("repository.layout", f"version {key[1]} of {key[0]!r} is there twice",
                                   value=[str(known), str(source)], expected="different names or versions")  # fmt: skip
            self._bring_up(opened, *key)
            return ModelRef(*key)
        finally:
            if isinstance(source, Path) and isinstance(opened, Artifact):
                opened.close()  # a runner keeps nothing of the file

    def _bring_up(self, opened: Artifact | Hosted, name: str, version: int) -> None:
        if not self.wait(lambda table: not _is(table, name, version, "draining"), DRAIN_SECONDS):
            raise SetsailError("model.not_ready", f"version {version} of {name!r} is still answering its last requests")
        entry = self.table.get(name, version)
        old = entry.loaded if entry is not None and entry.state in ("ready", "restarting") else None
        if old is None:
            self._queue(name, version)
            self.swap(lambda table: table.moved(name, version, "loading"))
        try:
            loaded = self._open(opened, name, version)
        except Exception as fault:
            self._failed(name, version, fault)
            raise
        if old is None:
            self.swap(lambda table: table.moved(name, version, "ready", loaded=loaded))
        else:  # the old runner has answered until now, and ends with its last request
            self.swap(lambda table: table.reloaded(name, version, loaded))
            old.retire(lambda: None)
        if not isinstance(opened, Artifact):  # it may have fallen down before there was a table to say so
            self._look(name, version, loaded.runner)
        _LOG.info("%s version %d is ready (%s)", name, version, loaded.facts.variant)

    def _open(self, opened: Artifact | Hosted, name: str, version: int) -> Loaded:
        if not isinstance(opened, Artifact):
            hosted = opened.open(lambda runner: self._look(name, version, runner))
            if _is(self.table, name, version, "loading"):
                self.swap(lambda table: table.moved(name, version, "warming"))
            return hosted
        loaded = loading.open_runner(opened, threads=self._threads, share=self._share)
        watch = self.watchers.open(opened, name, version)
        if _is(self.table, name, version, "loading"):
            self.swap(lambda table: table.moved(name, version, "warming"))
        try:
            loading.warm(opened, loaded, threads=self._threads)
            if rehearsal := self._rehearsals.get((name, version)):
                rehearsal(name, loaded)
        except BaseException:
            loaded.close()
            raise
        loaded.watch = watch  # what it was warmed with is nobody's rows
        return loaded

    def _look(self, name: str, version: int, runner: Any) -> None:
        """A runner that may be down, or up again: called from any thread."""
        self.swap(lambda table: table.looked_at(name, version, runner, runner.down))

    def _unload(self, name: str, version: int | None, forget: bool = False) -> None:
        for entry in list(self.table.models[name].entries.values()):
            if version in (None, entry.version):
                self._end(entry)
                if forget:
                    self._sources.pop((name, entry.version), None)

    def _leave(self, name: str, version: int, then: Swap) -> None:
        """Unload a version, and change the table once more when it is gone."""
        with self._changed:
            entry = self.table.get(name, version)
            if entry is None or entry.state == "gone":
                self.swap(then)
                return
            self._then[name, version] = then
        self._end(entry)

    def _unload_everything(self) -> None:
        for name in self.table.models:
            self._unload(name, None)

    def _end(self, entry: Entry) -> None:
        def gone() -> None:
            with self._changed:  # nobody finds it between the two
                self.swap(lambda table: table.moved(entry.name, entry.version, "gone"))
                if then := self._then.pop((entry.name, entry.version), None):
                    self.swap(then)

        if entry.state in ("ready", "restarting"):
            self.swap(lambda table: table.moved(entry.name, entry.version, "draining"))
            present(entry.loaded).retire(gone)
        elif entry.state in ("queued", "failed", "parked"):
            gone()

    def _failed(self, name: str, version: int, fault: Exception) -> None:
        """A version that could not be loaded: its reason in the table and the log. One that is ready stays so."""
        _LOG.error("%s version %d could not be loaded: %s", name, version, fault)
        reason = str(fault) if isinstance(fault, SetsailError) else f"{type(fault).__name__} while loading"
        entry = self.table.get(name, version)
        if entry is None or entry.state in ("ready", "restarting"):
            return
        if entry.state == "queued":
            self.swap(lambda table: table.moved(name, version, "loading"))
        self.swap(lambda table: table.moved(name, version, "failed", reason=reason))

    # -- the swap -------------------------------------------------------------------------------------------------

    def swap(self, change: Swap) -> None:
        """Make the next table of this one, and tell those who wait for it."""
        with self._changed:
            self.table = change(self.table)
            self._changed.notify_all()

    def _queue(self, name: str, version: int) -> None:
        """Show a version as queued, unless it is on its way or there."""
        with self._changed:
            entry = self.table.get(name, version)
            if entry is None or entry.state in ("gone", "failed", "parked"):
                self.swap(lambda table: table.queued(name, version))


def _is(table: Table, name: str, version: int, state: str) -> bool:
    entry = table.get(name, version)
    return entry is not None and entry.state == state


def _allow(control: bool) -> None:
    if not control:
        raise SetsailError("control.refused", "loading and unloading is off here")
