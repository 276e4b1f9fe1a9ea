"""Length-prefixed messages, cut anywhere."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.grpc.framing import Framing, compressed, prefix, unpacked

LIMIT = 1 << 20


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 300), st.binary(max_size=4))
def test_messages_are_found_however_they_are_cut(messages: list[bytes], step: int, rest: bytes) -> None:
    octets = b"".join(prefix(len(m)) + m for m in messages) + rest
    framing, found = Framing(LIMIT), []
    for start in range(0, len(octets), step):
        found += framing.feed(octets[start : start + step])
    assert found == [(0, m) for m in messages]
    assert framing.have == len(rest)


def test_a_large_message_is_not_copied_twice() -> None:
    message = bytes(200_000)
    [(_, found)] = Framing(LIMIT).feed(prefix(len(message)) + message)
    assert isinstance(found, memoryview)
    assert found == message


def test_a_length_over_the_limit_is_refused_by_its_prefix_alone() -> None:
    with pytest.raises(SetsailError) as caught:
        Framing(100).feed(prefix(101))
    assert caught.value.code == "request.too_large"


def test_a_flag_that_is_none() -> None:
    with pytest.raises(SetsailError) as caught:
        Framing(100).feed(b"\x02" + bytes(4))
    assert caught.value.code == "request.malformed"


def test_both_encodings_are_undone() -> None:
    assert unpacked(gzip.compress(b"text"), "gzip", LIMIT) == b"text"
    assert unpacked(zlib.compress(b"text"), "deflate", LIMIT) == b"text"
    assert gzip.decompress(compressed(b"text" * 100)) == b"text" * 100


@pytest.mark.parametrize(("packed", "encoding", "code"), [
    (gzip.compress(bytes(5000), mtime=0), "gzip", "request.too_large"),
    (b"nonsense", "gzip", "request.compressed"),
    (gzip.compress(b"text", mtime=0), "identity", "request.malformed"),
])  # fmt: skip
def test_what_cannot_be_undone(packed: bytes, encoding: str, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        unpacked(packed, encoding, 1000)
    assert caught.value.code == code
