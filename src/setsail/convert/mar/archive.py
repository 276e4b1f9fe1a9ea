"""An archive of TorchServe: what is in it, by its manifest, and its files in a folder. Runs nothing.

`torch-model-archiver` writes it in four forms: a zip (`x.mar`, deflated or stored), a `x.tar.gz` with everything below
one folder, and a folder. Each has `MAR-INF/MANIFEST.json`, the code and the weights beside it.

An archive is a stranger's. Members are listed before any is read; a name that leads out of the folder, a link, a
device, an encrypted member, two members of one name, or more bytes than such an archive can have by right are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from setsail import caches
from setsail.errors import SetsailError

__all__ = ["MANIFEST", "Archive", "archive", "handled", "holds", "trust"]

MANIFEST: Final = "MAR-INF/MANIFEST.json"
_LARGEST_MANIFEST: Final = 1 << 20
_MEMBERS: Final = 10_000
_NAME: Final = 1024
_FIRST: Final = 256
_SPARE: Final = 1 << 30  # bytes that any archive may unpack to, and otherwise so many times its own size
_TIMES: Final = 100
_CHUNK: Final = 1 << 20
_WAIT_SECONDS: Final = 600.0
_BUILT_IN: Final = ("image_classifier", "text_classifier", "object_detector", "image_segmenter", "base_handler")
_FAULTS: Final = (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Archive:
    """An archive whose manifest was read.

    Attributes:
        path: the file or folder.
        name, version: of the model, as the manifest has them; the version is the whole part of "2.0".
        handler: as the manifest has it: `handler.py`, `module:function`, or a built-in name.
        serialized, model_file, requirements, config: names of members, "" where there is none.
        manifest: all of it.
        members: every file's name and size.
        root: what all names begin with in the archive; not in `members`.
    """

    path: Path
    name: str
    version: int
    handler: str
    serialized: str
    model_file: str
    requirements: str
    config: str
    manifest: Mapping[str, Any]
    members: Mapping[str, int]
    root: str

    @property
    def built_in(self) -> str:
        """The handler of TorchServe's own that it names; "" for code of its own."""
        return self.handler if self.handler in _BUILT_IN and f"{self.handler}.py" not in self.members else ""

    def digest(self) -> str:
        """Of the file, or of all files of a folder."""
        if not self.path.is_dir():
            return _digest(self.path)
        told = "\n".join(f"{_digest(self.path / name)} {name}" for name in sorted(self.members))
        return hashlib.sha256(told.encode()).hexdigest()

    def read(self, name: str, limit: int) -> bytes:
        """A member. Raises `source.damaged` where it is missing or larger than the limit."""
        if name not in self.members:
            raise _damaged(self.path, f"it has no file {name!r}, which its manifest names")
        with _opened(self.path) as members, members.open(self.root + name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise _damaged(self.path, f"{name} is larger than {limit >> 10} KiB")
        return data

    def unpacked(self) -> Path:
        """The folder with its files: a folder itself, else one in the cache, made once. Raises `source.damaged`."""
        if self.path.is_dir():
            return self.path
        target = caches.folder("archives") / self.digest()
        with caches.lock(target.with_suffix(".lock"), _WAIT_SECONDS):
            if not target.is_dir():
                made = Path(tempfile.mkdtemp(prefix="unpacking-", dir=target.parent))
                try:
                    self.write(made)
                    made.rename(target)
                except BaseException:
                    shutil.rmtree(made, ignore_errors=True)
                    raise
        return target

    def write(self, folder: Path, names: tuple[str, ...] = ()) -> None:
        """Write members (all, without names) below a folder. Raises `source.damaged`."""
        with _faults(self.path), _opened(self.path) as members:
            for name in names or self.members:
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with members.open(self.root + name) as source, place.open("xb") as out:
                    _copy(self, name, source, out)


def archive(path: Path) -> Archive:
    """Read an archive's list and its manifest.

    Raises:
        SetsailError: `source.damaged` for one that cannot be read, has no manifest or a wrong one, or is hostile.
    """
    with _faults(path), _opened(path) as members:
        sizes = _listed(path, members.sizes())
        root = "" if MANIFEST in sizes else _root(sizes)
        if root + MANIFEST not in sizes:
            raise _damaged(path, f"it has no {MANIFEST}")
        if sizes[root + MANIFEST] > _LARGEST_MANIFEST:
            raise _damaged(path, "its manifest is larger than 1 MiB")
        with members.open(root + MANIFEST) as file:
            raw = file.read(_LARGEST_MANIFEST + 1)
    inside = {name.removeprefix(root): size for name, size in sizes.items() if name.startswith(root)}
    return _read(path, raw, inside, root)


def holds(path: Path) -> bool:
    """Whether a tar is an archive of TorchServe, by the names of its first members."""
    try:
        with tarfile.open(path, "r:gz") as members:
            return any(info.name.removeprefix("./").partition("/")[2] == MANIFEST for info in islice(members, _FIRST))
    except _FAULTS:
        return False


def trust(found: Archive) -> str | None:
    """The `--trust` kind that serving it takes: that of its payload where no code of its own runs, else `mar`."""
    if not handled(found):
        return "mar"
    return "torchscript" if not found.serialized.endswith(".onnx") else None


def handled(found: Archive) -> bool:
    """Whether it is served without its own code: a handler that we have as steps, and a payload that is a program."""
    return found.built_in == "image_classifier" and bool(found.serialized) and not found.model_file


# -- the manifest ------------------------------------------------------------------------------------------------------


def _read(path: Path, raw: bytes, members: Mapping[str, int], root: str) -> Archive:
    try:
        manifest = json.loads(raw)
        model = manifest["model"]
        texts = {key: _text(path, model, key) for key in (
            "modelName", "handler", "serializedFile", "modelFile", "requirementsFile", "configFile", "modelVersion",
        )}  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise _damaged(path, "its manifest is no JSON of TorchServe's form") from fault
    if not texts["handler"]:
        raise _damaged(path, "its manifest names no handler")
    for key in ("serializedFile", "modelFile", "requirementsFile", "configFile"):
        if texts[key] and texts[key] not in members:
            raise _damaged(path, f"it has no file {texts[key]!r}, which its manifest names as {key}")
    return Archive(
        path, texts["modelName"] or path.name.partition(".")[0], _version(texts["modelVersion"]), texts["handler"],
        texts["serializedFile"], texts["modelFile"], texts["requirementsFile"], texts["configFile"], manifest, members,
        root,
    )  # fmt: skip


def _text(path: Path, model: Mapping[str, Any], key: str) -> str:
    value = model.get(key) or ""
    if not isinstance(value, str) or len(value) > _NAME or not value.isprintable():
        raise _damaged(path, f"its manifest has a {key} that is no text")
    return value


def _version(text: str) -> int:
    whole = text.partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 10 and int(whole) > 0 else 1


# -- members -----------------------------------------------------------------------------------------------------------


class _Zip:
    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)

    def sizes(self) -> Iterator[tuple[str, int, str]]:
        for info in self._file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            what = "a link or a device" if kind not in (0, stat.S_IFREG, stat.S_IFDIR) else ""
            if not info.is_dir():
                yield info.filename, info.file_size, "encrypted" if info.flag_bits & 1 else what

    def open(self, name: str) -> IO[bytes]:
        return self._file.open(name)

    def close(self) -> None:
        self._file.close()


