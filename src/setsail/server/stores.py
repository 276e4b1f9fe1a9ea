"""What a path holds that `setsail pack STORE/ -o REPO/` moves: versions, each with its place (`migration.py`).

The readers are those of `setsail serve` (`foreign/layouts.py`, `serving/repository.py`), so that what is moved is what
would be served. Nothing is loaded here; of artifacts and archives the manifests are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from setsail import artifact as artifacts
from setsail.catalog import Configure, Policy, Register, SetDefault
from setsail.convert import recognise
from setsail.errors import SetsailError
from setsail.server.foreign import configuration, layouts, triton_config
from setsail.server.foreign.configuration import Foreign
from setsail.server.opening import is_repository
from setsail.server.settings import Settings
from setsail.serving.configured import look
from setsail.serving.declared import Declared
from setsail.serving.repository import Found, stamp, versions, visible

__all__ = ["Store", "is_store", "read"]

_SUFFIX: Final = ".setsail"
_PROPERTIES: Final = ".properties"
_CONFIGURED: Final = (_PROPERTIES, ".config")  # TorchServe's, and TensorFlow Serving's list of models
# By these a file says that it is a model, so that one which cannot be read as such is a failure and not a readme.
_MODELS: Final = (".onnx", ".pt2", ".pt", ".pth", ".ubj", ".bst", ".cbm", ".keras", ".h5", ".joblib", ".pkl", ".pickle",
                  ".skops", ".mar", ".tflite", ".safetensors", _SUFFIX)  # fmt: skip
Pack = Callable[..., Path]


@dataclass(frozen=True)
class Store:
    """The versions that a path holds.

    Attributes:
        found: each with its place.
        notes: what does not carry over, a sentence each.
        flavour: whose directory it is; "" for ours, and for files side by side.
        declared: by name, what a configuration says of default versions, labels, and of which are served.
    """

    found: Sequence[tuple[Path, Found]]
    notes: tuple[str, ...] = ()
    flavour: str = ""
    declared: Mapping[str, Declared] = field(default_factory=dict)


def is_store(path: Path) -> bool:
    """Whether a path means several models: a repository, another server's directory, or its configuration file."""
    if path.is_file():
        return path.suffix in _CONFIGURED
    return path.is_dir() and (layouts.find(path, Settings()) is not None or is_repository(path))


def read(source: Path, pack: Pack) -> Store:
    """What a path holds, which may be a single model. Of two that would be one version, neither is it.

    Args:
        pack: (path, fields of an intent by name) -> artifact: what layouts of other servers pack with.

    Raises:
        SetsailError: `source.*` for what is no model at all, `setting.value` for a configuration that cannot be read.
    """
    if not source.exists():
        raise SetsailError("source.missing", f"there is nothing at {source}", field="SRC", value=str(source))
    store = _read(source, pack)
    return replace(store, found=_without_twins(store.found))


def _read(source: Path, pack: Pack) -> Store:
    if source.is_file():
        told = configuration.read(source) if is_store(source) else None
        return Store([*_alone(source)]) if told is None else _configured(source, told, pack)
    for path in sorted(source.glob(f"*{_PROPERTIES}")):
        told = configuration.read(path)
        assert told is not None
        return _archives(source, told, pack)
    theirs = layouts.find(source, Settings(), pack=pack)
    if theirs is None and _is_model(source):
        return Store([*_alone(source)])
    if theirs is None or theirs.flavour == "tfserving":  # a base path: here all of its versions count
        return _plain(source, "" if theirs is None else theirs.flavour)
    plans = theirs.flavour == "torchserve"  # its notes are a line for each archive, which is told when it is moved
    declared = _policies(source) if theirs.flavour == "triton" else {}
    return Store(sorted(theirs.scan().items()), () if plans else theirs.notes, theirs.flavour, declared)


def _policies(root: Path) -> dict[str, Declared]:
    """What Triton's configurations say of which versions are served."""
    found = {}
    for file in (*root.glob("config.pbtxt"), *root.glob("*/config.pbtxt")):
        try:
            found[file.parent.resolve().name] = Declared(policy=_policy(triton_config.read(file.parent).policy))
        except SetsailError:  # the model's own line says it
            continue
    return found


def _policy(given: Policy) -> Policy:
    """A policy that somebody chose. The latest version alone is what these servers do unless told."""
    return Policy() if given == Policy(latest=1) else given


