"""Bytes of memory that requests may take together.

Whoever wants to hold a client's bytes takes them from the budget first and gives them back with the answer. A client's
word for how much will come is no reason to take: readers take as the bytes arrive.
"""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A counter with a limit. One a process, used from its event loop only."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, size: int) -> bool:
        """Whether `size` bytes were there; nothing is taken when not."""
        if self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        self.taken -= size
