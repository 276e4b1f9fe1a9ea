"""From wheels to layers: a virtual environment in `/opt/setsail`, without what is not run there.

A wheel is a zip with the files of a package (packaging.python.org, binary distribution format). They are laid out as
an installer would, but for command-line tools, tests, headers, typing stubs and what a debugger reads. Modules are
compiled ahead, with their hash and not their time in them, so that a read-only image starts as quickly as any, and the
same wheels give the same bytes.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from typing import IO, Final

from setsail.errors import SetsailError
from setsail.targets.container import elf, slim
from setsail.targets.container.base import Base
from setsail.targets.container.layers import Entry, Layer, Sink, cached, pack
from setsail.targets.container.wheels import Wheel

__all__ = ["HOME", "LIBRARIES", "compiler", "environment", "layer", "left_out", "member", "site"]

HOME: Final = "opt/setsail"
LIBRARIES: Final = f"{HOME}/lib"  # of the system, where its own are lacking (`libraries.py`)
# Folders of a package that nothing in an image imports, beside tests: tools of who builds or converts.
_LEFT_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    "onnxruntime": ("backend", "datasets", "quantization", "tools", "transformers"),
    "numpy": ("_core/include", "_core/lib", "random/lib", "distutils"),  # f2py stays: scipy takes all of numpy's names
    "catboost": ("widget",),
    "ai_edge_litert": ("aot", "tools", "vendors"),
    "setsail": ("targets/browser/dist",),
}
# Boosters import scipy.sparse and nothing else of scipy, which itself imports all the rest only when it is asked for:
# since 1.16. Before, it loads its linear algebra at once.
_SPARSE: Final = (
    "sparse/csgraph", "sparse/linalg", "cluster", "constants", "datasets", "differentiate", "fft", "fftpack",
    "integrate", "interpolate", "io", "linalg", "misc", "ndimage", "odr", "optimize", "signal", "spatial", "special",
    "stats",
)  # fmt: skip
_SPARSE_SINCE: Final = (1, 16)
_BOOT: Final = """\
import sys
from setsail.__main__ import main
sys.exit(main())
"""
# Compiles in one process and in one order: which strings are shared in a compiled file depends on what ran before.
_COMPILE: Final = """\
import importlib.util, py_compile, sys
from pathlib import Path
root, place = Path(sys.argv[1]), sys.argv[2]
for path in sorted(root.rglob("*.py")):
    name = path.relative_to(root).as_posix()
    try:
        py_compile.compile(str(path), dfile=f"{place}/{name}", doraise=True, quiet=2,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except (py_compile.PyCompileError, ValueError, RecursionError):
        pass
"""
_SECONDS: Final = 600


def compiler(base: Base) -> str | None:
    """A Python of the base's version on this machine, which compiles for it; None where there is none."""
    if sys.version_info[:2] == base.facts.version and sys.implementation.name == "cpython":
        return sys.executable
    return shutil.which("python{}.{}".format(*base.facts.version))


def environment(base: Base, more: Sequence[Entry] = ()) -> list[Entry]:
    """The frame of a virtual environment: PEP 405's `pyvenv.cfg`, its links to Python, and the command `setsail`."""
    folder, _, python = base.facts.python.rpartition("/")
    config = (
        f"home = {folder}\ninclude-system-site-packages = false\nversion = {'.'.join(map(str, base.facts.version))}\n"
    )
    launcher = f"#!/{HOME}/bin/python\n{_BOOT}"
    return [
        Entry(f"{HOME}/pyvenv.cfg", config.encode()), Entry(f"{HOME}/bin/setsail", launcher.encode(), executable=True),
        Entry(f"{HOME}/bin/python", target=f"{folder}/{python}"), Entry(f"{HOME}/bin/python3", target="python"), *more,
    ]  # fmt: skip


def left_out(wheel: Wheel) -> tuple[str, ...]:
    """Folders of a wheel, below site-packages, that an image does without."""
    if wheel.name == "scipy":
        since = tuple(int(part) for part in wheel.version.split(".")[:2] if part.isdigit())
        return ("scipy.libs", *(f"scipy/{name}" for name in _SPARSE)) if since >= _SPARSE_SINCE else ()
    package = wheel.name.replace("-", "_")
    return tuple(f"{package}/{name}" for name in _LEFT_OUT.get(package, ()))


def layer(base: Base, wheels: Sequence[Wheel], what: str, frame: Sequence[Entry] = ()) -> Layer:
    """One layer with some wheels installed; kept in the cache.

    Args:
        frame: what lies in it beside; libraries of the system among it are found by the packages.

    Raises:
        SetsailError: `ship.base` where the base has no library that a package needs, `ship.fetch` for a damaged wheel.
    """
    python = compiler(base)
    key = "\n".join([
        base.facts.python, str(python and _version(python)), *(f"{w.name} {w.digest}" for w in wheels),
        repr([left_out(w) for w in wheels]), slim.RULES, _COMPILE,
        repr([(e.name, e.target, e.data) for e in frame]), "bare",
    ])  # fmt: skip
    return cached(key, what, lambda: _sink(base, wheels, frame, python))


def site(version: tuple[int, int]) -> str:
    """Where packages are in an image, for a Python (3, 11)."""
    return "{}/lib/python{}.{}/site-packages".format(HOME, *version)


def _version(python: str) -> str:
    if python == sys.executable:
        return sys.version
    return subprocess.run([python, "-VV"], capture_output=True, text=True, timeout=60).stdout


def _sink(base: Base, wheels: Sequence[Wheel], frame: Sequence[Entry], python: str | None) -> Sink:
    def write(file: IO[bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="setsail-image-") as made:
            root = Path(made)
            for wheel in wheels:
                for name, data in _files(wheel):
                    place = root / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)
            _find_libraries(base, root, {Path(entry.name).name for entry in frame})
            if python is not None and wheels:
                _compile(python, root, f"/{site(base.facts.version)}")
            files = (p for p in root.rglob("*") if p.is_file())
            inside = [Entry(f"{site(base.facts.version)}/{path.relative_to(root).as_posix()}", path) for path in files]
            pack([*frame, *inside], file)

    return write


def _files(wheel: Wheel) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel that an image gets, held against the wheel's own record."""
    with zipfile.ZipFile(wheel.path) as archive:
        record, told = _record(archive)
        for name in sorted(archive.namelist()):
            place = _place(wheel, name)
            if place is not None and not name.endswith("/"):
                data = archive.read(name) if name == record else _checked(wheel, archive, name, told)
                yield place, elf.bare(data) if slim.LIBRARY.search(name) else data


def member(wheel: Wheel, pattern: re.Pattern[str]) -> bytes | None:
    """The first file of a wheel with such a name, held against the wheel's own record; None where there is none."""
    with zipfile.ZipFile(wheel.path) as archive:
        for name in sorted(archive.namelist()):
            if pattern.fullmatch(name):
                return _checked(wheel, archive, name, _record(archive)[1])
    return None


def _record(archive: zipfile.ZipFile) -> tuple[str, dict[str, str]]:
    """Where a wheel's record is, and what it says of each file."""
    record = next(n for n in archive.namelist() if n.endswith(".dist-info/RECORD") and n.count("/") == 1)
    rows = csv.reader(archive.read(record).decode().splitlines())
    return record, {row[0]: row[1] for row in rows if len(row) == 3}


def _checked(wheel: Wheel, archive: zipfile.ZipFile, name: str, told: Mapping[str, str]) -> bytes:
    data = archive.read(name)
    if told.get(name) != f"sha256={_sha(data)}":
        raise SetsailError("ship.fetch", f"a file of the wheel of {wheel.name} is not the one it records",
                           field=name, todo="clear pip's cache and setsail's, and ship again")  # fmt: skip
    return data


def _sha(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _place(wheel: Wheel, name: str) -> str | None:
    """Where a wheel's file goes below site-packages, or None where it is left out."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise SetsailError("ship.fetch", f"the wheel of {wheel.name} has a name that leads outside", field=name)
    if parts[0].endswith(".data"):
        if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
            return None
        parts = parts[2:]
    inner = "/".join(parts)
    return None if slim.unused(inner, left_out(wheel)) else inner


def _compile(python: str, root: Path, place: str) -> None:
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
    ended = subprocess.run([python, "-S", "-s", "-W", "ignore", "-c", _COMPILE, str(root), place], env=environment,
                           capture_output=True, text=True, timeout=_SECONDS)  # fmt: skip
    if ended.returncode:
        raise SetsailError("child.failed", "the packages of the image could not be compiled",
                           value=(ended.stderr.strip().splitlines() or [""])[-1])  # fmt: skip


def _find_libraries(base: Base, root: Path, beside: AbstractSet[str]) -> None:
    """Whether all shared libraries that the packages ask for are theirs, the base's, or laid beside them."""
    files = [p for p in root.rglob("*") if slim.LIBRARY.search(p.name)]
    own = {path.name for path in files} | beside
    for path in files:
        data = path.read_bytes()
        if elf.machine(data) not in (None, base.facts.architecture):
            raise SetsailError("ship.base", f"{path.name} is for another processor than the base", field="--base",
                               value=elf.machine(data), expected=base.facts.architecture)  # fmt: skip
        if lacking := [name for name in elf.needed(data) if name not in own and name not in base.facts.libraries]:
            raise SetsailError(
                "ship.base", f"the base lacks a library that {path.relative_to(root).parts[0]} needs", field="--base",
                value=", ".join(lacking), todo="give a base with it; Debian's packages are libgomp1, libstdc++6, …",
            )  # fmt: skip
