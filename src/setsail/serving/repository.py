"""A directory of models, looked at once or every few seconds.

    <root>/<name>/<version>/…            one artifact (or, where `pack` is given, one model) in it
    <root>/<name>/<version>.setsail
    <root>/*.setsail                     side by side, named by their manifests
    <root>/repository.toml               default versions, labels, and which versions are served (`declared.py`)

A directory's name and version beat the manifest's. `scan` says what is there, `plan` (pure) what to do about it, and
`Repository` does it. A file counts once two looks in a row saw the same sizes, times and inodes, so that one being
copied is left alone; likewise one that is missing. What fails to load changes nothing for the versions that answer, and
is tried again when its files change.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread, current_thread
from typing import Final, Protocol

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.serving.declared import FILE, Declared, chosen, read, settled
from setsail.serving.rehearsal import Rehearsal, recorded
from setsail.serving.table import Swap, Table

__all__ = ["Action", "Found", "Housing", "Repository", "Stamp", "plan", "refuse_twins", "scan", "scan_model", "stamp",
           "versions", "visible"]  # fmt: skip

_LOG = logging.getLogger("setsail.serving")
_SUFFIX: Final = ".setsail"
_UNFINISHED: Final = (".part", ".tmp", ".partial", ".swp")
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One version in the directory.

    Attributes:
        source: the artifact, or the model to pack.
        name, version: what the directory calls it, None where the manifest says so.
        stamp: relative path, size, mtime and inode of each of its files.
        problem: why it cannot be loaded whatever its files hold.
        prepare: gives the artifact instead of the repository's own way (other servers' layouts: `server/foreign/`).
        rehearsal: what to run before it answers anybody.
    """

    source: Path
    name: str | None
    version: int | None
    stamp: Stamp
    problem: SetsailError | None = field(default=None, compare=False)
    prepare: Callable[[], Path] | None = field(default=None, compare=False)
    rehearsal: Rehearsal | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Action:
    """Load what was found at a place, or (None) unload what was loaded from it."""

    place: Path
    found: Found | None


def plan(found: Mapping[Path, Found], before: Mapping[Path, Found] | None, known: Mapping[Path, Stamp]) -> list[Action]:
    """What to do: loads first, so that a version which replaces another is ready before the other goes.

    Args:
        found, before: by place, of this look and the last one; None at the first look, when everything counts.
        known: places acted upon, with their stamps at that time.
    """
    loads = [
        Action(place, version)
        for place, version in found.items()
        if known.get(place) != version.stamp and (before is None or before.get(place) == version)
    ]
    return loads + [Action(p, None) for p in known if p not in found and (before is None or p not in before)]


def scan(root: Path, *, packs: bool = False) -> dict[Path, Found]:
    """What versions a directory holds. Opens no file.

    Args:
        packs: whether versions may be models that are no artifacts yet.

    Raises:
        OSError: the directory cannot be listed.
    """
    found: dict[Path, Found] = {}
    for entry in visible(root):
        if entry.is_dir():
            found.update(versions(Path(entry.path), packs, entry.name))
        elif entry.name.endswith(_SUFFIX):
            found[Path(entry.path)] = Found(Path(entry.path), None, None, stamp(Path(entry.path)))
    return refuse_twins(found)


def scan_model(base: Path, name: str, *, packs: bool = False) -> dict[Path, Found]:
    """What versions of one model a directory holds: `<base>/<version>/…` and `<base>/<version>.setsail`.

    What is called otherwise is nobody's. Opens no file. Raises OSError when the directory cannot be listed.
    """
    found = {place: one for place, one in versions(base, packs, name) if one.version is not None}
    return refuse_twins(found)


class Housing(Protocol):
    """What is needed of `house.House`."""

    @property
    def table(self) -> Table: ...
    def load(self, source: Path, name: str | None = None, version: int | None = None) -> ModelRef | None: ...
    def unload(self, name: str, version: int | None = None, *, forget: bool = False) -> None: ...
    def refuse(self, name: str, version: int, fault: Exception) -> None: ...
    def rehearse(self, name: str, version: int, rehearsal: Rehearsal | None) -> None: ...
    def before_load(self, look: Callable[[str], None]) -> None: ...
    def swap(self, change: Swap) -> None: ...


