"""Memory that was freed, given back to the system.

glibc keeps what was freed for later. After a large program was read, optimised and packed that is several times its
weights, and stays for as long as the process does. `malloc_trim` gives back the free pages of every heap, but of a
thread's own heap not its end; that goes when something at the end is freed while more than a threshold is free there.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Final

__all__ = ["give_back"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt
_ANY: Final = 128 << 10
_PROBE: Final = 100 << 10  # freeing this much looks at the end of the heap (from 64 KiB on)
# What glibc's own thresholds come to once large blocks were freed. Touching one of the two freezes both.
_LARGEST_BLOCK: Final = 32 << 20
_KEPT: Final = 2 * _LARGEST_BLOCK


def give_back() -> None:
    """Give back this thread's memory that is free, and what is in other heaps. Takes some milliseconds.

    Does nothing where the C library has no such calls.
    """
    libc = _glibc()
    if libc is None:
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    libc.mallopt(_TRIM_THRESHOLD, _ANY)
    libc.free(libc.malloc(_PROBE))
    libc.malloc_trim(0)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT)


@cache
def _glibc() -> Any:
    try:
        libc = ctypes.CDLL(None)
        for name, result, argument in (
            ("malloc", ctypes.c_void_p, [ctypes.c_size_t]),
            ("free", None, [ctypes.c_void_p]),
            ("malloc_trim", ctypes.c_int, [ctypes.c_size_t]),
            ("mallopt", ctypes.c_int, [ctypes.c_int, ctypes.c_int]),
        ):
            function = getattr(libc, name)
            function.restype, function.argtypes = result, argument
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return None
    return libc
