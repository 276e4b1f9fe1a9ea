"""Models by name and version, and the routes between versions: one immutable table.

Whoever answers a request reads `house.table` once and works with what it got; whoever changes something makes a new
table with the functions here and swaps it in by one assignment. So no reader ever waits, and no reader ever sees half
of a change. A version moves only along `catalog.STATES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from setsail.catalog import STATES, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.routing import Routing
from setsail.serving.leases import Loaded
from setsail.serving.routes import Picker

__all__ = ["GONE_KEPT", "Entry", "Swap", "Table", "Versions"]

# Versions that were unloaded stay visible (as END, UNAVAILABLE), the newest of them; a server that reloads for years
# must not grow for it.
GONE_KEPT: Final = 8


class Entry(Struct, frozen=True):
    """One version of one model. `loaded` is set while it is ready, restarting or draining, `reason` when it failed."""

    name: str
    version: int
    state: str = "queued"
    reason: str = ""
    loaded: Loaded | None = None

    @property
    def ready(self) -> bool:
        return STATES[self.state].ready


class Versions(Struct, frozen=True):
    """All versions of one name.

    Attributes:
        pinned: the default version that somebody chose, if somebody did.
        default: where bare requests go: the pinned version unless it is gone, else the highest ready one, else None.
            Where there is a route, the version that answers the most of them.
        routing: the route, and those before it.
        picker: the route at work; None where there is none.
    """

    entries: Mapping[int, Entry] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    pinned: int | None = None
    default: int | None = None
    routing: Routing = Routing()
    picker: Picker | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything of it is there or to come; False when all was unloaded."""
        return any(e.state not in _AWAY for e in self.entries.values())

    @property
    def answers(self) -> bool:
        """Whether a version answers, and bare requests are answered unless somebody parked the one they go to."""
        meant = None if self.default is None else self.entries.get(self.default)
        return meant is not None and (
            meant.ready or (meant.state == "parked" and any(e.ready for e in self.entries.values()))
        )

    def with_entry(self, entry: Entry) -> Versions:
        entries = dict(sorted({**self.entries, entry.version: entry}.items()))
        gone = [v for v, e in entries.items() if e.state == "gone" and v not in self.labels.values()]
        for version in gone[:-GONE_KEPT]:
            del entries[version]
        return _settled(entry.name, replace(self, entries=entries))

    def with_pin(self, name: str, version: int | None) -> Versions:
        return _settled(name, replace(self, pinned=version))

    def with_routing(self, name: str, routing: Routing) -> Versions:
        return _settled(name, replace(self, routing=routing))

    def without(self, name: str, version: int) -> Versions:
        """As if it had never been: labels and the pin that pointed at it are gone too. A route keeps its place."""
        entries = {v: e for v, e in self.entries.items() if v != version}
        labels = {label: v for label, v in self.labels.items() if v != version}
        pinned = self.pinned if self.pinned != version else None
        return _settled(name, replace(self, entries=entries, labels=labels, pinned=pinned))


_AWAY: Final = ("draining", "gone", "parked")


def _settled(name: str, versions: Versions) -> Versions:
    """With what follows from the entries, the pin and the route."""
    entries, route = versions.entries, versions.routing.route
    if route is None:
        return replace(versions, default=_default(entries, versions.pinned), picker=None)
    ready = frozenset(v for v, e in entries.items() if e.ready)
    picker = versions.picker
    if picker is None or picker.route is not route or picker.ready != ready:
        picker = Picker(name, route, ready)
    there = [version for version in route.shares if version in entries]
    default = picker.main if picker.main is not None else max(there, key=lambda v: route.shares[v], default=None)
    return replace(versions, default=default, picker=picker)


def _default(entries: Mapping[int, Entry], pinned: int | None) -> int | None:
    if pinned is not None and pinned in entries and entries[pinned].state not in ("draining", "gone"):
        return pinned
    return max((v for v, e in entries.items() if e.ready), default=None)