class Repository:
    """Keeps a house as a directory is.

    Args:
        poll: seconds between two looks; 0 looks once.
        pack: turns a model that is no artifact into the path of one; without it such a version fails.

    Attributes:
        scan: what is there at this moment.
    """

    def __init__(
        self, house: Housing, root: Path, *, poll: float = 0.0, pack: Callable[[Path], Path] | None = None
    ) -> None:
        self._house, self._root, self._poll, self._pack = house, Path(root), poll, pack
        self.scan: Callable[[], dict[Path, Found]] = lambda: self._meant(scan(self._root, packs=pack is not None))
        self._declared: Mapping[str, Declared] = {}
        self._settled: Mapping[str, Declared] = {}  # what the house was told of it
        self._read: Stamp = ()  # the file that says it
        self._known: dict[Path, Stamp] = {}
        self._refs: dict[Path, ModelRef] = {}
        self._before: dict[Path, Found] | None = None
        self._looking = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def open(self) -> list[tuple[Path, SetsailError]]:
        """Load all that is there, then go on looking if told so.

        Returns:
            What could not be loaded and why; those versions show as failed.

        Raises:
            SetsailError: `repository.empty` when there is nothing, and nothing can come.
        """
        try:
            faults = self.look()
        except OSError as fault:
            raise SetsailError(
                "repository.empty", f"{self._root} cannot be listed", value=fault.strerror, expected="a directory"
            ) from fault
        if not self._known and not self._poll:
            raise SetsailError("repository.empty", f"{self._root} holds no model", expected="<name>/<version>.setsail")
        self._house.before_load(self._look_again)
        if self._poll:
            self._thread = Thread(target=self._watch, name="setsail-repository", daemon=True)
            self._thread.start()
        return faults

    def look(self, *, at_once: bool = False) -> list[tuple[Path, SetsailError]]:
        """One look, and what follows from it. Raises OSError when the directory cannot be listed.

        Args:
            at_once: believe what is seen now, without a second look.
        """
        faults: list[tuple[Path, SetsailError]] = []
        with self._looking:
            changed = self._reread(faults)
            found = self.scan()
            for action in plan(found, None if at_once else self._before, self._known):
                changed = True
                try:
                    self._do(action)
                except SetsailError as fault:
                    if action.found is None or action.found.name is None:  # else the house has said so
                        _LOG.error("%s: %s", action.place, fault)
                    faults.append((action.place, fault))
            if changed:
                self._settle(faults)
            self._before = found
        return faults

    def _reread(self, faults: list[tuple[Path, SetsailError]]) -> bool:
        """Read what the repository says of its models, where that has changed. A file that cannot be read says no more
        than the last one that could."""
        path = self._root / FILE
        now = _facts(path, self._root)
        if now == self._read:
            return False
        self._read = now
        try:
            self._declared = read(self._root)
        except SetsailError as fault:
            _LOG.error("%s", fault)
            faults.append((path, fault))
            return False
        return True

    def _meant(self, found: dict[Path, Found]) -> dict[Path, Found]:
        """Without the versions that the repository says are not served."""
        for name, told in self._declared.items() if self._declared else ():
            numbered = [one.version for one in found.values() if one.name == name and one.version is not None]
            left = {*numbered} - chosen(numbered, told.policy)
            found = {p: one for p, one in found.items() if one.name != name or one.version not in left}
        return found

    def _settle(self, faults: list[tuple[Path, SetsailError]]) -> None:
        """Have the house do what the repository says of default versions and labels."""
        for name in {**self._settled, **self._declared}:
            now, before = self._declared.get(name, Declared()), self._settled.get(name)
            try:
                self._house.swap(partial(settled, name=name, now=now, before=before))
            except SetsailError as fault:
                _LOG.error("%s: %s", FILE, fault)
                faults.append((self._root / FILE, fault))
        self._settled = self._declared

    def close(self) -> None:
        """Stop looking; what is loaded stays."""
        self._closed.set()
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll):
            try:
                self.look()
            except OSError as fault:  # a share that is away for a moment: nothing is unloaded for it
                _LOG.warning("%s cannot be listed: %s", self._root, fault.strerror)
            except Exception:
                _LOG.exception("looking at %s failed", self._root)

    def _look_again(self, name: str) -> None:
        """A client asked to load `name`: take what is there now, without waiting for a second look."""
        try:
            self.look(at_once=True)
        except OSError as fault:
            _LOG.warning("%s cannot be listed: %s", self._root, fault.strerror)

    def _do(self, action: Action) -> None:
        place, found = action.place, action.found
        if found is None:
            del self._known[place]
            ref = self._refs.pop(place, None)
            if ref is not None:
                self._unload(ref)
            return
        self._known[place] = found.stamp
        if found.name is not None and found.version is not None:
            self._refs[place] = ModelRef(found.name, found.version)
        try:
            source = self._artifact(found)
        except SetsailError as fault:
            if found.name is not None and found.version is not None:
                self._house.refuse(found.name, found.version, fault)
            raise
        if found.name is not None and found.version is not None:
            self._house.rehearse(found.name, found.version, found.rehearsal)
        loaded = self._house.load(source, found.name, found.version)
        old = self._refs.get(place)
        if loaded is not None and loaded != old:
            self._refs[place] = loaded
            if old is not None:  # the file is another model now
                self._unload(old)

    def _unload(self, ref: ModelRef) -> None:
        """Unless another place has it now, or a client has unregistered it."""
        assert ref.version is not None
        if ref not in self._refs.values() and self._house.table.get(ref.name, ref.version) is not None:
            self._house.unload(ref.name, ref.version, forget=True)

    def _artifact(self, found: Found) -> Path:
        if found.problem is not None:
            raise found.problem
        if found.prepare is not None:
            return found.prepare()
        if found.source.suffix == _SUFFIX or self._pack is None:
            return found.source
        return self._pack(found.source)


