"""What a PATH on the command line stands for (`contract.md` §2).

An artifact is served as it is. A model file (or a directory that is one) is packed into the cache first. Any other
directory is a repository. Packing is imported only when something must be packed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from setsail.errors import SetsailError

if TYPE_CHECKING:
    from setsail.convert.conversion import Intent
    from setsail.packing import PackOptions

__all__ = ["Opening", "Plan", "is_repository", "pack_source", "resolve"]


class Opening(Struct, frozen=True):
    """An artifact to load, what to call it (None: as its manifest says), and what was done to get it."""

    path: Path
    name: str | None = None
    note: str = ""


class Plan(Struct, frozen=True):
    """How a source is packed when it must be: an Intent and PackOptions, made only then.

    Attributes:
        intent, options: keyword arguments of those two.
        example: the file the example came from; its bytes are part of the cache's key.
    """

    intent: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    example: Path | None = None

    def make(self, name: str | None) -> tuple[Intent, PackOptions]:
        conversion, packing = import_module("setsail.convert.conversion"), import_module("setsail.packing")
        given = {"name": name} if name is not None else {}
        return conversion.Intent(**self.intent), packing.PackOptions(**self.options | given)


def is_repository(path: Path) -> bool:
    """Whether a directory holds models side by side or by name and version, rather than being one model."""
    if not path.is_dir():
        return False
    if any(e.suffix == ".setsail" or (e.is_dir() and not e.name.startswith(".")) for e in path.iterdir()):
        return not _is_model(path)
    models = [e for e in path.iterdir() if e.is_file() and _is_model(e)]
    return len(models) != 1 and not _is_model(path)


def resolve(path: Path, plan: Plan | None = None, *, name: str | None = None) -> Opening:
    """The artifact that a file or a model directory stands for; sources are packed into the cache.

    Raises:
        SetsailError: `source.*` and whatever packing raises; when an example or trust is missing, its advice is the
            full `setsail pack` line to type.
    """
    if not path.exists():
        raise SetsailError("source.missing", f"there is no model at {path}", field="PATH", value=str(path))
    if path.is_file() and (path.suffix == ".setsail" or _format(path) == "setsail"):
        return Opening(path, name)
    artifact, found = pack_source(path, plan or Plan(), name)
    kind = "found in the cache" if found else "packed into the cache"
    return Opening(artifact, name, f"{path.name}: {kind} as {artifact}")


def pack_source(path: Path, plan: Plan, name: str | None = None) -> tuple[Path, bool]:
    """Pack a source into the cache. Returns the artifact and whether it was there already."""
    intent, options = plan.make(name)
    seed = plan.example.read_bytes() if plan.example is not None else b""
    pack_cached = import_module("setsail.packing").pack_cached
    try:
        packed: tuple[Path, bool] = pack_cached(path, intent, options, seed)
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
