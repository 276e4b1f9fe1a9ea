"""Messages between a supervisor and its workers: framing, faults, ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.server.channel import (
    Answer,
    Answers,
    Channel,
    Drain,
    Ended,
    Everyone,
    Failed,
    Fault,
    Frames,
    Gate,
    Leaving,
    Line,
    Message,
    Question,
    Ready,
    Start,
)

FAULT = Fault("source.missing", "there is no model", value="'x'", place="PATH")
MESSAGES: list[Message] = [
    Start(
        1,
        {"port": 0, "host": "::1"},
        (7, 8),
        (("a.setsail", None), ("b.setsail", "b")),
        (("Configure", b"c"),),
        (("Unload", b"a"),),
    ),
    Gate(True),
    Question(3, "Index", b"\x90"),
    Drain(False),
    Answers(9, (Answer(0, b"x"), Answer(0, fault=FAULT))),
    Ready({"url": "http://here", "models": []}),
    Failed(FAULT),
    Answer(3, b"\x90"),
    Everyone(9, "Load", b"\x81", "a"),
    Leaving(),
    Ended(True, b"counts"),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    yield pair
    for end in pair:
        end.close()


@given(st.lists(st.integers(1, 40), max_size=30))
def test_messages_arrive_however_they_are_cut(cuts: list[int]) -> None:
    data = b"".join(map(Frames.frame, MESSAGES))
    frames, found = Frames(), []
    for size in [*cuts, len(data)]:
        found += frames.feed(data[:size])
        data = data[size:]
    assert found == MESSAGES


def test_byte_by_byte() -> None:
    frames = Frames()
    fed = [frames.feed(bytes([byte])) for byte in b"".join(map(Frames.frame, MESSAGES))]
    assert [message for some in fed for message in some] == MESSAGES


def test_a_length_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="4294967295 bytes"):
        Frames().feed(b"\xff\xff\xff\xff")


def test_a_fault_is_the_same_on_the_other_side() -> None:
    error = SetsailError("input.range", "out of range", field="x", value=[1, 2], expected="less", todo="do", row=3,
                         report={"left": "behind"})  # fmt: skip
    again = Fault.of(error).error()
    assert str(again) == str(error)
    assert (again.code, again.field, again.value, again.facts) == ("input.range", "x", "[1, 2]", {"row": 3})


def test_a_fault_of_another_version_is_one_of_the_server() -> None:
    assert Fault("from.the.future", "what").error().code == "server.fault"


def test_both_ends_talk(ends: tuple[socket.socket, socket.socket]) -> None:
    line, channel = Line(ends[0]), Channel(ends[1])
    assert line.receive() == []
    line.send(Gate(True))
    line.send(Drain(True))
    assert (channel.receive(), channel.receive()) == (Gate(True), Drain(True))
    channel.send(Leaving())
    assert line.receive() == [Leaving()]
    channel.hang_up()
    assert (line.receive(), channel.receive()) == (None, None)


def test_a_supervisor_does_not_wait_for_a_worker_that_does_not_read(ends: tuple[socket.socket, socket.socket]) -> None:
    line, channel = Line(ends[0]), Channel(ends[1])
    large = Question(1, "Request", bytes(4 << 20))
    line.send(large)
    assert line.pending
    found: list[Message | None] = []
    reading = threading.Thread(target=lambda: found.append(channel.receive()))
    reading.start()
    while line.pending:
        line.flush()
    reading.join(10)
    assert found == [large]


def test_what_is_sent_to_the_dead_is_forgotten(ends: tuple[socket.socket, socket.socket]) -> None:
    line = Line(ends[0])
    ends[1].close()
    line.send(Gate(True))
    line.send(Gate(False))
    assert not line.pending
    assert line.receive() is None
    line.close()


def test_rubbish_ends_the_conversation(ends: tuple[socket.socket, socket.socket]) -> None:
    line = Line(ends[0])
    ends[1].send(b"\0\0\0\1\xc1")
    assert line.receive() is None
