"""FlatBuffers as far as GraphPipe needs them: read by `setsail/flatbuffer.py`, and written.

Layout: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

from setsail import flatbuffer
from setsail.errors import SetsailError
from setsail.flatbuffer import Table

__all__ = ["Reader", "Table", "Writer"]

_U16, _U32, _I32, _I64 = Struct("<H"), Struct("<I"), Struct("<i"), Struct("<q")


class Reader(flatbuffer.Reader):
    """A body. Raises `request.binary` for whatever points outside it."""

    def fault(self, what: str, expected: str = "a GraphPipe Request") -> SetsailError:
        return SetsailError("request.binary", what, expected=expected, todo="send what a GraphPipe client writes")


# -- writing -----------------------------------------------------------------------------------------------------------

Child = Callable[["Writer"], int]  # writes itself and says where it is
Field = int | Child | None  # a byte, something pointed at, or absent


class Writer:
    """Writes a buffer from its front: a table, then what its fields point at, and so on."""

    def __init__(self) -> None:
        self.out = bytearray(4)
        self.spans: list[tuple[int, int]] = []  # of the vectors of bytes

    def finish(self, root: Child) -> bytes:
        self._point(0, root(self))
        return bytes(self.out)

    def table(self, *fields: Field) -> int:
        """A table with these fields in the order of their slots."""
        out = self.out
        self._align(4, 2 * len(fields))  # so that the table behind the vtable is aligned
        vtable = len(out)
        at = vtable + 4 + 2 * len(fields)
        places, end = [], 4
        for field in fields:
            places.append(end if callable(field) else 0)
            end += 4 if callable(field) else 0
        for index, field in enumerate(fields):
            if isinstance(field, int):
                places[index], end = end, end + 1
        out += _U16.pack(4 + 2 * len(fields)) + _U16.pack(end)
        out += b"".join(map(_U16.pack, places))
        out += _I32.pack(at - vtable) + bytes(end - 4)
        for field, place in zip(fields, places, strict=True):
            if isinstance(field, int):
                out[at + place] = field
            elif field is not None:
                self._point(at + place, field(self))
        return at

    def text(self, value: str | bytes) -> int:
        raw = value.encode() if isinstance(value, str) else value
        self._align(4)
        at = len(self.out)
        self.out += _U32.pack(len(raw)) + raw + b"\0"
        return at

    def data(self, raw: Any) -> int:
        """A vector of bytes, aligned for numbers of any size."""
        self._align(8, 4)
        at = len(self.out)
        self.out += _U32.pack(len(raw))
        self.out += raw
        self.spans.append((at + 4, len(self.out)))
        return at

    def longs(self, values: Sequence[int]) -> int:
        self._align(8, 4)
        at = len(self.out)
        self.out += _U32.pack(len(values)) + b"".join(map(_I64.pack, values))
        return at

    def children(self, each: Sequence[Child]) -> int:
        """A vector of what is pointed at."""
        self._align(4)
        at = len(self.out)
        self.out += _U32.pack(len(each)) + bytes(4 * len(each))
        for index, child in enumerate(each):
            self._point(at + 4 + 4 * index, child(self))
        return at

    def _point(self, at: int, target: int) -> None:
        _U32.pack_into(self.out, at, target - at)

    def _align(self, size: int, ahead: int = 0) -> None:
        """Pad, so that what comes after so many more bytes is aligned."""
        self.out += bytes(-(len(self.out) + ahead) % size)
