"""The base of an image: Python and what it stands on, from an archive, a folder or a registry, and what is in it.

A base is recognised by what it holds, not by its name: an OCI layout (a folder or a tar of one), what `docker save`
wrote, or the tar or folder of a root file system, e.g. of `debootstrap`. Blobs are kept in the cache by their digests,
and one that has another digest than its image says is refused.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Protocol

from setsail import caches
from setsail.errors import SetsailError
from setsail.targets.container import elf
from setsail.targets.container.layers import GZIP, PLAIN, Layer, cached, digest_of
from setsail.targets.container.registry import INDEXES, Reference, Registry
from setsail.targets.container.tree import Tree

__all__ = ["ARCHITECTURE", "Base", "Facts", "open_base"]

ARCHITECTURE: Final = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "amd64")
# Media types of layers, OCI's and Docker's, and whether the blob is compressed.
_TYPES: Final[Mapping[str, str]] = {
    GZIP: GZIP, PLAIN: PLAIN, "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": PLAIN,
}  # fmt: skip
_OPENERS: Final[Mapping[bytes, Callable[..., Any]]] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open, b"BZ": bz2.open}
_CHUNK: Final = 1 << 20
_LIBRARY: Final = re.compile(r"\.so(\.|$)")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Modules that a Python without its whole standard library lacks.
_STDLIB: Final = ("asyncio/__init__.py", "ctypes/__init__.py", "email/__init__.py", "json/__init__.py", "ssl.py")


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in a base.

    Attributes:
        python: where its Python is, and its version (3, 11). glibc: (2, 36).
        libraries: names of all shared libraries. packages: of Debian's, (name, version, architecture, licences).
    """

    architecture: str
    python: str
    version: tuple[int, int]
    glibc: tuple[int, int]
    libraries: frozenset[str]
    system: str = ""
    packages: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """A base that was read.

    Attributes:
        name: as it was given, or what a registry calls it; "" for a file or folder, whose place is nobody's business.
        digest: of its manifest, where it has one.
        config: the image's own, with PATH and the like.
    """

    name: str
    digest: str
    layers: tuple[Layer, ...]
    facts: Facts
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The search path that its image sets."""
        for text in self.config.get("config", {}).get("Env") or ():
            if text.startswith("PATH="):
                return str(text.removeprefix("PATH="))
        return _PATH


def open_base(given: str, architecture: str = ARCHITECTURE) -> Base:
    """Read a base, and what is in it.

    Args:
        given: a path, or `[HOST/]NAME[:TAG]` of a registry.
        architecture: which one is taken where there are several.

    Raises:
        SetsailError: `ship.base` for what is no base, or lacks Python; `ship.fetch` where a registry does not answer.
    """
    path = Path(given)
    if not path.exists():
        if given.startswith((".", "/", "~")) or given.endswith((".tar", ".gz", ".tgz", ".xz")):
            raise SetsailError("ship.base", "there is no such base", field="--base", value=given)
        found = _pulled(Reference.parse(given), architecture)
    elif path.is_dir() and not (path / "oci-layout").is_file():
        found = _root(lambda: _folder(path), _stamp(path), given)
    elif path.is_dir():
        found = _layout(_Folder(path), architecture, given)
    else:
        found = _archive(path, architecture)
    name, digest, layers, config = found
    facts = _facts(Tree([layer.path for layer in layers]), config, given)
    return Base(name, digest, layers, facts, config)


_Found = tuple[str, str, tuple[Layer, ...], Mapping[str, Any]]


class _Blobs(Protocol):
    """Where the parts of an image are."""

    def open(self, name: str) -> IO[bytes]: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> IO[bytes]:
        return (self._path / name).open("rb")


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def open(self, name: str) -> IO[bytes]:
        stream = self._tar.extractfile(name)
        if stream is None:
            raise KeyError(name)
        return stream


# -- files and folders ------------------------------------------------------------------------------------------------


def _archive(path: Path, architecture: str) -> _Found:
    try:
        with tarfile.open(path) as tar:
            first = {name.removeprefix("./") for name, _ in zip(_names(tar), range(64), strict=False)}
            if "oci-layout" in first or any(n.startswith("blobs/") for n in first):
                return _layout(_Tar(tar), architecture, str(path))
            if "manifest.json" in set(tar.getnames()):
                return _saved(_Tar(tar), str(path))
    except tarfile.TarError as fault:
        raise _bad(str(path), f"not a tar ({fault})") from fault
    return _root(lambda: _unpacked(path), digest_of(path), str(path))


def _names(tar: tarfile.TarFile) -> Iterator[str]:
    for info in tar:
        yield info.name


def _root(content: Any, key: str, given: str) -> _Found:
    return "", "", (cached(f"root {key}", "the base", content),), {}


def _unpacked(path: Path) -> Any:
    """A root file system's tar as it is, but for its compression: one layer."""

    def copy(file: IO[bytes]) -> None:
        with path.open("rb") as raw:
            head = raw.read(2)
        opened: Any = _OPENERS.get(head, open)(path, "rb")
        with opened as source:
            shutil.copyfileobj(source, file, _CHUNK)

    return copy