class Table(Struct, frozen=True):
    """Every name with its versions. Never changed, only replaced, so what was found once is found for good."""

    models: Mapping[str, Versions] = field(default_factory=dict)
    found: dict[ModelRef, Entry] = field(default_factory=dict)

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, ref: ModelRef) -> Entry:
        """The ready version that a client means: of a route the main one, which is never among `found`.

        Raises:
            SetsailError: `model.unknown`, `.version`, `.label`, `.not_ready` or `.failed`.
        """
        entry = self.found.get(ref)
        if entry is not None:
            return entry
        versions = self._versions(ref.name)
        version = _version(versions, ref)
        if version is None:
            raise _nothing_ready(ref.name, versions)
        entry = versions.entries.get(version)
        if entry is None:
            raise _no_version(ref.name, version, versions)
        if not entry.ready:
            raise _not_ready(entry)
        picker = versions.picker
        if picker is None or picker.sole or ref.version is not None or ref.label is not None:
            self.found[ref] = entry  # only of models that exist, so it stays small
        return entry

    def picker(self, ref: ModelRef) -> Picker | None:
        """What chooses the version that answers; None where a client says it, or where there is nothing to choose."""
        if ref.version is not None or ref.label is not None or (versions := self.models.get(ref.name)) is None:
            return None
        picker = versions.picker
        return None if picker is None or picker.sole else picker

    def get(self, name: str, version: int) -> Entry | None:
        versions = self.models.get(name)
        return None if versions is None else versions.entries.get(version)

    def status(self, ref: ModelRef) -> tuple[VersionStatus, ...]:
        """All versions of a model, or the one meant. Raises `model.unknown`, `.version` or `.label`."""
        versions = self._versions(ref.name)
        version = None if ref.version is None and ref.label is None else _version(versions, ref)
        if version is None:
            return tuple(_status(e, versions) for e in versions.entries.values())
        if version not in versions.entries:
            raise _no_version(ref.name, version, versions)
        return (_status(versions.entries[version], versions),)

    def __iter__(self) -> Iterator[Entry]:
        for versions in self.models.values():
            yield from versions.entries.values()

    def _versions(self, name: str) -> Versions:
        versions = self.models.get(name)
        if versions is None:
            raise SetsailError("model.unknown", "no model of this name is served", field="model", value=name,
                               model=name)  # fmt: skip
        return versions

    # -- transitions: each returns a new table ---------------------------------------------------------------------

    def queued(self, name: str, version: int) -> Table:
        """A new version, or one that is gone or failed and comes again."""
        if self.get(name, version) is None:
            return self._with(Entry(name, version))
        return self.moved(name, version, "queued")

    def moved(self, name: str, version: int, state: str, *, reason: str = "", loaded: Loaded | None = None) -> Table:
        """A version in another state. Raises `model.not_ready` for a step that `catalog.STATES` does not have."""
        entry = self.get(name, version)
        if entry is None:
            raise _no_version(name, version, self._versions(name))
        if state not in STATES[entry.state].next:
            raise SetsailError(
                "model.not_ready", f"version {version} of {name!r} is {entry.state}", field="state", value=state,
                expected=" or ".join(STATES[entry.state].next),
            )  # fmt: skip
        keep = entry.loaded if state == "draining" else loaded
        return self._with(replace(entry, state=state, reason=reason, loaded=keep))

    def reloaded(self, name: str, version: int, loaded: Loaded) -> Table:
        """A ready version with another runner: it stays ready, so no request falls between the two."""
        entry = self.get(name, version)
        if entry is None or entry.loaded is None:
            raise _no_version(name, version, self._versions(name)) if entry is None else _not_ready(entry)
        return self._with(replace(entry, state="ready", reason="", loaded=loaded))

    def looked_at(self, name: str, version: int, runner: Any, down: str) -> Table:
        """A version whose runner is down, or up again; nothing changes where another one has taken its place."""
        entry = self.get(name, version)
        if entry is None or entry.loaded is None or entry.loaded.runner is not runner:
            return self
        state = "restarting" if down else "ready"
        if entry.state not in ("ready", "restarting") or entry.state == state:
            return self
        return self.moved(name, version, state, reason=down, loaded=entry.loaded)

    def parked(self, name: str, version: int) -> Table:
        """A version that is known and not loaded: a new one, or one that is gone."""
        if self.get(name, version) is None:
            return self._with(Entry(name, version, "parked"))
        return self.moved(name, version, "parked")

    def pinned(self, name: str, version: int | None) -> Table:
        """A version that bare requests go to; None leaves it to the rule. Raises `model.unknown` or `.version`."""
        versions = self._versions(name)
        if version is not None and version not in versions.entries:
            raise _no_version(name, version, versions)
        return Table({**self.models, name: versions.with_pin(name, version)})

    def routed(self, name: str, routing: Routing) -> Table:
        """A model with another routing. Raises `model.unknown`."""
        return Table({**self.models, name: self._versions(name).with_routing(name, routing)})

    def without(self, name: str, version: int) -> Table:
        """A version that is known no longer."""
        models = dict(self.models)
        if name in models:
            models[name] = models[name].without(name, version)
            if not models[name].entries:
                del models[name]
        return Table(models)

    def labelled(self, name: str, label: str, version: int | None) -> Table:
        """A label that points at a version, or (None) no longer exists."""
        versions = self._versions(name)
        labels = {k: v for k, v in versions.labels.items() if k != label}
        if version is not None:
            if version not in versions.entries:
                raise _no_version(name, version, versions)
            labels[label] = version
        return Table({**self.models, name: replace(versions, labels=labels)})

    def _with(self, entry: Entry) -> Table:
        versions = self.models.get(entry.name, Versions()).with_entry(entry)
        models = {**self.models, entry.name: versions}
        return Table(models if entry.name in self.models else dict(sorted(models.items())))


