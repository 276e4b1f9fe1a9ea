"""Where things that can be made again are kept: packed sources, verdicts of trial runs, prepared weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import Any

__all__ = ["folder", "lock"]


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