# -- reading a directory ------------------------------------------------------------------------------------------


def visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        kept = [e for e in entries if not e.name.startswith(".") and not e.name.endswith(_UNFINISHED)]
    return sorted(kept, key=lambda e: e.name)


def versions(folder: Path, packs: bool, called: str) -> Iterator[tuple[Path, Found]]:
    """The versions of one name. Files beside them (a config, a readme) are nobody's."""
    for entry in visible(folder):
        place, stem = Path(entry.path), entry.name.removesuffix(_SUFFIX)
        if not entry.is_dir() and stem == entry.name:
            continue
        problem = None if stem.isascii() and stem.isdigit() and int(stem) > 0 else _bad_version(called, stem)
        version = int(stem) if problem is None else None
        name = called if problem is None else None
        if not entry.is_dir():
            yield place, Found(place, name, version, stamp(place), problem)
            continue
        inside = visible(place)
        if inside:  # an empty one is about to be filled
            source, trouble = _only(place, inside, packs)
            yield place, Found(source, name, version, stamp(place), problem or trouble, rehearsal=recorded(place))


def _only(folder: Path, inside: list[os.DirEntry[str]], packs: bool) -> tuple[Path, SetsailError | None]:
    """The one model in a version's directory."""
    artifacts = [Path(e.path) for e in inside if e.name.endswith(_SUFFIX)]
    if len(artifacts) == 1:
        return artifacts[0], None
    if not artifacts and packs:
        alone = len(inside) == 1 and inside[0].name != "code"  # a script without a model file: its folder is the model
        return (Path(inside[0].path) if alone else folder), None
    return folder, SetsailError(
        "repository.layout", f"{folder} does not hold one artifact", value=[e.name for e in inside],
        expected=f"one file *{_SUFFIX}",
    )  # fmt: skip


def _bad_version(name: str, stem: str) -> SetsailError:
    return SetsailError("repository.layout", f"a version of {name!r} is no positive integer", field="version",
                        value=stem, expected=f"{name}/1 or {name}/1{_SUFFIX}")  # fmt: skip


def refuse_twins(found: dict[Path, Found]) -> dict[Path, Found]:
    """`credit/1/`, `credit/01/` and `credit/1.setsail` are all version 1: none of them can be it."""
    places: dict[tuple[str, int], list[Path]] = {}
    for place, version in found.items():
        if version.name is not None and version.version is not None:
            places.setdefault((version.name, version.version), []).append(place)
    for (name, number), twins in places.items():
        for place in twins if len(twins) > 1 else ():
            fault = SetsailError("repository.layout", f"version {number} of {name!r} is there more than once",
                                 value=[t.name for t in twins], expected="one of them")  # fmt: skip
            old = found[place]
            found[place] = Found(old.source, name, number, (*old.stamp, ("twins", len(twins), 0, 0)), fault)
    return found


def stamp(place: Path) -> Stamp:
    """Sizes, times and inodes of all files, links followed. A file that vanishes meanwhile is left out."""
    if not place.is_dir():
        return _facts(place, place.parent)
    files = (Path(folder) / name for folder, _, names in os.walk(place) for name in names)
    return tuple(sorted(fact for file in files for fact in _facts(file, place)))


def _facts(file: Path, base: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError:
        return ()
    return ((str(file.relative_to(base)), status.st_size, status.st_mtime_ns, status.st_ino),)
