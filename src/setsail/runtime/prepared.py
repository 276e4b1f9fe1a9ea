"""Weights on disk in the form that onnxruntime computes with, so that processes share one copy of them.

A session copies every weight of its program and packs it for this CPU's kernels: memory that each process has for
itself. onnxruntime can also write down what it made, the optimised program and beside it one file of packed weights.
Whoever opens that maps the file, and the kernel keeps one copy of it for all. This module keeps such pairs; what writes
and opens them is `onnx_runner.py`.

An entry is a folder `weights/KEY` of the cache, with the program, the weights, and `entry.json`, which is written last
and says what the two must be. The key names everything the packed form depends on. One process makes an entry, under a
lock, in a folder beside it that is renamed when it is whole; a writer that dies leaves nothing under the key, and the
next one sweeps up.

What is trusted. The folder and the files must be ours and nobody else's to write: whoever can write there can run code
as us already. The program's SHA-256 is checked whenever it is opened. Of the weights, size and modification time are
compared, because reading gigabytes again in every process is what this is to avoid; where only the time differs (a
cache that was copied, or put into an image), their SHA-256 decides. An entry that fails is made again. And whoever
opens one runs the stored sample and compares, as with any program (`serving/loading.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from setsail import caches

__all__ = ["PROGRAM", "SMALLEST", "WEIGHTS", "Skipped", "discard", "entry", "key"]

# Raise it when what is written changes. Entries of another format have other keys, so nobody ever reads them; they go
# when room is needed.
FORMAT: Final = 1
PROGRAM: Final = "program.onnx"
WEIGHTS: Final = "weights.bin"
SMALLEST: Final = 1 << 20  # bytes of weights below which a copy a process is cheaper than another file
LIMIT: Final = 16 << 30  # bytes of all entries; the ones used longest ago go first
_ENTRY: Final = "entry.json"
_MAKING: Final = ".making-"
_WAIT_SECONDS: Final = 120.0
_ROOM: Final = 3  # times a program's size that must be free: matrices are kept packed and as they were


class Skipped(Exception):  # noqa: N818  # it is no error
    """The weights cannot be shared here; the text says why. No error: the process has a copy of its own then."""


def key(identity: str, threads: int, version: str) -> str:
    """The name of an entry: program, CPU, onnxruntime, threads of a run, and our format.

    Args:
        identity: names the program's content.
        version: of onnxruntime.
    """
    facts = [FORMAT, identity, version, threads, _cpu()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def entry(name: str, size: int, write: Callable[[Path], None]) -> Path:
    """The folder of an entry that is whole, made now where there is none.

    Args:
        name: as `key` gives it.
        size: bytes of the program as it came, for the question whether there is room.
        write: puts PROGRAM and, where there are large weights, WEIGHTS into the folder it is given.

    Raises:
        Skipped: the program has no large weights, or the cache cannot be used.
    """
    try:
        home = caches.folder("weights")
        _check_owner(home)
        if (found := _whole(home / name)) is None:
            with caches.lock(home / ".lock", _WAIT_SECONDS) as held:  # somebody may have made it while we waited
                if not held:
                    raise Skipped("another process has held the cache folder's lock for minutes")
                found = _whole(home / name) or _make(home, name, size, write)
    except OSError as fault:
        raise Skipped(f"the cache folder cannot be used: {fault.strerror or fault}") from fault
    if not found["files"]:
        raise Skipped("the program has no large weights")
    with suppress(OSError):
        os.utime(home / name / _ENTRY)  # what was used last goes last
    return home / name


def discard(place: Path) -> None:
    """Remove an entry that turned out to be wrong. The next start makes it again."""
    shutil.rmtree(place, ignore_errors=True)


# -- looking ---------------------------------------------------------------------------------------------------------


def _whole(place: Path) -> dict[str, Any] | None:
    """What the entry says, if its files are what it says; else None."""
    try:
        body: dict[str, Any] = json.loads((place / _ENTRY).read_bytes())
        files: dict[str, Any] = body["files"]
        if set(files) not in (set(), {PROGRAM, WEIGHTS}):
            return None
        for name in ("", _ENTRY, *files):
            _check_owner(place / name, secret=True)
        return body if all(_same(place / name, facts) for name, facts in files.items()) else None
    except (OSError, ValueError, LookupError, TypeError, Skipped):
        return None


def _same(path: Path, facts: dict[str, Any]) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != facts["size"]:
        return False
    trusted = path.name == WEIGHTS and status.st_mtime_ns == facts["mtime_ns"]
    return trusted or bool(_sha256(path) == facts["sha256"])


def _check_owner(path: Path, *, secret: bool = False) -> None:
    """Whether only we can write a file or folder and, with `secret`, nobody else can even read it."""
    if not hasattr(os, "geteuid"):
        return  # Windows: the profile folder is the user's own
    status = path.lstat()
    others = stat.S_IRWXG | stat.S_IRWXO if secret else stat.S_IWGRP | stat.S_IWOTH
    if status.st_uid != os.geteuid() or status.st_mode & others or stat.S_ISLNK(status.st_mode):
        raise Skipped(f"{path} is not this user's alone")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- making ----------------------------------------------------------------------------------------------------------


def _make(home: Path, name: str, size: int, write: Callable[[Path], None]) -> dict[str, Any]:
    for left in home.glob(_MAKING + "*"):  # by one who died: we have the lock
        discard(left)
    if shutil.disk_usage(home).free < _ROOM * size:
        raise Skipped("the disk of the cache folder has too little room")
    making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=home))
    try:
        write(making)
        body: dict[str, Any] = {"format": FORMAT, "files": {}}
        weights = making / WEIGHTS
        if weights.is_file() and weights.stat().st_size >= SMALLEST:
            body["files"] = {file: _settled(making / file) for file in (PROGRAM, WEIGHTS)}
        for path in making.iterdir():
            if path.name not in body["files"]:
                path.unlink()
        (making / _ENTRY).write_text(json.dumps(body))
        _settled(making / _ENTRY)
        discard(home / name)
        making.rename(home / name)
    finally:
        discard(making)
    _sweep(home, home / name)
    return body


def _settled(path: Path) -> dict[str, Any]:
    """Make a file ours alone, have it on the disk, and say what it is."""
    path.chmod(0o600)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _sha256(path)}


def _sweep(home: Path, keep: Path) -> None:
    """Remove the entries used longest ago, as many as are over the limit. Whoever has one mapped keeps it mapped."""
    found = []
    for place in home.iterdir():
        with suppress(OSError):
            if place.is_dir() and not place.name.startswith("."):
                size = sum(file.stat().st_size for file in place.iterdir())
                found.append((place == keep, (place / _ENTRY).stat().st_mtime_ns, size, place))
    total = 0
    for _, _, size, place in sorted(found, reverse=True):
        total += size
        if total > LIMIT and place != keep:
            discard(place)


@cache
def _cpu() -> str:
    """What decides which kernels, and so which packing, onnxruntime takes: the CPU's model and its features."""
    lines = []
    with suppress(OSError):
        wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
        for line in Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines():
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                lines.append(value.strip())
    return "\n".join([platform.machine(), *(lines or [platform.processor()])])
