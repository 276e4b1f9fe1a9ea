"""Answers kept for requests that come again: bounded in bytes, least recently used first out, one run for equal ones.

Equal requests that come while the first of them runs wait for its answer instead of running too ("single flight"). Only
answers are kept: what failed is forgotten, and whoever waited for it begins anew, so that one client's cancelled
request does not become another's fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

__all__ = ["Hit", "Lead", "ResponseCache", "Wait", "key"]

ENTRY: Final = 256  # bytes that an entry costs besides its answer


def key(model: str, version: int, parts: Iterable[bytes | memoryview]) -> bytes:
    """A cache key: a digest of everything the answer follows from.

    Args:
        version: a version that is loaded anew under the same number needs a cache of its own.
        parts: names, dtypes, shapes and bytes of the inputs, and the outputs asked for. Each part's length goes in
            too, so that bytes cannot move from one part to the next unnoticed.
    """
    digest = blake2b(f"{len(model)}:{model}:{version}".encode(), digest_size=32)
    for part in parts:
        size = part.nbytes if isinstance(part, memoryview) else len(part)
        digest.update(size.to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class Hit(Struct, frozen=True):
    """The answer is here."""

    value: Any


class Lead(Struct, frozen=True):
    """Nobody has asked yet: run it, then call `finish` or `abandon`, whatever happens."""

    key: bytes


class Wait(Struct, frozen=True):
    """An equal request runs: append whatever should be given its answer. `finish` and `abandon` return the list."""

    waiters: list[Any]


class ResponseCache:
    """One model's answers. Used from one event loop.

    Attributes:
        limit, nbytes: most bytes of answers and entries, and how many there are.
        hits, misses, waits: how `begin` was answered.
        evicted: answers that made room for others.
    """

    __slots__ = ("_answers", "_flights", "evicted", "hits", "limit", "misses", "nbytes", "waits")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = self.hits = self.misses = self.waits = self.evicted = 0
        self._answers: dict[bytes, tuple[Any, int]] = {}  # in the order of use, the latest last
        self._flights: dict[bytes, list[Any]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def begin(self, key: bytes) -> Hit | Lead | Wait:
        """What to do for a request."""
        found = self._answers.pop(key, None)
        if found is not None:
            self._answers[key] = found
            self.hits += 1
            return Hit(found[0])
        flight = self._flights.get(key)
        if flight is not None:
            self.waits += 1
            return Wait(flight)
        self.misses += 1
        self._flights[key] = []
        return Lead(key)

    def finish(self, key: bytes, value: Any, nbytes: int) -> list[Any]:
        """Keep an answer of `nbytes`, if it fits at all. Returns who waits for it."""
        size = nbytes + ENTRY
        if size <= self.limit:
            self._forget(key)
            while self.nbytes + size > self.limit:
                self._forget(next(iter(self._answers)))
                self.evicted += 1
            self._answers[key] = (value, size)
            self.nbytes += size
        return self._flights.pop(key, [])

    def abandon(self, key: bytes) -> list[Any]:
        """The run failed or never came. Returns who waited: the first of them should begin again and lead."""
        return self._flights.pop(key, [])

    def clear(self) -> None:
        """Forget all answers: the version was unloaded. Those under way still reach who waits for them."""
        self._answers.clear()
        self.nbytes = 0

    def _forget(self, key: bytes) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self.nbytes -= found[1]
