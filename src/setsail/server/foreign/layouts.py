"""Directories as other servers have them: whose one is, what is in it, and what of its settings does not carry over.

A directory is known by the files that its server looks for, else by `--as`. The modules of this folder are imported
when there is such a directory, and say what versions are there; `serving/repository.py` does the rest, as for ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from setsail.catalog import ModelConfig
from setsail.server.settings import Settings
from setsail.serving.configured import look
from setsail.serving.repository import Found

__all__ = ["Layout", "find"]

_TRITON, _MLSERVER = "setsail.server.foreign.triton", "setsail.server.foreign.mlserver"
_STORE: Final = "setsail.server.foreign.model_store"
_SUFFIX: Final = ".setsail"
Progress = Callable[[str], None]


class Layout(Struct, frozen=True):
    """A directory of another server's. `scan` says what is there at this moment; `notes` are for people."""

    flavour: str
    scan: Callable[[], dict[Path, Found]]
    notes: tuple[str, ...] = ()


def find(path: Path, settings: Settings, *, name: str | None = None, progress: Progress | None = None,
         pack: Callable[..., Path] | None = None) -> Layout | None:  # fmt: skip
    """Whose layout a directory has; None for ours, and for what is no directory of models.

    Args:
        name: instead of the folder's, where the directory is one model's (TensorFlow Serving's base path).
        progress: told a line for every stage of packing.
        pack: (path, fields of an intent by name) -> artifact; into the cache, unless given.
    """
    if not path.is_dir():
        return None
    for module in (_TRITON, _MLSERVER):
        if _marked(path, module):
            reader = import_module(module)
            scan = partial(reader.scan, path, pack or _packer(settings, progress))
            return Layout(module.rpartition(".")[2], scan, reader.notes(path))
    if _holds_archives(path, settings.as_):
        store = import_module(_STORE)
        return Layout("torchserve", partial(store.scan, path), store.notes(path, _trust(settings)))
    if _is_base(path, settings.as_):
        model = ModelConfig(name or path.resolve().name, str(path))
        return Layout("tfserving", partial(look, model, path, True))
    return None


def _marked(path: Path, module: str) -> bool:
    """Cheaply: the readers are imported where their server's files are."""
    marker = "config.pbtxt" if module == _TRITON else "model-settings.json"
    return (path / marker).is_file() or next(path.glob(f"*/{marker}"), None) is not None


def _holds_archives(path: Path, flavour: str) -> bool:
    """Whether it is a model store of TorchServe; its reader is imported where it may be one."""
    near = flavour == "torchserve" or next(path.glob("*.mar"), None) is not None
    return near and bool(import_module(_STORE).is_one(path, flavour))


def _is_base(path: Path, flavour: str) -> bool:
    """Whether the folders in a directory are versions of one model: by `--as tfserving`, else by a SavedModel."""
    names = [e.name for e in path.iterdir() if not e.name.startswith(".") and (e.is_dir() or e.suffix == _SUFFIX)]
    numbered = bool(names) and all(_is_version(name.removesuffix(_SUFFIX)) for name in names)
    return numbered and (flavour == "tfserving" or next(path.glob("*/saved_model.pb"), None) is not None)


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name[:18]) > 0


def _trust(settings: Settings) -> tuple[str, ...]:
    return tuple(kind.strip() for kind in settings.trust.split(",") if kind.strip())


def _packer(settings: Settings, progress: Progress | None) -> Callable[..., Path]:
    """Packs a file into the cache as a layout says: `labels`, `inputs` and `framework` as in `Intent`."""
    trust = _trust(settings)

    def pack(source: Path, **given: Any) -> Path:
        if source.suffix == _SUFFIX:
            return source
        packing = import_module("setsail.packing")
        told = {"trust": trust} | ({"progress": progress} if progress is not None else {})
        intent = import_module("setsail.convert.conversion").Intent(**given)
        made: Path = packing.pack_cached(source, packing.PackOptions(**told), intent)[0]
        return made

    return pack
