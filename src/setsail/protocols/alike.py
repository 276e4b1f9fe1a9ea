"""Messages that differ in some of their bytes alone, told apart without being read.

A client that sends the same request again with other values sends as many bytes, and all but the values are those of
before. So messages are looked up by their length, and compared with what stood around the values of those that were
read. What is not exactly like one of them is nobody's here, and read the general way, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["Alike"]

_LONGEST: Final = 2048  # bytes around values
_KEPT: Final = 1024
_OF_A_LENGTH: Final = 8

Told = TypeVar("Told")


class _Known(NamedTuple, Generic[Told]):
    texts: tuple[tuple[int, int, bytes], ...]
    told: Told


class Alike(Generic[Told]):
    """What messages that were seen before say, but for their values. When there are too many, all are forgotten."""

    __slots__ = ("_count", "_known")

    def __init__(self) -> None:
        self._known: dict[int, list[_Known[Told]]] = {}
        self._count = 0

    def find(self, data: bytes | memoryview) -> Told | None:
        """What was learnt of a message like this one."""
        for known in self._known.get(len(data), ()):
            for start, end, text in known.texts:
                if data[start:end] != text:
                    break
            else:
                return known.told
        return None

    def learn(self, data: bytes | memoryview, values: Sequence[tuple[int, int]], told: Told) -> None:
        """Remember a message.

        Args:
            values: begin and end of all that may differ, in order.
            told: what all messages like it say.
        """
        cuts = [0, *(at for span in values for at in span), len(data)]
        if (
            cuts != sorted(cuts)
            or self.find(data) is not None
            or cuts[-1] - sum(end - start for start, end in values) > _LONGEST
        ):
            return
        if self._count >= _KEPT:
            self._known.clear()
            self._count = 0
        alike = self._known.setdefault(len(data), [])
        if len(alike) == _OF_A_LENGTH:  # the oldest makes room: nobody can fill a length for good
            del alike[0]
            self._count -= 1
        pairs = zip(cuts[::2], cuts[1::2], strict=True)
        alike.append(_Known(tuple((a, b, bytes(data[a:b])) for a, b in pairs if a < b), told))
        self._count += 1