def _stamp(path: Path) -> str:
    """What a folder holds, by names, sizes and times: a key to keep its layer under."""
    facts = hashlib.sha256(str(path.resolve()).encode())
    for file in sorted(path.rglob("*")):
        state = file.lstat()
        facts.update(f"{file.relative_to(path)} {state.st_mode} {state.st_size} {state.st_mtime_ns}\n".encode())
    return facts.hexdigest()


def _folder(path: Path) -> Any:
    def walk(file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(path.rglob("*"), key=lambda p: p.relative_to(path).parts):
                info = tar.gettarinfo(name, name.relative_to(path).as_posix())
                if info is None or info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
                    continue  # sockets and devices are made by who runs an image
                info.mtime, info.uname, info.gname = int(info.mtime), "", ""
                with name.open("rb") if info.isreg() else io.BytesIO() as source:
                    tar.addfile(info, source if info.isreg() else None)

    return walk


def _layout(blobs: _Blobs, architecture: str, given: str) -> _Found:
    """An OCI image layout. Source: image-spec, image-layout.md."""
    try:
        found = json.loads(_read(blobs, "index.json"))
        digest = ""
        while "manifests" in found:
            digest = _chosen(found["manifests"], architecture)["digest"]
            found = json.loads(_blob(blobs, digest))
        config = json.loads(_blob(blobs, found["config"]["digest"]))
        ids = config["rootfs"]["diff_ids"]
        layers = []
        for entry, diff_id in zip(found["layers"], ids, strict=True):
            with blobs.open(_place(entry["digest"])) as stream:
                layers.append(_kept(stream, entry["digest"], diff_id, _type(entry["mediaType"])))
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as fault:
        raise _bad(given, f"an OCI layout that cannot be read ({type(fault).__name__}: {fault})") from fault
    return "", digest, tuple(layers), config


def _saved(blobs: _Blobs, given: str) -> _Found:
    """What `docker save` wrote before it wrote OCI layouts."""
    try:
        (entry,) = json.loads(_read(blobs, "manifest.json"))
        config = json.loads(_read(blobs, entry["Config"]))
        layers = []
        for name, diff_id in zip(entry["Layers"], config["rootfs"]["diff_ids"], strict=True):
            with blobs.open(name) as stream:
                key = f"saved {hashlib.file_digest(stream, 'sha256').hexdigest()}"  # type: ignore[arg-type]
            layers.append(cached(key, "the base", partial(_copied, blobs, name)))
            if layers[-1].diff_id != diff_id:
                raise ValueError(f"layer {name} has another digest than the image says")
    except (KeyError, ValueError, TypeError, OSError) as fault:
        raise _bad(given, f"an archive of `docker save` that cannot be read ({fault})") from fault
    return "", "", tuple(layers), config


def _copied(blobs: _Blobs, name: str) -> Any:
    def copy(file: IO[bytes]) -> None:
        with blobs.open(name) as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            with gzip.GzipFile(fileobj=stream) if packed else stream as content:
                shutil.copyfileobj(content, file, _CHUNK)

    return copy


def _chosen(manifests: list[dict[str, Any]], architecture: str) -> dict[str, Any]:
    """The image of our platform among several; the only one, where nothing is said."""
    ours = [m for m in manifests if (p := m.get("platform")) and p.get("os") == "linux"
            and p.get("architecture") == architecture]  # fmt: skip
    plain = [m for m in manifests if not m.get("platform")]
    if not (ours or len(plain) == 1):
        raise ValueError(f"no image for linux/{architecture}")
    return (ours or plain)[0]


def _place(digest: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ValueError(f"{digest!r} is no digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _read(blobs: _Blobs, name: str) -> bytes:
    with blobs.open(name) as stream:
        return stream.read()


def _blob(blobs: _Blobs, digest: str) -> bytes:
    data = _read(blobs, _place(digest))
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ValueError(f"the blob {digest} has another digest")
    return data


def _type(media_type: str) -> str:
    if media_type not in _TYPES:
        raise ValueError(f"a layer of the type {media_type}; gzip and plain tars are read")
    return _TYPES[media_type]


def _pulled(reference: Reference, architecture: str) -> _Found:
    """An image of a registry. Blobs that are in the cache are not fetched again."""
    registry = Registry(reference)
    try:
        digest, found = registry.manifest(reference.wanted)
        if found.get("mediaType") in INDEXES or "manifests" in found:
            digest, found = registry.manifest(_chosen(found["manifests"], architecture)["digest"])
        with registry.blob(found["config"]["digest"]) as stream:
            body = stream.read()
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != found["config"]["digest"]:
            raise ValueError("the image's configuration has another digest")
        config = json.loads(body)
        layers = []
        for entry, diff_id in zip(found["layers"], config["rootfs"]["diff_ids"], strict=True):
            with _fetched(registry, entry["digest"]) as stream:
                layers.append(_kept(stream, entry["digest"], diff_id, _type(entry["mediaType"])))
    except (KeyError, ValueError, TypeError) as fault:
        raise _bad(str(reference), f"an image that cannot be read ({fault})") from fault
    return str(reference), digest, tuple(layers), config


@contextmanager
def _fetched(registry: Registry, digest: str) -> Iterator[IO[bytes] | None]:
    if _home(digest).is_file():
        yield None
        return
    with registry.blob(digest) as stream:
        yield stream


def _home(digest: str) -> Path:
    return caches.folder("blobs") / _place(digest).rpartition("/")[2]


def _kept(stream: IO[bytes] | None, digest: str, diff_id: str, media_type: str) -> Layer:
    """A layer's blob in the cache, checked: what it is, and what it holds."""
    home = _home(digest)
    if stream is not None and not (home.is_file() and digest_of(home) == digest):
        with tempfile.NamedTemporaryFile(dir=home.parent, delete=False) as file:
            shutil.copyfileobj(stream, file, _CHUNK)
        os.replace(file.name, home)
    caches.used(home)
    if digest_of(home) != digest:
        home.unlink()
        raise ValueError(f"the layer {digest} has another digest")
    inner, size = hashlib.sha256(), 0
    with gzip.open(home) if media_type == GZIP else home.open("rb") as raw:
        while chunk := raw.read(_CHUNK):
            inner.update(chunk)
            size += len(chunk)
    if f"sha256:{inner.hexdigest()}" != diff_id:
        raise ValueError(f"the layer {digest} holds something else than the image says")
    return Layer(home, digest, home.stat().st_size, diff_id, size, media_type, "the base")


# -- what is in it ----------------------------------------------------------------------------------------------------


def _facts(tree: Tree, config: Mapping[str, Any], given: str) -> Facts:
    """Python, the C library and Debian's packages. Raises `ship.base` where Python is not there as it must be."""
    where = [
        text.removeprefix("PATH=") for text in config.get("config", {}).get("Env") or () if text.startswith("PATH=")
    ]
    python, version = _python(tree, (where or [_PATH])[0].split(":"), given)
    prefix = python.rpartition("/bin/")[0]
    lacking = [name for name in _STDLIB if tree.resolve(f"{prefix}/lib/python3.{version}/{name}") is None]
    if lacking:
        raise SetsailError("ship.base", "the base's Python lacks a part of its standard library", field="--base",
                           value=", ".join(lacking), expected="all of it, e.g. Debian's package python3")  # fmt: skip
    libraries = {name.rpartition("/")[2]: name for name in tree.nodes if _LIBRARY.search(name)}
    wanted = {"python": python, "libc": libraries.get("libc.so.6", ""), "system": "etc/os-release",
              "status": "var/lib/dpkg/status"}  # fmt: skip
    content = tree.read(wanted.values())
    architecture = elf.machine(content.get(python, b""))
    found = re.search(rb"GNU C Library .*?version (\d+)\.(\d+)", content.get(wanted["libc"], b""))
    if architecture is None or found is None:
        raise SetsailError(
            "ship.base", "the base is not a Linux with the GNU C library on amd64 or arm64", field="--base",
            value=given, expected="e.g. Debian; most packages have no wheels for Alpine's musl",
        )  # fmt: skip
    packages = _packages(tree, content.get("var/lib/dpkg/status", b"").decode("utf-8", "replace"))
    named = re.search(r'^PRETTY_NAME="?([^"\n]*)', content.get("etc/os-release", b"").decode(), re.MULTILINE)
    glibc = (int(found[1]), int(found[2]))
    return Facts(architecture, f"/{python}", (3, version), glibc, frozenset(libraries), named[1] if named else "",
                 packages)  # fmt: skip


def _python(tree: Tree, where: list[str], given: str) -> tuple[str, int]:
    """The Python that a shell would find: its real place, and its minor version."""
    names = ("python3", *(f"python3.{minor}" for minor in range(14, 10, -1)))
    for folder in where:
        for name in names:
            real = tree.resolve(f"{folder}/{name}")
            if real is not None and (found := re.fullmatch(r".*/python3\.(\d+)", f"/{real}")):
                if int(found[1]) < 11:
                    break
                return real, int(found[1])
    raise SetsailError("ship.base", "the base has no Python 3.11 or newer on its PATH", field="--base", value=given,
                       expected="e.g. python:3.11-slim-bookworm")  # fmt: skip


def _packages(tree: Tree, status: str) -> tuple[tuple[str, str, str, str], ...]:
    """Debian's packages, with the licences that their copyright files name."""
    rows = []
    for block in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            rows.append((fields["Package"], fields.get("Version", ""), fields.get("Architecture", "")))
    texts = tree.read(f"usr/share/doc/{name}/copyright" for name, _, _ in rows)
    told = {
        name: sorted(set(re.findall(rb"^License: *(\S.*?)\s*$", text, re.MULTILINE))) for name, text in texts.items()
    }
    licences = {name: b"; ".join(found).decode("utf-8", "replace") for name, found in told.items()}
    return tuple((*row, licences.get(f"usr/share/doc/{row[0]}/copyright", "")) for row in rows)


def _bad(given: str, what: str) -> SetsailError:
    return SetsailError("ship.base", f"the base is {what}", field="--base", value=given,
                        expected="an OCI layout, what docker save wrote, or a root file system")  # fmt: skip
