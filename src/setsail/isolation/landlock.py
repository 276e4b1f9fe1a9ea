"""Writing only where we may, on Linux 5.13 and later: Landlock, the kernel's sandbox for processes without privileges.

Reading stays possible everywhere: a framework reads its own installation. Creating, changing, truncating, renaming and
removing work in the child's folder only (and for shared memory and /dev/null). A rule set cannot be taken back, and
holds for everything the process starts.
"""

from __future__ import annotations

import ctypes
import os
import struct
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
_OF_FILES: Final = _WRITE_FILE | _TRUNCATE
_ALWAYS: Final = ("/dev/shm", "/dev/null")


def confine(folders: Sequence[str]) -> bool:
    """Let this process write beneath `folders` only. Needs no_new_privs. Returns whether the kernel does it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        return int(libc.syscall(ctypes.c_long(number), *arguments))

    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return False
    handled = _VERSION_1 | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("=Q", handled)
    rules = call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        return False
    for path in (*folders, *_ALWAYS):
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = handled if os.path.isdir(path) else handled & _OF_FILES
        rule = struct.pack("=Qi", allowed, handle)
        call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
        os.close(handle)
    done = call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0
    os.close(rules)
    return done
