"""Archives of TorchServe (.mar): what one is told that cannot be served, and what to do with it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec

from setsail.errors import SetsailError

__all__ = ["refuse"]

_SUFFIX: Final = ".mar"
_MANIFEST: Final = "MAR-INF/MANIFEST.json"
_LARGEST: Final = 1 << 20


def refuse(place: Path) -> None:
    """Raise `store.source` for an archive: it names code that reads its requests, and nothing here runs that code."""
    manifest = _manifest(place)
    if manifest is None:
        return
    model = manifest.get("model")
    told = model if isinstance(model, dict) else {}
    handler, file = told.get("handler") or "none", told.get("serializedFile") or "the model file inside it"
    raise SetsailError(
        "store.source", f"{place.name} is an archive of TorchServe whose requests the handler {handler!r} reads",
        field="url", value=place.name, expected="an artifact, or a model file that needs no code of its own",
        todo=f"unzip it, pack {file} (setsail pack FILE) and put the artifact into the model store; what the handler "
        "does to requests and answers moves to the client",
    )  # fmt: skip


def _manifest(place: Path) -> dict[str, Any] | None:
    """Of an archive, packed (`x.mar`) or as a folder; None for what is none, empty for one that cannot be read."""
    try:
        raw = _folder(place) if place.is_dir() else _zip(place)
        found = None if raw is None else msgspec.json.decode(raw)
    except (OSError, ValueError, msgspec.MsgspecError, zipfile.BadZipFile):
        found = None
    if found is None and place.suffix != _SUFFIX:
        return None
    return found if isinstance(found, dict) else {}


def _folder(place: Path) -> bytes | None:
    file = place / _MANIFEST
    return file.read_bytes()[:_LARGEST] if file.is_file() else None


def _zip(place: Path) -> bytes | None:
    if not zipfile.is_zipfile(place):
        return None
    with zipfile.ZipFile(place) as archive:
        if _MANIFEST not in archive.namelist():
            return None
        with archive.open(_MANIFEST) as member:
            return member.read(_LARGEST)
