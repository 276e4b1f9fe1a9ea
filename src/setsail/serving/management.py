"""Management: what is registered, unregistered, scaled and configured while a house serves.

Changes come one after the other. A version is *known* from the moment it is registered (or was there at the start)
until it is unregistered; whether it is loaded is another question, which its state answers. What a client says of
workers and batches is kept and told (`catalog.Terms`): processes serve all models.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import RLock
from time import time
from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from setsail.artifact import Artifact
from setsail.catalog import (
    ALL,
    Configure,
    Describe,
    Locate,
    ModelDescription,
    Process,
    Register,
    Registered,
    Scale,
    SetDefault,
    Terms,
    Unregister,
    VersionStatus,
)  # fmt: skip
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.serving.configured import Configured
from setsail.serving.hosting import Host, Source
from setsail.serving.rehearsal import Rehearsal
from setsail.serving.store import Packer, Store
from setsail.serving.table import Swap, Table

__all__ = ["NAME", "Housing", "Management", "check_name"]

_LOG = logging.getLogger("setsail.serving")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_AWAY: Final = ("parked", "gone", "failed", "draining")
_PATIENCE: Final = 3600.0  # loading takes as long as it takes
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Housing(Protocol):
    """What is needed of `house.House`."""

    @property
    def table(self) -> Table: ...
    @property
    def sources(self) -> Mapping[tuple[str, int], Source]: ...
    def load(
        self, source: Source, name: str | None = None, version: int | None = None, *, wait: bool = True
    ) -> ModelRef | None: ...
    def unload(self, name: str, version: int | None = None, *, forget: bool = False) -> None: ...
    def park(self, name: str, version: int, source: Source, *, wait: bool = True) -> None: ...
    def remove(self, name: str, version: int) -> None: ...
    def swap(self, change: Swap) -> None: ...
    def wait(self, done: Callable[[Table], bool], seconds: float) -> bool: ...
    def refuse(self, name: str, version: int, fault: Exception) -> None: ...
    def rehearse(self, name: str, version: int, rehearsal: Rehearsal | None) -> None: ...
    def before_load(self, look: Callable[[str], None]) -> None: ...


class _Given(Struct):
    """What a client said of a version."""

    url: str
    terms: Terms
    at_start: bool = False


class Management:
    """Answers the asks of management for one house.

    Args:
        pack: turns a model that is no artifact into the path of one.
        host: makes a model of a path that is code.
        poll: seconds between looks at configured base paths; 0 looks when it is configured.
        room: rows that may wait for a model.

    Attributes:
        at_start: whether what is registered now counts as there since the start.
    """

    def __init__(self, house: Housing, *, pack: Packer | None = None, host: Host | None = None, poll: float = 0.0,
                 room: int = 0) -> None:  # fmt: skip
        self.store, self._room = Store(pack, host), room
        self.at_start = False
        self._house = house
        self._given: dict[tuple[str, int], _Given] = {}
        self._configured = Configured(house, pack, poll)
        self._changing = RLock()
        self._began = time()

    def answer(self, ask: Any) -> Any:
        """Answer one; its docstring in `catalog.py` says what with."""
        return self._ANSWERS[type(ask)](self, ask)

    def close(self) -> None:
        """Stop looking at configured base paths."""
        self._configured.close()

    # -- registering -----------------------------------------------------------------------------------------------

    def _locate(self, ask: Locate) -> Registered:
        found = self.store.locate(ask.url, ask.name, ask.version)
        _check_name(found.name)
        return found

    def _register(self, ask: Register) -> Registered:
        found = self._locate(Locate(ask.url, ask.name, ask.version))
        name, version = found.name, found.version
        with self._changing:
            if (name, version) in self._house.sources:
                raise SetsailError("model.exists", f"version {version} of {name!r} is registered", field="url",
                                   value=ask.url, model=name, version=version)  # fmt: skip
            default = self._default(name)
            self._given[name, version] = _Given(ask.url, ask.terms, self.at_start)
            try:
                self._bring(found, ask)
            except SetsailError:
                self._forget(name, version)
                raise
            if ask.settled:
                self._house.swap(lambda table: table.pinned(name, default or version))
        return found

    def _bring(self, found: Registered, ask: Register) -> None:
        path = Path(found.path)
        hosted = self.store.hosted(path)
        source: Source = path if hosted is None else hosted.on(ask.terms)
        if ask.terms.min_workers < 1:
            self._house.park(found.name, found.version, source)
        else:
            self._house.load(source, found.name, found.version, wait=ask.wait)

    def _unregister(self, ask: Unregister) -> bool:
        with self._changing:
            versions = self._versions(ask.name, ask.version)
            default = self._default(ask.name)
            if ask.sole and len(self._known(ask.name)) > 1 and ask.version in (None, default):
                raise SetsailError("model.default", f"version {default} of {ask.name!r} is the default one",
                                   field="version", value=default, model=ask.name)  # fmt: skip
            at_start = any(self._told(ask.name, version).at_start for version in versions)
            for version in versions:
                self._forget(ask.name, version)
            return at_start

    def _forget(self, name: str, version: int) -> None:
        """No new requests; gone, and unknown, when the last one was answered."""
        self._given.pop((name, version), None)
        self._house.remove(name, version)

    # -- what is there -----------------------------------------------------------------------------------------------

    def _set_default(self, ask: SetDefault) -> None:
        with self._changing:
            self._versions(ask.name, ask.version)
            versions = self._house.table.models.get(ask.name)
            if versions is not None and versions.picker is not None:
                raise SetsailError("route.conflict", f"requests for {ask.name!r} go where its route says",
                                   field="version", value=ask.version, expected=str(versions.picker.route),
                                   todo="change the route, or clear it", model=ask.name)  # fmt: skip
            self._house.swap(lambda table: table.pinned(ask.name, ask.version))

    def _scale(self, ask: Scale) -> ModelDescription:
        with self._changing:
            version = self._default(ask.name) if ask.version is None else ask.version
            (version,) = self._versions(ask.name, version)
            given = self._told(ask.name, version)
            maximum = ask.minimum if ask.maximum is None else ask.maximum
            terms = replace(given.terms, min_workers=ask.minimum, max_workers=maximum)
            self._given[ask.name, version] = replace(given, terms=terms)
            entry = self._house.table.get(ask.name, version)
            source = self._house.sources[ask.name, version]
            if ask.minimum < 1 and maximum < 1:
                self._house.park(ask.name, version, source, wait=ask.wait)
            elif ask.minimum > 0 and (entry is None or entry.state in _AWAY):
                self._house.load(source, ask.name, version, wait=ask.wait)
            elif ask.minimum > 0 and ask.wait:
                self._house.wait(lambda table: not _on_its_way(table, ask.name, version), _PATIENCE)
            return self._description(ask.name, version)

    def _describe(self, ask: Describe) -> tuple[ModelDescription, ...]:
        if ask.name is None:
            names = sorted({name for name, _ in self._house.sources})
            return tuple(self._description(name, self._default(name)) for name in names)
        if ask.version == ALL:
            return tuple(self._description(ask.name, version) for version in self._versions(ask.name, None))
        version = self._default(ask.name) if ask.version is None else ask.version
        return tuple(self._description(ask.name, one) for one in self._versions(ask.name, version))

    def _description(self, name: str, version: int | None) -> ModelDescription:
        assert version is not None
        given, table = self._told(name, version), self._house.table
        entry = table.get(name, version)
        source = given.url or _name(self._house.sources.get((name, version)))
        told = ModelDescription(name, version, source, "gone", at_start=given.at_start, terms=given.terms,
                                default=version == self._default(name))  # fmt: skip
        if entry is None:
            return told
        labels = tuple(label for label, at in table.models[name].labels.items() if at == version)
        loaded = entry.loaded if entry.ready else None
        processes = (Process(os.getpid(), self._began, _memory()),) if loaded is not None else ()
        pending = loaded.line.scheduler.waiting_rows if loaded is not None and loaded.line is not None else 0
        return replace(told, state=entry.state, reason=entry.reason, labels=labels, processes=processes,
                       pending=pending, room=self._room,
                       framework=loaded.facts.framework if loaded is not None else "")  # fmt: skip

    def _told(self, name: str, version: int) -> _Given:
        return self._given.get((name, version)) or _Given("", Terms(), at_start=True)

    def _known(self, name: str) -> list[int]:
        return sorted(version for known, version in list(self._house.sources) if known == name)

    def _versions(self, name: str, version: int | None) -> tuple[int, ...]:
        """The version, or (None) all that are known. Raises `model.unknown` or `model.version`."""
        known = self._known(name)
        if not known:
            raise SetsailError("model.unknown", "no model of this name is known", field="model", value=name, model=name)
        if version is not None and version not in known:
            raise SetsailError(
                "model.version", f"model {name!r} has no version {version}", field="version", value=version,
                expected="one of " + ", ".join(map(str, known)), model=name, version=version,
            )  # fmt: skip
        return tuple(known) if version is None else (version,)

    def _default(self, name: str) -> int | None:
        """Where bare requests go, or would: the highest known version where none is ready; None for no model."""
        versions = self._house.table.models.get(name)
        if versions is not None and versions.default is not None:
            return versions.default
        return max(self._known(name), default=None)

    # -- configuring -------------------------------------------------------------------------------------------------

    def _configure(self, ask: Configure) -> tuple[VersionStatus, ...]:
        with self._changing:
            for model in ask.models:
                _check_name(model.name)
            bases = [self.store.base(model.base_path) for model in ask.models]
            return self._configured.change(ask.models, bases)

    _ANSWERS: Final[Mapping[type, Callable[..., Any]]] = {
        Locate: _locate, Register: _register, Unregister: _unregister, SetDefault: _set_default, Scale: _scale,
        Describe: _describe, Configure: _configure,
    }  # fmt: skip


def _on_its_way(table: Table, name: str, version: int) -> bool:
    entry = table.get(name, version)
    return entry is not None and entry.state in ("queued", "loading", "warming")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SetsailError("model.name", "a model cannot have this name", field="name", value=name)


def _name(source: Source | None) -> str:
    if source is None or isinstance(source, Path):
        return "" if source is None else source.name
    return f"{source.name}.setsail" if isinstance(source, Artifact) else source.source


def _memory() -> int:
    """Resident bytes of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def check_name(name: str | None, version: int | None) -> None:
    """Raises `model.name` or `repository.layout` for what no version can be called."""
    if name is not None and not NAME.fullmatch(name):
        raise SetsailError("model.name", "a model cannot have this name", field="name", value=name)
    if version is not None and version < 1:
        raise SetsailError("repository.layout", f"a version of {name!r} is no positive integer", field="version",
                           value=version, expected="1 or more")  # fmt: skip
