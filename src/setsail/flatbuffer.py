"""FlatBuffers, read with every bound checked.

The layout (https://flatbuffers.dev/internals/): the buffer begins with the offset of its root table. A table begins
with the distance back to its vtable, which says where in the table each field is, or 0 for one that is absent. Strings,
vectors and tables are fields that hold the distance forward to them. All numbers are little-endian.

Offsets may point at one place many times, so a small buffer can claim to be a large one: what a reader hands out in all
is limited by a multiple of the buffer's size.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final

from setsail.errors import SetsailError

__all__ = ["F32", "I8", "I32", "I64", "MOST", "U8", "U32", "U64", "Reader", "Table"]

U8, I8, U32, I32 = Struct("<B"), Struct("<b"), Struct("<I"), Struct("<i")
I64, U64, F32 = Struct("<q"), Struct("<Q"), Struct("<f")
_U16: Final = Struct("<H")
_SHARED: Final = 8  # how often everything may be pointed at, on average
MOST: Final = 1 << 31  # offsets are of 31 bits


class Reader:
    """A buffer. What raises, here and in its tables, raises what `fault` makes."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self._left = _SHARED * len(data) + 1024

    def fault(self, what: str, expected: str = "a FlatBuffer") -> SetsailError:
        """The error for a buffer that is wrong; a format has its own code."""
        raise NotImplementedError

    def root(self) -> Table:
        return Table(self, self.target(0))

    def number(self, form: Struct, at: int) -> int:
        if not 0 <= at < MOST:
            raise self.outside()
        try:
            value: int = form.unpack_from(self.data, at)[0]
        except error as fault:
            raise self.outside() from fault
        return value

    def target(self, at: int) -> int:
        """Where the offset at a place leads."""
        step = self.number(U32, at)
        if not step or at + step >= len(self.data):
            raise self.outside()
        return at + step

    def vector(self, at: int, size: int, most: int = MOST) -> tuple[int, int]:
        """Where a vector's elements of a size begin, and how many there are."""
        count = self.number(U32, at)
        start = at + 4
        if count > most:
            raise self.fault(f"a vector has {count} elements", f"at most {most}")
        if start + count * size > len(self.data):
            raise self.outside()
        self._left -= count * size
        if self._left < 0:
            raise self.fault("the FlatBuffer points at the same bytes too often")
        return start, count

    def text(self, at: int) -> bytes:
        start, count = self.vector(at, 1)
        return bytes(self.data[start : start + count])

    def outside(self) -> SetsailError:
        return self.fault("the FlatBuffer points outside itself")


class Table:
    """A table: its fields by their slot."""

    __slots__ = ("_at", "_fields", "_reader", "_vtable")

    def __init__(self, reader: Reader, at: int) -> None:
        self._reader, self._at = reader, at
        self._vtable = at - reader.number(I32, at)
        size = reader.number(_U16, self._vtable)
        if size < 4 or self._vtable + size > len(reader.data):
            raise reader.outside()
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
            raise self._reader.outside()
        return self._reader.data[at] if at else 0

    def number(self, slot: int, form: Struct, default: int = 0) -> int:
        """A number of a form, its default where it is absent."""
        at = self.place(slot)
        return self._reader.number(form, at) if at else default

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

    def longs(self, slot: int, most: int = MOST) -> tuple[int, ...]:
        """A vector of int64, empty where it is absent."""
        return self.numbers(slot, I64, most)

    def numbers(self, slot: int, form: Struct, most: int = MOST) -> tuple[int, ...]:
        """A vector of numbers of a form, empty where it is absent."""
        at = self.place(slot)
        if not at:
            return ()
        start, count = self._reader.vector(self._reader.target(at), form.size, most)
        return tuple(self._reader.number(form, start + form.size * i) for i in range(count))

    def count(self, slot: int) -> int:
        """How many elements a vector has, of whatever they are; 0 where it is absent."""
        at = self.place(slot)
        return self._reader.number(U32, self._reader.target(at)) if at else 0

    def texts(self, slot: int, most: int = MOST) -> list[bytes]:
        return [self._reader.text(at) for at in self._targets(slot, most)]

    def tables(self, slot: int, most: int = MOST) -> list[Table]:
        return [Table(self._reader, at) for at in self._targets(slot, most)]

    def _targets(self, slot: int, most: int) -> list[int]:
        at = self.place(slot)
        if not at:
            return []
        start, count = self._reader.vector(self._reader.target(at), 4, most)
        return [self._reader.target(start + 4 * i) for i in range(count)]