class _Tar:
    def __init__(self, path: Path) -> None:
        self._file = tarfile.open(path, "r:gz")  # noqa: SIM115  # closed by `close`

    def sizes(self) -> Iterator[tuple[str, int, str]]:
        for count, info in enumerate(self._file):
            if count > _MEMBERS:
                raise tarfile.TarError(f"more than {_MEMBERS} members")
            if not info.isdir():
                yield info.name.removeprefix("./"), info.size, "" if info.isreg() else "a link or a device"

    def open(self, name: str) -> IO[bytes]:
        for spelled in (name, f"./{name}"):
            try:
                file = self._file.extractfile(spelled)
            except KeyError:
                continue
            if file is not None:
                return file
        raise tarfile.TarError(f"no member {name}")

    def close(self) -> None:
        self._file.close()


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes(self) -> Iterator[tuple[str, int, str]]:
        for parent, _, files in os.walk(self._path):
            for name in files:
                place = Path(parent, name)
                status = place.lstat()
                what = "" if stat.S_ISREG(status.st_mode) else "a link or a device"
                yield place.relative_to(self._path).as_posix(), status.st_size, what

    def open(self, name: str) -> IO[bytes]:
        return (self._path / name).open("rb")

    def close(self) -> None: ...


@contextmanager
def _opened(path: Path) -> Iterator[_Zip | _Tar | _Folder]:
    kind = _Folder if path.is_dir() else _Zip if zipfile.is_zipfile(path) else _Tar
    with closing(kind(path)) as members:
        yield members


def _listed(path: Path, found: Iterator[tuple[str, int, str]]) -> dict[str, int]:
    """Every member's size by name. Raises `source.damaged` for what no honest archive has."""
    sizes: dict[str, int] = {}
    total, most = 0, max(_SPARE, _TIMES * path.stat().st_size) if path.is_file() else None
    for name, size, wrong in found:
        if wrong or not _is_inside(name):
            raise _damaged(path, f"its member {name[:80]!r} is {wrong or 'outside of it'}")
        if name in sizes:
            raise _damaged(path, f"it has two members {name[:80]!r}")
        sizes[name] = size
        total += size
        if len(sizes) > _MEMBERS or (most is not None and total > most):
            raise _damaged(path, "it has more members, or unpacks to more bytes, than it can by right")
    return sizes


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    odd = "\\" in name or "\0" in name or ":" in name.partition("/")[0] or not name.isprintable()
    return bool(parts) and len(name) <= _NAME and not odd and not name.startswith("/") and ".." not in parts


def _root(sizes: Mapping[str, int]) -> str:
    """The one folder that everything is below, as `--archive-format tgz` writes it."""
    tops = {name.partition("/")[0] for name in sizes}
    return f"{tops.pop()}/" if len(tops) == 1 else ""


def _copy(found: Archive, name: str, source: IO[bytes], out: IO[bytes]) -> None:
    """Copy a member, no more bytes than were declared."""
    left = found.members[name]
    while chunk := source.read(min(_CHUNK, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise _damaged(found.path, f"{name} is larger than it says")
        out.write(chunk)
    if left:
        raise _damaged(found.path, f"{name} ends early")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """What readers of zips and tars raise, as the one fault that it is."""
    try:
        yield
    except SetsailError:
        raise
    except (*_FAULTS, RuntimeError, ValueError) as fault:  # zipfile raises RuntimeError for what it cannot decrypt
        told = " ".join(str(fault).split())
        raise _damaged(path, f"it cannot be read: {told if told.isprintable() else type(fault).__name__}") from fault


def _damaged(path: Path, what: str) -> SetsailError:
    return SetsailError("source.damaged", f"{path.name} is no sound archive of TorchServe: {what}", value=path.name,
                        todo="write it again with torch-model-archiver")  # fmt: skip