def _without_twins(found: Sequence[tuple[Path, Found]]) -> list[tuple[Path, Found]]:
    """`net.onnx` and `net.ubj` side by side are both version 1 of `net`."""
    places: dict[tuple[str | None, int], list[str]] = {}
    for place, one in found:
        places.setdefault((one.name, one.version or 1), []).append(place.name)

    def problem(one: Found) -> SetsailError | None:
        twins = places[one.name, one.version or 1]
        if one.problem is not None or one.name is None or len(twins) == 1:
            return one.problem
        return SetsailError("repository.layout", f"version {one.version or 1} of {one.name!r} is there more than once",
                            value=twins, expected="one of them",
                            todo="pack each by itself, with a --name or --version of its own")  # fmt: skip

    return [(place, replace(one, problem=problem(one))) for place, one in found]


# -- what other servers are told -----------------------------------------------------------------------------------


def _configured(path: Path, told: Foreign, pack: Pack) -> Store:
    """A configuration file: TorchServe's names a model store, TensorFlow Serving's models and their folders."""
    if path.suffix == _PROPERTIES:
        store = Path(str(told.settings.get("model_store", "")))
        if "model_store" not in told.settings or not store.is_dir():
            raise SetsailError("setting.value", f"model_store of {path.name} is no folder", field="model_store",
                               value=str(store), expected="a folder of archives")  # fmt: skip
        return _archives(store, told, pack)
    found: list[tuple[Path, Found]] = []
    declared: dict[str, Declared] = {}
    for ask in told.asks:
        for model in ask.models if isinstance(ask, Configure) else ():
            found += sorted(look(model, Path(model.base_path), True).items())
            declared[model.name] = Declared(None, model.labels, _policy(model.policy))
    return Store(found, told.notes, "tfserving", declared)


def _archives(store: Path, told: Foreign, pack: Pack) -> Store:
    """A model store of TorchServe, under the names that its configuration gives to archives."""
    theirs = layouts.find(store, Settings(as_="torchserve"), pack=pack)
    scanned = theirs.scan() if theirs is not None else {}
    asked = [ask for ask in told.asks if isinstance(ask, Register)]
    found: list[tuple[Path, Found]] = []
    for place, one in sorted(scanned.items()):
        named = [ask for ask in asked if ask.url == place.name and (ask.name or ask.version)]
        found += [(place, replace(one, name=ask.name or one.name, version=ask.version or one.version))
                  for ask in named] or [(place, one)]  # fmt: skip
    missing = [f"{ask.url}: it is not in {store.name}" for ask in asked if not (store / ask.url).exists()]
    declared = {ask.name: Declared(ask.version) for ask in told.asks if isinstance(ask, SetDefault)}
    return Store(found, (*told.notes, *missing), "torchserve", declared)


# -- ours, and models side by side ---------------------------------------------------------------------------------


def _plain(root: Path, flavour: str) -> Store:
    """A repository as ours are, one model's versions, or models side by side: files, and folders that are one model."""
    entries = visible(root)
    if any(_numbered(entry.name) for entry in entries):
        return Store([*versions(root, True, root.resolve().name)], flavour=flavour)
    found: list[tuple[Path, Found]] = []
    notes: list[str] = []
    for entry in entries:
        place = Path(entry.path)
        if entry.is_dir() and any(_numbered(inner.name) for inner in visible(place)):
            found += versions(place, True, entry.name)
            continue
        try:
            found += _alone(place)
        except SetsailError as fault:
            if fault.code == "source.unknown" and place.suffix not in _MODELS:
                notes.append(f"{place.name}: left alone, it is no model")
            else:
                found.append((place, Found(place, _named(place.stem), 1, (), fault)))
    return Store(found, tuple(notes), flavour)


def _numbered(name: str) -> bool:
    stem = name.removesuffix(_SUFFIX)
    return stem.isascii() and stem.isdigit()


def _alone(place: Path) -> Iterator[tuple[Path, Found]]:
    """One model, as it calls itself, else as its file is called. A Python file beside models is nobody's model."""
    if place.suffix == _SUFFIX:
        with artifacts.read(place) as opened:
            yield place, Found(place, opened.name, opened.version, stamp(place))
        return
    source = recognise(place)
    if place.suffix == ".py":
        raise SetsailError("source.unknown", f"{place.name} is code", value=str(place))
    stem = place.name if place.is_dir() else Path(place.name.removesuffix(".gz")).stem
    version = source.version if source.name else None  # what says no name says no version
    yield place, Found(place, _named(source.name or stem), version, stamp(place))


def _is_model(folder: Path) -> bool:
    """Whether a directory is one model, rather than having one in it, which then is called as its file is."""
    try:
        return recognise(folder).path == folder
    except SetsailError:
        return False


def _named(text: str) -> str:
    """A file's name as a model's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:128] or "model"
