"""HPACK against the `hpack` library, the memo, and the limits."""

from __future__ import annotations

import time

import pytest
from hpack import Decoder as Reference
from hpack import Encoder
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from setsail.protocols.http2.fields import Decoder, TooLargeError, UndecodableError, encode, request_head

LIMIT = 1 << 16
NAMES = st.sampled_from([":path", "content-type", "x-a", "x-long-name-of-a-header", "accept", "te"])
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
LISTS = st.lists(st.lists(st.tuples(NAMES, TEXT, st.booleans()), max_size=8), min_size=1, max_size=8)


def decoder() -> Decoder:
    return Decoder(LIMIT)


@given(LISTS, st.booleans(), st.lists(st.integers(0, 4096), max_size=8))
def test_what_an_encoder_packs_is_unpacked(
    blocks: list[list[tuple[str, str, bool]]], huffman: bool, sizes: list[int]
) -> None:
    """Blocks one after the other share a table, whose size changes on the way."""
    encoder, ours = Encoder(), decoder()
    for i, fields in enumerate(blocks):
        if i < len(sizes):
            encoder.header_table_size = sizes[i]
        block = encoder.encode(fields, huffman=huffman)
        assert ours.decode(block).pairs == tuple((name, value) for name, value, _ in fields)


@given(st.binary(max_size=60))
def test_any_octets_are_read_as_the_library_reads_them(block: bytes) -> None:
    """Stricter in two points: at most two size updates, and integers of at most 28 bits."""
    try:
        expected = tuple(
            (bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in Reference().decode(block, raw=True)
        )
    except (HPACKError, IndexError):
        expected = None
    try:
        ours, why = decoder().decode(block).pairs, ""
    except UndecodableError as fault:
        ours, why = None, str(fault)
    assert ours == expected or (ours is None and ("size update" in why or "integer" in why))


def test_a_block_that_came_before_is_the_same_object() -> None:
    encoder, ours = Encoder(), decoder()
    fields = [(":method", "POST"), (":path", "/x"), (":scheme", "http"), ("x-a", "b")]
    first = ours.decode(encoder.encode(fields))
    block = encoder.encode(fields)  # all indexed by now
    second, third = ours.decode(block), ours.decode(block)
    assert first.pairs == second.pairs
    assert second is third
    second.plan = "remembered"
    assert ours.decode(block).plan == "remembered"


def test_a_change_of_the_table_drops_the_memo() -> None:
    """The same octets mean other fields once an entry has moved."""
    encoder, ours = Encoder(), decoder()
    ours.decode(encoder.encode([("x-a", "1")]))
    indexed = encoder.encode([("x-a", "1")])
    assert ours.decode(indexed).pairs == (("x-a", "1"),)
    ours.decode(encoder.encode([("x-b", "2")]))
    assert ours.decode(indexed).pairs == (("x-b", "2"),)


def test_the_memo_is_bounded() -> None:
    ours = decoder()
    for i in range(1000):
        ours.decode(encode([("x-a", str(i))]))
    ours.decode(encode([("x-a", "v" * 3000)]))
    assert len(ours.memo) <= 64
    assert sum(map(len, ours.memo)) < 64 * 2048


def test_a_bomb_is_refused_before_it_is_built() -> None:
    """One entry of 4 KB, then a reference an octet: 64 KB would become 256 MB."""
    ours = decoder()
    ours.decode(b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000)
    began = time.process_time()
    with pytest.raises(TooLargeError):
        ours.decode(b"\xbe" * 65_000)
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize("block", [b"\x20" * 65_000, b"\x00" * 65_000, b"\x3f" + b"\xff" * 65_000, b"\x80" * 65_000])
def test_long_blocks_take_linear_time(block: bytes) -> None:
    began = time.process_time()
    with pytest.raises((UndecodableError, TooLargeError)):
        decoder().decode(block)
    assert time.process_time() - began < 0.2


@given(st.lists(st.tuples(NAMES, TEXT), max_size=10))
def test_our_blocks_are_read_by_the_library(fields: list[tuple[str, str]]) -> None:
    """And leave its table alone."""
    reference = Reference()
    assert [tuple(pair) for pair in reference.decode(encode(fields))] == fields
    assert not reference.header_table.dynamic_entries


def test_repeated_fields_are_joined() -> None:
    head = request_head((("accept", "a"), ("accept", "b"), ("cookie", "c=1"), ("cookie", "d=2")))
    assert head.headers == {"accept": "a, b", "cookie": "c=1; d=2"}
    assert head.fault is not None  # no :method
