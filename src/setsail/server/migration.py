"""A whole directory of models into a repository of ours: `setsail pack STORE/ -o REPO/`.

    <repo>/<name>/<version>.setsail     what becomes a program
    <repo>/<name>/<version>/<file>      code, which nothing can pack: copied as it is, and served with `--trust`
    <repo>/repository.toml              default versions, labels and policies of versions, as the store had them

What there is says `stores.py`. Each model is moved by itself: one that cannot be is named with its reason, and costs
the others nothing. What is there already stays, so that a second run does what the first could not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from setsail import artifact as artifacts
from setsail import packing
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions
from setsail.server import apps, stores
from setsail.serving.declared import FILE, Declared, merge
from setsail.serving.management import NAME
from setsail.serving.repository import Found

__all__ = ["Migration", "Moved", "migrate"]

_SUFFIX: Final = ".setsail"
_PLAIN: Final = Intent()


@dataclass(frozen=True)
class Moved:
    """What became of one version.

    Attributes:
        place: where it was found.
        state: `packed`, `copied` (an artifact, or code), `kept` (it was there already) or `failed`.
        path: where it is now; None where it failed.
        trust: the kind that serving it takes, for code.
        note: what is worth knowing, a sentence.
        facts: of an artifact: its framework, size, digest and largest difference from the source.
    """

    name: str
    version: int
    place: Path
    state: str
    path: Path | None = None
    trust: str = ""
    note: str = ""
    fault: SetsailError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        told = {
            "name": self.name, "version": self.version, "source": str(self.place), "state": self.state,
            "path": str(self.path) if self.path is not None else None, "trust": self.trust, "note": self.note,
        }  # fmt: skip
        return told | dict(self.facts) | ({"error": self.fault.to_json()} if self.fault is not None else {})


@dataclass(frozen=True)
class Migration:
    """What became of a directory.

    Attributes:
        moved: in the order in which they were found.
        notes: what does not carry over, a sentence each.
        flavour: whose directory it was; "" for ours, and for files side by side.
    """

    moved: tuple[Moved, ...]
    notes: tuple[str, ...]
    flavour: str

    @property
    def failed(self) -> tuple[Moved, ...]:
        return tuple(one for one in self.moved if one.state == "failed")

    @property
    def trust(self) -> tuple[str, ...]:
        """The kinds that serving all of it takes."""
        return tuple(sorted({one.trust for one in self.moved if one.trust}))


def migrate(source: Path, target: Path, intent: Intent, options: PackOptions) -> Migration:
    """Move what a path holds.

    Args:
        target: the repository; made where it is not there.
        intent, options: as for one model. What only one can have (an example, a name) is refused for several.

    Raises:
        SetsailError: what `stores.read` raises; `repository.empty` where it finds nothing; `command.usage` for what
            only one model can have, or a target inside the source.
    """
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise SetsailError("command.usage", f"{target} is inside of {source}, which is being read", field="-o",
                           value=str(target), todo="name a folder outside of it")  # fmt: skip
    mover = _Mover(target, intent, options)
    store = stores.read(source, mover.pack)
    if not store.found:
        raise SetsailError("repository.empty", f"{source} holds no model", value=source.name,
                           expected="model files, or another server's directory of models")  # fmt: skip
    if len(store.found) > 1:
        _check_common(intent, options, len(store.found))
    target.mkdir(parents=True, exist_ok=True)
    moved = []
    for count, (place, one) in enumerate(store.found, 1):
        mover.title = f"{count} of {len(store.found)}, {one.name or place.name}"
        moved.append(mover.move(place, one))
    return Migration(tuple(moved), (*store.notes, *_declare(target, store.declared, moved)), store.flavour)


def _check_common(intent: Intent, options: PackOptions, count: int) -> None:
    """What describes one model cannot be said of several."""
    said = {
        "--name": options.name is not None, "--version": options.version != 1,
        "--reference": options.reference is not None, "--example": intent.example is not None,
        "--input": bool(intent.inputs), "--labels": bool(intent.labels), "--factory": intent.factory is not None,
        "--weights": intent.weights is not None, "--signature": intent.signature is not None,
        "--framework": intent.framework is not None,
    }  # fmt: skip
    for flag in (flag for flag, given in said.items() if given):
        raise SetsailError("command.usage", f"there are {count} models, and {flag} is for one", field=flag,
                           todo=f"pack that model by itself: setsail pack FILE {flag} … -o REPO/")  # fmt: skip


def _declare(target: Path, declared: Mapping[str, Declared], moved: Sequence[Moved]) -> Iterator[str]:
    """Write what the store said of its models, where it can hold. What names a version that did not come is told."""
    kept: dict[str, Declared] = {}
    for name, told in declared.items():
        there = {one.version for one in moved if one.name == name and one.state != "failed"}
        lost = {label: version for label, version in told.labels.items() if version not in there}
        yield from (
            f"{name}: label {label} is of version {version}, which is not here" for label, version in lost.items()
        )
        default = told.default
        if default is not None and default not in there:
            yield f"{name}: its default version was {default}, which is not here: the highest one answers"
            default = None
        labels = {label: version for label, version in told.labels.items() if label not in lost}
        now = Declared(default, labels, told.policy)
        if there and now != Declared():
            kept[name] = now
            yield f"{name}: {', '.join(_said(now))}: in {FILE}"
    if kept:
        merge(target, kept)


def _said(told: Declared) -> Iterator[str]:
    if told.default is not None:
        yield f"default version {told.default}"
    yield from (f"label {label} for version {version}" for label, version in told.labels.items())
    if told.policy.latest:
        yield f"the latest {told.policy.latest} are served" if told.policy.latest > 1 else "the latest is served"
    if told.policy.specific:
        yield f"only {', '.join(map(str, told.policy.specific))} served"


class _Mover:
    """Moves one version after the other."""

    def __init__(self, target: Path, intent: Intent, options: PackOptions) -> None:
        self._target, self._intent, self._options = target, intent, options
        self._now = options  # for the version in hand
        self.title = ""  # of it

    def move(self, place: Path, found: Found) -> Moved:
        """One version. What goes wrong with it is in the answer."""
        name, version = self._options.name or found.name or "", found.version or self._options.version
        try:
            if found.problem is not None:
                raise found.problem
            if not NAME.fullmatch(name):
                raise SetsailError("model.name", "a model cannot have this name", field="name",
                                   value=name or place.name, todo="rename it, or pack it with --name")  # fmt: skip
            return self._kept(place, name, version) or self._moved(place, found, name, version)
        except SetsailError as fault:
            reason = fault
        except OSError as fault:
            reason = SetsailError("command.system", f"{fault.filename or place}: {fault.strerror or fault}")
        except Exception as fault:  # a bug of ours may be in the way of one model and not of the others
            reason = SetsailError("command.fault", f"{type(fault).__name__}: {fault}")
        return Moved(name or place.name, version, place, "failed", fault=reason)

    def pack(self, source: Path, **given: Any) -> Path:
        """The version in hand; layouts of other servers say `labels`, `inputs` and `framework` of it."""
        if source.suffix == _SUFFIX:
            return source
        assert self._now.output is not None
        packing.pack(source, replace(self._intent, **given), self._now).close()
        return self._now.output

    def _kept(self, place: Path, name: str, version: int) -> Moved | None:
        for path in self._places(name, version) if not self._options.force else ():
            if path.exists():
                return Moved(name, version, place, "kept", path, note="it was there already; --force makes it anew")
        return None

    def _moved(self, place: Path, found: Found, name: str, version: int) -> Moved:
        """Made in a folder that readers of repositories leave alone, then renamed."""
        with tempfile.TemporaryDirectory(prefix=".setsail-", dir=self._target) as made:
            part = Path(made) / f"{version}{_SUFFIX}"

            def progress(text: str) -> None:
                shown = text.replace(str(part), str(self._places(name, version)[0]))
                self._options.progress(f"{self.title}: {shown}")

            self._now = replace(
                self._options, name=name, version=version, output=part, force=True, progress=progress
            )  # fmt: skip
            if found.prepare is None and (kind := apps.kind_of(found.source, self._options.trust)) is not None:
                return self._copied(place, found.source, kind, name, version, Path(made))
            try:
                source = found.prepare() if found.prepare is not None else self.pack(found.source)
            except SetsailError as fault:
                code = apps.instead(found.source, fault, self._options.trust) if found.prepare is None else None
                kind = None if code is None else apps.kind_of(code)
                if kind is None:
                    raise
                return self._copied(place, found.source, kind, name, version, Path(made), fault.what)
            if source != part:
                shutil.copyfile(source, part)
            with artifacts.read(part) as opened:  # a repository gets nothing damaged
                facts = {"framework": opened.framework, "size": opened.size, "digest": opened.digest,
                         "largest_difference": opened.parity.worst}  # fmt: skip
            path = self._put(part, name, version, self._places(name, version)[0])
        note = "its warm-up requests stay behind: artifacts have samples of their own" if found.rehearsal else ""
        return Moved(name, version, place, "packed" if source == part else "copied", path, note=note, facts=facts)

    def _copied(
        self, place: Path, source: Path, kind: str, name: str, version: int, made: Path, why: str = ""
    ) -> Moved:
        """Code, which is looked at and not run; or what can only be run as code, and why."""
        self._now.progress("code, which is copied as it is")
        note = f"it cannot be packed: {why}" if why else ""
        try:
            entry = None if why else apps.entry_of(source, self._options.trust)
        except SetsailError as fault:
            if fault.code != "dependency.missing":
                raise
            entry = None
        if not why and (entry is None or entry.requirements):
            note = "it asks for packages of its own, before it is served: setsail prepare {path}"
        (made / "code").mkdir()
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, made / "code" / source.name)
        path = self._put(made / "code", name, version, self._places(name, version)[1]) / source.name
        return Moved(name, version, place, "copied", path, kind, note.replace("{path}", str(path)))

    def _places(self, name: str, version: int) -> tuple[Path, Path]:
        """Where a version is, packed and as code."""
        return self._target / name / f"{version}{_SUFFIX}", self._target / name / str(version)

    def _put(self, part: Path, name: str, version: int, path: Path) -> Path:
        path.parent.mkdir(exist_ok=True)
        for old in self._places(name, version):  # with --force
            if old.is_dir():
                shutil.rmtree(old)
            elif old != path:
                old.unlink(missing_ok=True)
        os.replace(part, path)
        return path
