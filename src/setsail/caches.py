"""Where things that can be made again are kept: packed sources, verdicts of trial runs, prepared weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, Final

__all__ = ["folder", "lock", "shrink", "used"]

_FRESH: Final = 3600.0  # seconds in which what was used stays: another process may be reading it


def folder(kind: str) -> Path:
    """`SETSAIL_CACHE`, else the platform's cache folder; made with mode 0700 on first use."""
    base = os.environ.get("SETSAIL_CACHE")
    if base is None:
        home = Path.home()
        native = {"win32": home / "AppData/Local", "darwin": home / "Library/Caches"}.get(sys.platform, home / ".cache")
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or native) / "setsail")
    path = Path(base) / kind
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def used(*files: Path) -> None:
    """Note that files of a cache are used now; what is not for the longest is the first to go."""
    for file in files:
        with suppress(OSError):
            os.utime(file)


def shrink(home: Path, limit: int) -> int:
    """Remove files of a cache, the one not used for the longest first, until the rest is no larger than a limit.

    What was used within the hour stays, whatever it weighs, and so do locks. Returns how many bytes went.

    Args:
        home: as `folder` gives it. limit: bytes.
    """
    rows = []
    for path in home.rglob("*"):
        with suppress(OSError):
            state = path.lstat()
            if path.is_file() and path.suffix != ".lock":
                rows.append((state.st_mtime, str(path), state.st_size))
    excess, gone, now = sum(size for *_, size in rows) - limit, 0, time()
    for when, name, size in sorted(rows):
        if gone >= excess or now - when < _FRESH:
            break
        with suppress(OSError):  # another process removed it, or has it open where that forbids removing
            os.unlink(name)
            gone += size
    return gone


@contextmanager
def lock(path: Path, seconds: float) -> Iterator[bool]:
    """Hold a lock among processes, which the system takes back from one that dies; False when it was not to be had.

    Args:
        path: an empty file, made where it is not there.
        seconds: the longest to wait.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = monotonic() + seconds
        while not (held := _locked(descriptor)) and monotonic() < end:
            sleep(0.01)
        yield held
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            msvcrt: Any = import_module("msvcrt")
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl = import_module("fcntl")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
