"""Messages between the two processes: what was sent arrives, and nothing else passes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from setsail.apps.frames import CALL, DONE, FAULT, MAX_TENSORS, PING, READY, BrokenError, Channel, Message, Place

sizes = st.integers(0, 2**64 - 1)
places = st.builds(Place, st.integers(0, 255), st.lists(sizes, max_size=8).map(tuple), sizes, sizes)
numbers = st.integers(0, 2**32 - 1)
tensors = st.builds(
    Message, numbers, st.sampled_from((CALL, DONE)), st.lists(places, max_size=9).map(tuple), st.just(b"")
)
texts = st.builds(Message, numbers, st.sampled_from((READY, FAULT, PING)), st.just(()), st.binary())


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


@given(message=tensors | texts)
def test_what_was_sent_arrives(message: Message) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Channel(ours).send(message)
        ours.shutdown(socket.SHUT_WR)
        channel = Channel(theirs)
        assert channel.receive() == message
        assert channel.receive() is None


def head(kind: int, count: int, length: int) -> bytes:
    return struct.pack("<IBxHI", 1, kind, count, length)


@pytest.mark.parametrize(
    "data",
    [
        head(0, 0, 0), head(200, 0, 0), head(DONE, 2, 88), head(DONE, MAX_TENSORS + 1, 88 * (MAX_TENSORS + 1)),
        head(FAULT, 0, 2 << 20), head(PING, 1, 0), head(DONE, 1, 88) + b"\x0b\x09" + bytes(86),
        head(FAULT, 0, 9) + b"short", b"only", b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(pair: tuple[Channel, socket.socket], data: bytes) -> None:
    channel, theirs = pair
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenError):
        channel.receive(1.0)


@given(data=st.binary(max_size=200))
@example(data=head(DONE, 1, 88) + bytes(88))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        channel = Channel(ours)
        with suppress(BrokenError):
            while channel.receive(1.0) is not None:
                pass


def test_two_messages_at_once_are_two(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.sendall(head(PING, 0, 0) + head(FAULT, 0, 2) + b"{}")
    assert [channel.receive(1.0), channel.receive(1.0)] == [Message(1, PING), Message(1, FAULT, text=b"{}")]


def test_one_who_drips_does_not_gain_time(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.sendall(head(PING, 0, 0)[:5])
    with pytest.raises(TimeoutError):
        channel.receive(0.05)


def test_the_other_side_is_gone(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.close()
    assert channel.receive() is None
    with pytest.raises(BrokenError):
        channel.send(Message(1, PING))
