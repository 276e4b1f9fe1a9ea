"""How the interpreter is set in a process that does nothing but answer. Never called in somebody else's process."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["settle"]

# A turn of the loop holds the objects of all its requests, none of them garbage yet: Python's own 700 would look at
# them several times a turn.
_GARBAGE: Final = (20_000, 20, 20)
# A model's thread that has finished a run waits this long for a loop that is busy (Python's own 5 ms would be felt).
_SWITCH_SECONDS: Final = 0.0005


def settle() -> None:
    """Called once, when everything is imported and loaded: what is there now stays, and is never looked at again."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    sys.setswitchinterval(_SWITCH_SECONDS)
