"""Files beside a model on disk, opened so that nobody is led outside its folder.

Name checks alone were bypassed three times in ONNX (a prefix, then a symbolic link, then a hard link): so every
component is opened without following links, relative to the folder opened before it, and the file must be regular with
one name.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from setsail.errors import SetsailError

__all__ = ["is_plain", "open_regular", "size_beneath"]

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._ -]{0,126}[A-Za-z0-9_-])?\Z")
_CLOSED: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


def is_plain(name: str) -> bool:
    """Whether a name is relative, without `..`, backslash, colon, hidden or empty parts."""
    return len(name) <= 255 and all(_PLAIN.match(part) for part in name.split("/"))


def open_regular(path: Path) -> BinaryIO:
    """Open the model file the person named. Raises `source.missing` or `program.parse`; a pipe does not block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _CLOSED)
    except OSError as fault:
        raise SetsailError("source.missing", "the program cannot be opened", value=str(path),
                           expected=fault.strerror) from fault  # fmt: skip
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SetsailError("program.parse", "the program is not a regular file", value=str(path))
    return os.fdopen(descriptor, "rb")


def size_beneath(folder: Path, name: str) -> int | None:
    """Size of a plain name beneath a folder, None where there is no such file. Raises `program.external`."""
    if not is_plain(name):
        _refuse("a name leads outside the model's folder", name)
    *parts, last = name.split("/")
    descriptor = os.open(folder, os.O_RDONLY | _CLOSED)
    try:
        for part in parts:
            inner = _open(part, descriptor, name)
            if inner is None:
                return None
            os.close(descriptor)
            descriptor = inner
        inner = _open(last, descriptor, name)
    finally:
        os.close(descriptor)
    return None if inner is None else _checked_size(inner, name)


def _open(part: str, parent: int, name: str) -> int | None:
    try:
        return os.open(part, os.O_RDONLY | _NO_LINK | _CLOSED, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError as fault:
        _refuse("a file beside the model is a symbolic link or cannot be opened", name, fault)


def _checked_size(descriptor: int, name: str) -> int:
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        _refuse("a file beside the model is not a regular file", name)
    if status.st_nlink != 1:
        _refuse("a file beside the model has other names (hard links)", name)
    return status.st_size


def _refuse(what: str, name: str, fault: BaseException | None = None) -> NoReturn:
    raise SetsailError("program.external", what, value=name, expected="a regular file with one name",
                       todo="copy the model's folder, following links: cp -rL") from fault  # fmt: skip
