"""Answers read from bytes: whole, byte by byte, in any pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.loadtest.replies import Replies, Reply

SIZED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
REFUSED = b"HTTP/1.1 429 Busy\r\nx-setsail-error: model.busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
BODIES = {SIZED: b'{"a":1}', CHUNKED: b"abc0123456789", REFUSED: b"", CONTINUED: b'{"a":1}', EMPTY: b""}


def fed(replies: Replies, pieces: list[bytes]) -> Reply:
    """The one answer, which comes with the last piece."""
    *before, last = pieces
    for piece in before:
        assert replies.feed(piece) is None
    found = replies.feed(last)
    assert found is not None
    return found


@pytest.mark.parametrize("raw", BODIES)
def test_whole_and_byte_by_byte_many_times_on_one_connection(raw: bytes) -> None:
    replies = Replies()
    for _ in range(2):
        assert fed(replies, [raw]).body == BODIES[raw]
        assert fed(replies, [raw[i : i + 1] for i in range(len(raw))]).body == BODIES[raw]


@given(st.sampled_from(sorted(BODIES)), st.lists(st.integers(1, 120), max_size=6))
def test_in_any_pieces(raw: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(raw), *(c for c in cuts if c < len(raw))})
    pieces = [raw[a:b] for a, b in pairwise(places)]
    assert fed(Replies(), pieces).body == BODIES[raw]


def test_codes_and_whether_the_connection_stays() -> None:
    assert fed(Replies(), [SIZED]).code == "200"
    refused = fed(Replies(), [REFUSED])
    assert (refused.code, refused.head.keep) == ("429 model.busy", False)
    assert fed(Replies(), [SIZED.replace(b"1.1", b"1.0")]).head.keep is False


def test_a_body_that_ends_with_the_connection() -> None:
    replies = Replies()
    assert replies.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") is None
    assert replies.feed(b"def") is None
    found = replies.eof()
    assert found is not None
    assert (found.body, found.head.keep) == (b"abcdef", False)
    assert replies.eof() is None
    cut = Replies()
    assert cut.feed(SIZED[:-1]) is None
    assert cut.eof() is None


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        SIZED + b"x",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Replies().feed(raw)
