"""Layers of an image: tar files whose bytes follow from their content and nothing else.

Entries are sorted, belong to root, and have one time and one of two modes; the gzip header has no time and no name. So
the same content has the same digest, and a registry that has a layer is not sent it again. The compressed bytes also
depend on the zlib that wrote them: on another machine the digest of the compressed layer may differ, while the one of
its content (the `diff_id`) does not.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from setsail import caches

__all__ = ["GZIP", "PLAIN", "Entry", "Layer", "Sink", "cached", "digest_of", "epoch", "folders", "pack", "write"]

GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN: Final = "application/vnd.oci.image.layer.v1.tar"
FORMAT: Final = 1  # raise it when the bytes of the same content change: layers that are kept are made again then
_CHUNK: Final = 1 << 20
_LEVEL: Final = 6
_SAMPLE: Final = 4 << 20  # bytes that are compressed to see whether the rest is worth it
_WORTH: Final = 0.9


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: a file with `data` (bytes, or where they lie), a link with a `target`, or else a folder."""

    name: str
    data: bytes | Path | None = None
    target: str | None = None
    executable: bool = False

    def info(self, when: int) -> tarfile.TarInfo:
        found = tarfile.TarInfo(self.name)
        found.mtime = when
        found.mode = 0o755 if self.executable or self.data is None else 0o644
        if self.target is not None:
            found.type, found.linkname, found.mode = tarfile.SYMTYPE, self.target, 0o777
        elif self.data is None:
            found.type = tarfile.DIRTYPE
        elif isinstance(self.data, Path):
            found.size = self.data.stat().st_size
        else:
            found.size = len(self.data)
        return found

    def open(self) -> IO[bytes] | None:
        if isinstance(self.data, Path):
            return self.data.open("rb")
        return None if self.data is None else io.BytesIO(self.data)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as a file.

    Attributes:
        digest, size: of the file as it is sent. diff_id: of the tar inside. unpacked: bytes of that tar.
        media_type: GZIP or PLAIN.
        what: for people, and the history of the image.
    """

    path: Path
    digest: str
    size: int
    diff_id: str
    unpacked: int
    media_type: str
    what: str


def epoch() -> int:
    """The time that files of an image have: `SOURCE_DATE_EPOCH`, else 0.

    Source: https://reproducible-builds.org/specs/source-date-epoch/
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def folders(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries in the order of a layer, each with the folders it lies in before it."""
    named = {entry.name: entry for entry in entries}
    for name in tuple(named):
        for parent in Path(name).parents:
            if parent.as_posix() != ".":
                named.setdefault(parent.as_posix(), Entry(parent.as_posix()))
    for name in sorted(named, key=lambda n: n.split("/")):
        yield named[name]


def pack(entries: Iterable[Entry], file: IO[bytes]) -> None:
    """The tar of a layer. `docs/targets/container.md` says what of a file is kept."""
    when = epoch()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for entry in folders(entries):
            source = entry.open()
            try:
                tar.addfile(entry.info(when), source)
            finally:
                if source is not None:
                    source.close()


class Sink(Protocol):
    """What a layer's content is written to."""

    def __call__(self, file: IO[bytes]) -> None: ...


def write(content: Sink, path: Path, what: str, *, worth: bool = False) -> Layer:
    """Write one layer.

    Args:
        content: writes the tar.
        path: of the file, which is made.
        worth: see first whether compressing saves a tenth, and leave it where it does not: weights rarely shrink, and a
            layer that is not compressed is quicker to send, and to start from.
    """
    with tempfile.TemporaryFile(dir=path.parent) as raw:
        hashed = _Hashed(raw)
        content(cast("IO[bytes]", hashed))  # it has all of a file that tarfile writes to
        raw.seek(0)
        if worth and not _shrinks(raw):
            with path.open("wb") as file:
                shutil.copyfileobj(raw, file, _CHUNK)
            return Layer(path, hashed.digest, hashed.size, hashed.digest, hashed.size, PLAIN, what)
        with path.open("wb") as file:
            packed = _Hashed(file)
            with gzip.GzipFile("", "wb", _LEVEL, packed, mtime=0) as stream:
                shutil.copyfileobj(raw, stream, _CHUNK)
        return Layer(path, packed.digest, packed.size, hashed.digest, hashed.size, GZIP, what)


def cached(key: str, what: str, content: Callable[[], Sink]) -> Layer:
    """A layer that is kept between shipments, because making it takes seconds; made where it is not there or damaged.

    Args:
        key: names all that its content depends on.
        content: called only where it must be made.
    """
    home = caches.folder("layers")
    name = hashlib.sha256(dumps([FORMAT, epoch(), key]).encode()).hexdigest()
    facts, blob = home / f"{name}.json", home / f"{name}.tar.gz"
    with suppress(OSError, ValueError, TypeError):
        kept = Layer(**(loads(facts.read_bytes()) | {"path": blob, "what": what}))
        if digest_of(blob) == kept.digest:
            caches.used(blob, facts)
            return kept
    with caches.lock(home / f"{name}.lock", 600), tempfile.TemporaryDirectory(dir=home) as made:
        layer = write(content(), Path(made) / "layer", what)
        layer.path.rename(blob)
        about: dict[str, Any] = asdict(layer) | {"path": "", "what": ""}
        (Path(made) / "facts").write_text(dumps(about))
        (Path(made) / "facts").rename(facts)
    return Layer(**(about | {"path": blob, "what": what}))


def digest_of(path: Path) -> str:
    """`sha256:…` of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _shrinks(raw: IO[bytes]) -> bool:
    sample = raw.read(_SAMPLE)
    raw.seek(0)
    return len(gzip.compress(sample, 1)) < _WORTH * len(sample)


class _Hashed:
    """A file that is written from beginning to end, its SHA-256 and its length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"
