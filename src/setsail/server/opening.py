"""What a PATH on the command line stands for (`contract.md` §2).

An artifact is served as it is, and so is a function (`app.py:predict`, `apps.py`). A model file (or a directory that is
one) is packed into the cache first. Any other directory is a repository. Packing is imported only when something must
be packed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from setsail.apps.spec import is_spec
from setsail.errors import SetsailError
from setsail.server.settings import Settings

__all__ = ["Opening", "Progress", "is_repository", "layout", "pack_source", "resolve", "trusted"]

_APPS: Final = "setsail.server.apps"
_LAYOUTS: Final = "setsail.server.foreign.layouts"

Progress = Callable[[str], None]


class Opening(Struct, frozen=True):
    """An artifact or function to load, what to call it (None: as its manifest says), and what was done to get it."""

    path: Path
    name: str | None = None
    note: str = ""


def is_repository(path: Path) -> bool:
    """Whether a directory holds models side by side or by name and version, rather than being one model."""
    if not path.is_dir():
        return False
    if any(e.suffix == ".setsail" or (e.is_dir() and not e.name.startswith(".")) for e in path.iterdir()):
        return not _is_model(path)
    models = [e for e in path.iterdir() if e.is_file() and _is_model(e)]
    return len(models) != 1 and not _is_model(path)


def layout(path: Path, settings: Settings, name: str | None = None, progress: Progress | None = None) -> Any:
    """The `foreign.layouts.Layout` of a directory that is another server's; None for anything else."""
    return import_module(_LAYOUTS).find(path, settings, name=name, progress=progress) if path.is_dir() else None


def resolve(
    path: Path, *, name: str | None = None, progress: Progress | None = None, trust: tuple[str, ...] = ()
) -> Opening:
    """The artifact that a file or a model directory stands for; sources are packed into the cache, code stays.

    What cannot be packed and can be run as code too is code, where its kind is trusted.

    Args:
        progress: told a line for every stage of packing.
        trust: kinds of format whose loading may run code.

    Raises:
        SetsailError: `source.*` and whatever packing raises; when an example or trust is missing, its advice is the
            full `setsail pack` line to type.
    """
    if is_spec(path):
        return Opening(path, name)
    if not path.exists():
        raise SetsailError("source.missing", f"there is no model at {path}", field="PATH", value=str(path))
    if path.is_file() and (path.suffix == ".setsail" or _format(path) == "setsail"):
        return Opening(path, name)
    if import_module(_APPS).entry_of(path, trust) is not None:
        return Opening(path, name)
    try:
        artifact, found = pack_source(path, name=name, progress=progress, trust=trust)
    except SetsailError as fault:
        code = import_module(_APPS).instead(path, fault, trust)
        if code is None:
            raise
        return Opening(code, name, f"{path.name}: served as the code in it, for it cannot be packed: {fault.what}")
    kind = "found in the cache" if found else "packed into the cache"
    return Opening(artifact, name, f"{path.name}: {kind} as {artifact}")


def trusted(settings: Settings) -> tuple[str, ...]:
    """The kinds of format whose loading may run code here."""
    return tuple(filter(None, map(str.strip, settings.trust.split(","))))


def pack_source(
    path: Path, *, name: str | None = None, progress: Progress | None = None, trust: tuple[str, ...] = ()
) -> tuple[Path, bool]:
    """Pack a source into the cache. Returns the artifact and whether it was there already."""
    packing = import_module("setsail.packing")
    source = import_module("setsail.convert").recognise(path)
    given = {"name": name or source.name or None, "version": source.version, "progress": progress, "trust": trust}
    options = packing.PackOptions(**{key: value for key, value in given.items() if value is not None})
    try:
        packed: tuple[Path, bool] = packing.pack_cached(path, options)
    except SetsailError as fault:
        line = _pack_line(path, fault)
        if line is None:
            raise
        raise SetsailError(fault.code, fault.what, field=fault.field, expected=fault.expected,
                           todo=f"pack it first: {line}") from fault  # fmt: skip
    return packed


def _pack_line(path: Path, fault: SetsailError) -> str | None:
    """The command that would work, for what cannot be guessed."""
    if fault.code == "source.trust":
        return f"setsail pack {path} {fault.expected}"
    if fault.code == "convert.example" and fault.field != "--factory":
        return f"setsail pack {path} --example rows.csv"
    return None


def _is_model(path: Path) -> bool:
    return _format(path) not in ("", "setsail")


def _format(path: Path) -> str:
    """The format a path is of, by its content; "" for none we know."""
    try:
        return str(import_module("setsail.convert").recognise(path).format)
    except SetsailError as fault:
        return fault.code if fault.code == "source.llm" else ""
