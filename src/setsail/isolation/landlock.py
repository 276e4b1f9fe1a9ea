"""Writing only where we may, on Linux 5.13 and later: Landlock, the kernel's sandbox for processes without privileges.

Creating, changing, truncating, renaming and removing work in the child's folder only (and for shared memory and
/dev/null). Reading stays possible everywhere, because a framework reads its own installation; unless a list is given of
what may be read, which is then the system's and Python's files, and those of the list. A rule set cannot be taken back,
and holds for everything the process starts.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["confine"]

# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
# <linux/landlock.h>: WRITE_FILE, REMOVE_DIR, REMOVE_FILE and the seven MAKE_* of version 1; later versions add two.
_WRITE_FILE: Final = 1 << 1
_VERSION_1: Final = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READING: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: Final = _WRITE_FILE | _TRUNCATE | _EXECUTE | _READ_FILE
_ALWAYS: Final = ("/dev/shm", "/dev/null")
_SYSTEM: Final = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/opt", "/nix/store",
)  # fmt: skip


def confine(writable: Sequence[str], readable: Sequence[str] | None = None) -> bool:
    """Let this process write beneath `writable` only. Needs no_new_privs. Returns whether the kernel does it.

    Args:
        readable: files and folders that it may read too, beside the system's and this Python's; None for all there are.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        return int(libc.syscall(ctypes.c_long(number), *arguments))

    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return False
    handled = _VERSION_1 | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    read: tuple[str, ...] = ()
    if readable is not None:
        handled |= _READING
        read = (*_SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, *readable)
    attributes = struct.pack("=Q", handled)
    rules = call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return False
    places = [(path, handled) for path in (*writable, *_ALWAYS)] + [(path, _READING) for path in read]
    for path, rights in places:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = rights if os.path.isdir(path) else rights & handled & _OF_FILES
        rule = struct.pack("=Qi", allowed, handle)
        call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        os.close(handle)
    done = call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0
    os.close(rules)
    return done
