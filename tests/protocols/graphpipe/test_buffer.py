"""FlatBuffers: what is written is read, by us and by the `flatbuffers` package; what points elsewhere is refused."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import flatbuffers
import pytest
from flatbuffers.number_types import UOffsetTFlags
from flatbuffers.table import Table as Theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.graphpipe.buffer import Reader, Table, Writer


def text(value: str) -> Any:
    return partial(Writer.text, value=value)


def nested(byte: int, words: list[str], numbers: list[int], data: bytes) -> bytes:
    """A table with every kind of field, one of them absent."""
    return Writer().finish(
        lambda out: out.table(
            byte,
            lambda out: out.children([text(word) for word in words]),
            None,
            lambda out: out.longs(numbers),
            lambda out: out.data(data),
            lambda out: out.table(text("inside")),
        )
    )


WORDS = st.lists(st.text(max_size=10), max_size=4)
LONGS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)


@settings(max_examples=100)
@given(st.integers(0, 255), WORDS, LONGS, st.binary(max_size=20))
def test_what_is_written_is_read(byte: int, words: list[str], numbers: list[int], data: bytes) -> None:
    root = Reader(nested(byte, words, numbers, data)).root()
    inside = root.table(5)
    assert inside is not None
    assert (root.byte(0), root.texts(1), root.texts(2), root.longs(3), root.data(4), inside.text(0)) == (
        byte, [word.encode() for word in words], [], tuple(numbers), data, b"inside",
    )  # fmt: skip
    assert (root.byte(9), root.text(9), root.longs(9), root.data(9), root.table(9), root.tables(9)) == (
        0, b"", (), None, None, [],
    )  # fmt: skip


@settings(max_examples=100)
@given(st.integers(1, 255), WORDS, LONGS, st.binary(max_size=20))
def test_the_package_reads_what_is_written(byte: int, words: list[str], numbers: list[int], data: bytes) -> None:
    raw = bytearray(nested(byte, words, numbers, data))
    root = Theirs(raw, flatbuffers.encode.Get(UOffsetTFlags.packer_type, raw, 0))

    def at(slot: int) -> int:
        return int(root.Offset(4 + 2 * slot))

    assert raw[root.Pos + at(0)] == byte
    start, count = root.Vector(at(1)), root.VectorLen(at(1))
    assert [root.String(start + 4 * i).decode() for i in range(count)] == words
    assert at(2) == 0
    start, count = root.Vector(at(3)), root.VectorLen(at(3))
    assert [struct.unpack_from("<q", raw, start + 8 * i)[0] for i in range(count)] == numbers
    start, count = root.Vector(at(4)), root.VectorLen(at(4))
    assert (bytes(raw[start : start + count]), start % 8) == (data, 0)
    assert (root.Pos % 4, root.Vector(at(3)) % 8) == (0, 0)


def visit(table: Table) -> None:
    """Read everything."""
    table.byte(0), table.texts(1), table.texts(2), table.longs(3), table.data(4)
    inside = table.table(5)
    if inside is not None:
        inside.text(0)


def code_of(raw: bytes) -> str:
    try:
        visit(Reader(raw).root())
    except SetsailError as fault:
        return fault.code
    return ""


@settings(max_examples=500)
@given(
    st.integers(0, 200),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0, 1, 4, 127, 255, 32768, 2**31 - 1, 2**31, 2**32 - 1]),
)
def test_a_number_that_is_changed_is_refused_or_read(at: int, size: int, value: int) -> None:
    good = nested(7, ["a", "bc"], [1, 2], b"data")
    case = good[:at] + (value % 256**size).to_bytes(size, "little") + good[at + size :]
    assert code_of(case) in ("", "request.binary")


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_read(raw: bytes) -> None:
    assert code_of(raw) in ("", "request.binary")


@pytest.mark.parametrize("end", range(0, 120, 3))
def test_a_buffer_that_is_cut(end: int) -> None:
    good = nested(7, ["a", "bc"], [1, 2], b"data")
    assert len(good) > 120
    assert code_of(good[:end]) == "request.binary"


def test_one_long_string_that_everybody_points_at() -> None:
    """A million offsets of four bytes to one string of a megabyte would be a terabyte."""
    raw = bytearray(Writer().finish(lambda out: out.table(0, lambda out: out.children([text("x" * 1000)] * 200))))
    vector = Reader(bytes(raw)).root()._targets(1, 200)
    start = raw.index(struct.pack("<I", 200)) + 4
    for i in range(200):
        struct.pack_into("<I", raw, start + 4 * i, vector[-1] - (start + 4 * i))
    shrunk = bytes(raw[: start + 800]) + bytes(raw[vector[-1] :])
    moved = bytearray(shrunk)
    for i in range(200):
        struct.pack_into("<I", moved, start + 4 * i, start + 800 - (start + 4 * i))
    with pytest.raises(SetsailError, match="too often") as caught:
        Reader(bytes(moved)).root().texts(1)
    assert caught.value.code == "request.binary"