Swap = Callable[[Table], Table]


def _version(versions: Versions, ref: ModelRef) -> int | None:
    """Which version a client means, whatever its state."""
    if ref.label is None:
        return versions.default if ref.version is None else ref.version
    if ref.label not in versions.labels:
        raise SetsailError(
            "model.label", f"model {ref.name!r} has no label {ref.label!r}", field="label", value=ref.label,
            expected="one of " + ", ".join(versions.labels) if versions.labels else "no label: none is set",
        )  # fmt: skip
    return versions.labels[ref.label]


def _status(entry: Entry, versions: Versions) -> VersionStatus:
    labels = tuple(label for label, version in versions.labels.items() if version == entry.version)
    default = entry.version == versions.default
    return VersionStatus(entry.name, entry.version, entry.state, entry.reason, default, labels)


def _no_version(name: str, version: int, versions: Versions) -> SetsailError:
    return SetsailError(
        "model.version", f"model {name!r} has no version {version}", field="version", value=version,
        expected="one of " + ", ".join(map(str, versions.entries)), model=name, version=version,
    )  # fmt: skip


def _not_ready(entry: Entry) -> SetsailError:
    what = f"version {entry.version} of model {entry.name!r} "
    if entry.state == "failed":
        return SetsailError("model.failed", what + "could not be loaded", reason=entry.reason, model=entry.name)
    return SetsailError("model.not_ready", what + f"is {entry.state}", model=entry.name)


def _nothing_ready(name: str, versions: Versions) -> SetsailError:
    """The newest version that will be or was to be ready says why no version is."""
    newest = sorted(versions.entries.values(), key=lambda e: -e.version)
    for states in (("queued", "loading", "warming", "restarting"), ("failed",), _AWAY):
        for entry in newest:
            if entry.state in states:
                return _not_ready(entry)
    return SetsailError("model.not_ready", f"model {name!r} has no version", model=name)
