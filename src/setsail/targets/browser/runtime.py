"""onnxruntime-web: which version, which of its files, and where they come from.

The npm package is 33 MB, of which a site needs two files and a wasm module. It is fetched once over HTTPS, from the
registry that npm is set up for, and held against the digest below; what is kept of it is held again at every use.

To change the version: put the new package's `dist.integrity` and the digests of its files here, and run the slow tests
of tests/targets; operators come with versions (`fitness.NEWEST`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.request
from base64 import b64decode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

from setsail import caches
from setsail.errors import SetsailError

__all__ = ["VERSION", "WASM", "WEBGPU", "Runtime", "members"]

VERSION: Final = "1.30.0"
SHA512: Final = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_REGISTRY: Final = "https://registry.npmjs.org"
_LARGEST: Final = 64 << 20
_SECONDS: Final = 300

Runtime = tuple[str, str, str]
"""The module a page imports, the module that module imports, and the program."""

WASM: Final[Runtime] = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU: Final[Runtime] = (
    "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
)  # fmt: skip

# file below package/dist -> (bytes, SHA-256)
MEMBERS: Final[Mapping[str, tuple[int, str]]] = {
    "ort.wasm.min.mjs": (50126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    "ort.webgpu.min.mjs": (66349, "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
    "ort-wasm-simd-threaded.mjs": (24381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    "ort-wasm-simd-threaded.wasm": (14239897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
    "ort-wasm-simd-threaded.asyncify.mjs": (
        53057, "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    ),
    "ort-wasm-simd-threaded.asyncify.wasm": (
        26781914, "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
}  # fmt: skip


def size(parts: Runtime) -> int:
    """Bytes of a runtime, before anything is fetched."""
    return sum(MEMBERS[name][0] for name in parts)


def members(names: Sequence[str], tarball: Path | None = None) -> dict[str, bytes]:
    """The files of a runtime, each held against its digest.

    Args:
        tarball: the package as it was fetched elsewhere.

    Raises:
        SetsailError: `ship.fetch` where the package cannot be had, or is not the one that is pinned.
    """
    kept = caches.folder(f"onnxruntime-web-{VERSION}")
    found = {name: data for name in names if (data := _read(kept / name)) is not None and _same(name, data)}
    if len(found) == len(names):
        return found
    package = _given(tarball) if tarball is not None else _fetched()
    _hold(package, "the file" if tarball else "what came")
    for name, data in _unpacked(package).items():
        if not _same(name, data):
            raise _unlike(f"{name} in it")
        _keep(kept / name, data)
        if name in names:
            found[name] = data
    return found


def _same(name: str, data: bytes) -> bool:
    length, digest = MEMBERS[name]
    return len(data) == length and hashlib.sha256(data).hexdigest() == digest


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _keep(path: Path, data: bytes) -> None:
    """Under its name at once: another process may be reading."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_bytes(data)
    aside.replace(path)


def _given(tarball: Path) -> bytes:
    try:
        return tarball.read_bytes()
    except OSError as fault:
        raise SetsailError("ship.fetch", "the tarball cannot be read", field="--ort", value=str(tarball),
                           expected=f"onnxruntime-web-{VERSION}.tgz") from fault  # fmt: skip


def registry() -> str:
    """`SETSAIL_NPM_REGISTRY`, else what npm is set up for, else the public one."""
    named = os.environ.get("SETSAIL_NPM_REGISTRY")
    npm = None if named else shutil.which("npm")
    if npm is not None:
        try:
            done = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        told = "" if done is None else done.stdout.strip()
        named = told if done is not None and done.returncode == 0 and told.startswith("http") else None
    return (named or _REGISTRY).rstrip("/")


def _fetched() -> bytes:
    address = f"{registry()}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    if not address.startswith(("https://", "http://")):
        raise SetsailError("ship.fetch", "the npm registry's address is none", field="SETSAIL_NPM_REGISTRY",
                           value=address, expected="https://…")  # fmt: skip
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
            data: bytes = answer.read(_LARGEST + 1)
    except (OSError, ValueError) as fault:
        raise SetsailError(
            "ship.fetch", f"onnxruntime-web {VERSION} could not be fetched ({fault})", value=address,
            todo=f"check the network, set SETSAIL_NPM_REGISTRY, or run `npm pack onnxruntime-web@{VERSION}` elsewhere "
            "and pass the file as --ort",
        ) from fault  # fmt: skip
    return data


def _hold(package: bytes, what: str) -> None:
    if hashlib.sha512(package).digest() != b64decode(SHA512):
        raise _unlike(what)


def _unlike(what: str) -> SetsailError:
    return SetsailError("ship.fetch", f"{what} is not onnxruntime-web {VERSION} as it was published", field="--ort",
                        expected=f"sha512-{SHA512}")  # fmt: skip


def _unpacked(package: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=BytesIO(package), mode="r:gz") as archive:
        for name in MEMBERS:
            file = archive.extractfile(f"package/dist/{name}")
            if file is None:
                raise _unlike(f"{name} in it")
            found[name] = file.read()
    return found
