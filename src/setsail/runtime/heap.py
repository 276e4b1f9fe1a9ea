"""Memory that was freed, given back to the system.

glibc keeps what was freed below the top of its heap for later. After a large program was read, optimised and packed
that is several times its weights, and stays for as long as the process does.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

__all__ = ["give_back"]


def give_back() -> None:
    """Take some milliseconds to do so; nothing where the C library has no such call."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return None
