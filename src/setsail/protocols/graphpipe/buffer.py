"""FlatBuffers as far as GraphPipe needs them: tables, strings and vectors, read with every bound checked, and written.

The layout (https://flatbuffers.dev/internals/): the buffer begins with the offset of its root table. A table begins
with the distance back to its vtable, which says where in the table each field is, or 0 for one that is absent. Strings,
vectors and tables are fields that hold the distance forward to them. All numbers are little-endian.

Offsets may point at one place many times, so a small buffer can claim to be a large one: what a reader hands out in all
is limited by a multiple of the buffer's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, error
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["Reader", "Table", "Writer"]

_U16, _U32, _I32, _I64 = Struct("<H"), Struct("<I"), Struct("<i"), Struct("<q")
_SHARED: Final = 8  # how often everything may be pointed at, on average
_MOST: Final = 1 << 31  # offsets are of 31 bits


class Reader:
    """A buffer.

    Raises (here and in what it gives): SetsailError `request.binary`, for whatever points outside.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = _SHARED * len(data) + 1024

    def root(self) -> Table:
        return Table(self, self.target(0))

    def number(self, form: Struct, at: int) -> int:
        if not 0 <= at < _MOST:
            raise _outside()
        try:
            value: int = form.unpack_from(self.data, at)[0]
        except error as fault:
            raise _outside() from fault
        return value

    def target(self, at: int) -> int:
        """Where the offset at a place leads."""
        step = self.number(_U32, at)
        if not step or at + step >= len(self.data):
            raise _outside()
        return at + step

    def vector(self, at: int, size: int, most: int = _MOST) -> tuple[int, int]:
        """Where a vector's elements of a size begin, and how many there are."""
        count = self.number(_U32, at)
        start = at + 4
        if count > most:
            raise SetsailError("request.binary", f"a vector has {count} elements", expected=f"at most {most}")
        if start + count * size > len(self.data):
            raise _outside()
        self._left -= count * size
        if self._left < 0:
            raise SetsailError("request.binary", "the FlatBuffer points at the same bytes too often")
        return start, count

    def text(self, at: int) -> bytes:
        start, count = self.vector(at, 1)
        return self.data[start : start + count]


class Table:
    """A table: its fields by their slot."""

    __slots__ = ("_at", "_fields", "_reader", "_vtable")

    def __init__(self, reader: Reader, at: int) -> None:
        self._reader, self._at = reader, at
        self._vtable = at - reader.number(_I32, at)
        size = reader.number(_U16, self._vtable)
        if size < 4 or self._vtable + size > len(reader.data):
            raise _outside()
        self._fields = (size - 4) // 2

    def place(self, slot: int) -> int:
        """Where a field is, 0 where it is absent."""
        if slot >= self._fields:
            return 0
        step = self._reader.number(_U16, self._vtable + 4 + 2 * slot)
        return self._at + step if step else 0

    def byte(self, slot: int) -> int:
        at = self.place(slot)
        if at >= len(self._reader.data):
            raise _outside()
        return self._reader.data[at] if at else 0

    def table(self, slot: int) -> Table | None:
        at = self.place(slot)
        return Table(self._reader, self._reader.target(at)) if at else None

    def text(self, slot: int) -> bytes:
        """A string's bytes, empty where it is absent."""
        at = self.place(slot)
        return self._reader.text(self._reader.target(at)) if at else b""

    def data(self, slot: int) -> memoryview | None:
        """A vector of bytes, None where it is absent."""
        start, end = self.span(slot)
        return memoryview(self._reader.data)[start:end] if start else None

    def span(self, slot: int) -> tuple[int, int]:
        """Where a vector of bytes begins and ends; 0 where it is absent."""
        at = self.place(slot)
        if not at:
            return 0, 0
        start, count = self._reader.vector(self._reader.target(at), 1)
        return start, start + count

    def longs(self, slot: int, most: int = _MOST) -> tuple[int, ...]:
        """A vector of int64, empty where it is absent."""
        at = self.place(slot)
        if not at:
            return ()
        start, count = self._reader.vector(self._reader.target(at), 8, most)
        return tuple(self._reader.number(_I64, start + 8 * i) for i in range(count))

    def texts(self, slot: int, most: int = _MOST) -> list[bytes]:
        return [self._reader.text(at) for at in self._targets(slot, most)]

    def tables(self, slot: int, most: int = _MOST) -> list[Table]:
        return [Table(self._reader, at) for at in self._targets(slot, most)]

    def _targets(self, slot: int, most: int) -> list[int]:
        at = self.place(slot)
        if not at:
            return []
        start, count = self._reader.vector(self._reader.target(at), 4, most)
        return [self._reader.target(start + 4 * i) for i in range(count)]


def _outside() -> SetsailError:
    return SetsailError(
        "request.binary", "the FlatBuffer points outside itself", expected="a GraphPipe Request",
        todo="send what a GraphPipe client writes",
    )  # fmt: skip


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
