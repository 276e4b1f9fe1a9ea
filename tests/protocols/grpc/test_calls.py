"""Calls over a connection, with a client that writes its own frames: every kind, every refusal, the memory of each."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from h2_peer import GET, Frame, split
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.budget import Budget
from setsail.protocols.grpc.calls import Arrived, Call, Calls, Cancelled, Ended, Refused, Requested, Started
from setsail.protocols.grpc.framing import prefix
from setsail.protocols.grpc.method import EACH, UNARY, WATCH, Exchange, Method
from setsail.protocols.http import HttpReply
from setsail.protocols.http2 import frames
from setsail.protocols.http2.streams import Limits

DATE = b"Sat, 21 Nov 2026 05:00:00 GMT"


def _exchange(message: bytes | memoryview) -> Exchange:
    raise AssertionError("nothing is decoded here")


METHODS = {f"/t.T/{kind}": Method(f"/t.T/{kind}", kind, _exchange) for kind in (UNARY, EACH, WATCH)}


class Client:
    """Calls of one connection, and what is sent back."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.budget = Budget(1 << 26)
        self.calls = Calls(limits or Limits(), self.budget, METHODS)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.events: list[Any] = []
        self.got: list[Frame] = []
        self.send(frames.PREFACE + frames.settings({}))
        self.read()

    def send(self, octets: bytes, step: int = 0) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(octets), step or max(1, len(octets))):
            found += self.calls.receive(octets[start : start + (step or len(octets))])
        self.events += found
        return found

    def read(self) -> list[Frame]:
        found = split(self.calls.connection.take_output())
        self.got += found
        return found

    def head(self, stream: int, path: str = "/t.T/unary", *, end: bool = False, drop: str = "", **more: str) -> bytes:
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "h"), ("te", "trailers"),
                  ("content-type", "application/grpc")]  # fmt: skip
        more = {name.replace("_", "-"): value for name, value in more.items()}
        if ":method" in more:
            fields[0] = (":method", more.pop(":method"))
        fields = [pair for pair in fields if pair[0] not in more and pair[0] != drop] + list(more.items())
        return frames.frame(frames.HEADERS, 4 | int(end), stream, self.encoder.encode(fields))

    def data(self, stream: int, octets: bytes = b"", *, end: bool = False) -> bytes:
        return frames.frame(frames.DATA, int(end), stream, octets)

    def answer(self, stream: int) -> tuple[list[dict[str, str]], bytes]:
        """Header blocks and body that came back."""
        self.read()
        blocks, body = [], b""
        for found in self.got:
            if found.stream == stream and found.kind == frames.HEADERS:
                blocks.append(dict(self.decoder.decode(found.payload)))
            elif found.stream == stream and found.kind == frames.DATA:
                body += found.payload
        return blocks, body


def message(octets: bytes, flag: int = 0) -> bytes:
    return prefix(len(octets), flag) + octets


@pytest.mark.parametrize("step", [0, 1])
def test_a_unary_call(step: int) -> None:
    client = Client()
    found = client.send(client.head(1) + client.data(1, message(b"ask"), end=True), step)
    arrived = found[-1]
    assert isinstance(arrived, Arrived)
    assert [type(e) for e in found[:-1]] == ([Started] if step else [])
    assert (arrived.message, arrived.call.method, arrived.call.plan.timeout) == (b"ask", METHODS["/t.T/unary"], None)
    assert client.budget.taken > 0
    client.calls.reply(arrived.call, b"answer")
    (head, tail), body = client.answer(1)
    assert head == {":status": "200", "content-type": "application/grpc"}
    assert tail == {"grpc-status": "0"}
    assert body == message(b"answer")
    assert client.budget.taken == 0
    assert client.calls.connection.idle


def test_what_a_head_means_is_worked_out_once() -> None:
    client = Client()
    calls: list[Call] = []
    for stream in (1, 3, 5):
        [arrived] = client.send(client.head(stream, grpc_timeout="5S") + client.data(stream, message(b"x"), end=True))
        calls.append(arrived.call)
    assert calls[1].plan is calls[2].plan
    assert calls[2].plan.timeout == 5.0


def test_a_call_whose_message_comes_later_is_told_at_once() -> None:
    client = Client()
    [started] = client.send(client.head(1))
    assert isinstance(started, Started)
    assert client.send(client.data(1, message(b"abc")[:6])) == []
    assert started.call.partial == 6
    assert client.send(client.data(1, message(b"abc")[6:])) == []  # the client has not ended it
    [arrived] = client.send(client.data(1, end=True))
    assert arrived.message == b"abc"


def test_a_large_message_opens_the_window_again() -> None:
    client = Client(Limits(window=1 << 16, connection_window=1 << 16))
    octets = message(b"v" * 300_000)
    client.send(client.head(1))
    for start in range(0, len(octets), 16_000):
        client.send(client.data(1, octets[start : start + 16_000], end=start + 16_000 >= len(octets)))
    assert len(client.events[-1].message) == 300_000
    assert sum(frames.number(f.payload) for f in client.read() if f.kind == frames.WINDOW_UPDATE and f.stream) > 200_000


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.integers(1, 50))
def test_messages_of_a_stream_arrive_one_by_one(messages: list[bytes], step: int) -> None:
    client = Client()
    octets = b"".join(map(message, messages))
    sent = client.head(1, "/t.T/each") + b"".join(
        client.data(1, octets[i : i + step], end=i + step >= len(octets)) for i in range(0, len(octets), step)
    )
    found = client.send(sent)
    assert [e.message for e in found if isinstance(e, Arrived)] == messages
    assert isinstance(found[-1], Ended)
    call = found[-1].call
    for octets in messages:
        client.calls.reply(call, octets)
    client.calls.finish(call)
    (_, tail), body = client.answer(1)
    assert body == b"".join(map(message, messages))
    assert tail == {"grpc-status": "0"}
    assert client.budget.taken == 0


def test_messages_without_answers_wait_in_the_clients_window() -> None:
    """A client may send as many as it likes; 64 are handed out, and the others when half of those are answered."""
    client = Client(Limits(window=1 << 16, connection_window=1 << 20))
    sent = [b"%d" % i for i in range(500)]
    octets = b"".join(map(message, sent))
    found = client.send(client.head(1, "/t.T/each") + client.data(1, octets, end=True))
    arrived = [e for e in found if isinstance(e, Arrived)]
    call = arrived[0].call
    assert len(arrived) == 64
    assert client.calls.more(call) == []
    for done in range(500):
        client.calls.reply(call, arrived[done].message)
        arrived += client.calls.more(call)
        assert len(arrived) - done <= 65
    assert isinstance(arrived.pop(), Ended)
    assert [e.message for e in arrived] == sent
    client.calls.finish(call)
    assert client.answer(1)[1] == octets
    assert client.budget.taken == 0


def test_the_window_stays_shut_until_there_are_answers() -> None:
    client = Client(Limits(window=1 << 16, connection_window=1 << 20))

    def opened() -> list[Frame]:
        return [f for f in client.read() if f.kind == frames.WINDOW_UPDATE and f.stream == 1]

    client.send(client.head(1, "/t.T/each"))
    for _ in range(60):
        client.send(client.data(1, message(b"v" * 1000)))
    assert len(opened()) == 1
    client.send(b"".join(client.data(1, message(b"v" * 1000)) for _ in range(30)))
    assert opened() == []
    call = client.events[-1].call
    for _ in range(40):
        client.calls.reply(call, b"")
    assert len(client.calls.more(call)) == 26
    assert len(opened()) == 1


def test_a_stream_that_ends_badly_behind_messages_that_wait() -> None:
    client = Client()
    octets = b"".join(message(b"x") for _ in range(100)) + b"\0\0"
    found = client.send(client.head(1, "/t.T/each") + client.data(1, octets, end=True))
    call = found[-1].call
    for _ in range(64):
        client.calls.reply(call, b"")
    more = client.calls.more(call)
    assert [type(e) for e in more] == [Arrived] * 36 + [Refused]
    assert more[-1].fault.code == "request.malformed"
    assert client.budget.taken == 0


def test_a_watch_is_answered_as_often_as_one_likes() -> None:
    client = Client()
    [arrived] = client.send(client.head(1, "/t.T/watch") + client.data(1, message(b"w"), end=True))
    client.calls.reply(arrived.call, b"1")
    client.calls.reply(arrived.call, b"2")
    client.calls.finish(arrived.call, 14, "gone")
    (_, tail), body = client.answer(1)
    assert body == message(b"1") + message(b"2")
    assert tail == {"grpc-status": "14", "grpc-message": "gone"}


@pytest.mark.parametrize(("accepts", "answer_flag"), [("identity,gzip", 1), ("identity", 0)])
def test_a_compressed_message_is_answered_compressed_if_the_client_can(accepts: str, answer_flag: int) -> None:
    client = Client()
    ask = message(gzip.compress(b"a" * 500), 1)
    [arrived] = client.send(
        client.head(1, grpc_encoding="gzip", grpc_accept_encoding=accepts) + client.data(1, ask, end=True)
    )
    assert arrived.message == b"a" * 500
    client.calls.reply(arrived.call, b"b" * 500)
    (head, _), body = client.answer(1)
    assert body[0] == answer_flag
    assert head.get("grpc-encoding") == ("gzip" if answer_flag else None)
    assert (gzip.decompress(body[5:]) if answer_flag else body[5:]) == b"b" * 500
    assert client.budget.taken == 0


def test_a_fault_is_trailers_only() -> None:
    client = Client()
    [arrived] = client.send(client.head(1) + client.data(1, message(b"x"), end=True))
    client.calls.refuse(arrived.call, SetsailError("model.unknown", "no model"))
    [only], body = client.answer(1)
    assert only["grpc-status"] == "5"
    assert only["x-setsail-error"] == "model.unknown"
    assert only[":status"] == "200"
    assert body == b""
    client.calls.reply(arrived.call, b"too late")
    assert client.read() == []


HEADS: list[tuple[dict[str, Any], str, str]] = [
    ({"path": "/t.T/Unknown"}, "request.unsupported", "12"),
    ({":method": "GET"}, "request.unsupported", "12"),
    ({"content_type": "application/grpc+json"}, "request.media_type", "3"),
    ({"grpc_encoding": "snappy"}, "request.encoding", "12"),
    ({"grpc_timeout": "soon"}, "request.malformed", "3"),
    ({f"x_{i}": "y" for i in range(100)}, "request.head_too_large", "8"),
]


@pytest.mark.parametrize(("given_", "code", "status"), HEADS, ids=[code for _, code, _ in HEADS])
@pytest.mark.parametrize("whole", [True, False])
def test_heads_that_are_refused(given_: dict[str, Any], code: str, status: str, whole: bool) -> None:
    client = Client()
    head = client.head(1, **given_)
    [refused] = client.send(head + client.data(1, message(b"x"), end=True) if whole else head)
    assert isinstance(refused, Refused)
    assert refused.fault.code == code
    client.calls.refuse(refused.call, refused.fault)
    [only], _ = client.answer(1)
    assert only["grpc-status"] == status
    assert only["grpc-accept-encoding"] == "identity,deflate,gzip"
    assert client.send(client.data(1, b"more", end=True)) == [] or whole
    assert client.budget.taken == 0


BODIES: list[tuple[str, bytes, str]] = [
    ("no message", b"", "request.malformed"),
    ("half a message", message(b"abc")[:-1], "request.malformed"),
    ("two messages", message(b"a") + message(b"b"), "request.malformed"),
    ("octets behind", message(b"a") + b"x", "request.malformed"),
    ("a flag that is none", b"\x07" + bytes(4), "request.malformed"),
    ("compressed by nothing", message(b"a", 1), "request.malformed"),
    ("too long", prefix(3000) + b"x", "request.too_large"),
]


@pytest.mark.parametrize(("octets", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
@pytest.mark.parametrize("step", [0, 1])
def test_bodies_that_are_refused(octets: bytes, code: str, step: int) -> None:
    client = Client(Limits(message=2000))
    found = client.send(client.head(1) + client.data(1, octets, end=True), step)
    assert isinstance(found[-1], Refused)
    assert found[-1].fault.code == code
    assert client.budget.taken == 0


def test_a_bomb_in_gzip_is_refused() -> None:
    client = Client(Limits(message=100_000))
    ask = message(gzip.compress(bytes(5_000_000)), 1)
    [refused] = client.send(client.head(1, grpc_encoding="gzip") + client.data(1, ask, end=True))
    assert refused.fault.code == "request.too_large"
    assert client.budget.taken == 0


def test_no_memory_is_left() -> None:
    client = Client()
    client.budget.limit = 20
    [refused] = client.send(client.head(1) + client.data(1, message(b"v" * 50), end=True))
    assert refused.fault.code == "server.busy"
    [arrived] = client.send(client.head(3) + client.data(3, message(b"v"), end=True))
    assert isinstance(arrived, Arrived)


def test_a_client_that_goes_away() -> None:
    client = Client()
    [first] = client.send(client.head(1) + client.data(1, message(b"x"), end=True))
    client.send(client.head(3) + client.data(3, message(b"half")[:-1]))
    found = client.send(frames.reset(1, 8) + frames.reset(3, 8))
    assert [type(e) for e in found] == [Cancelled, Cancelled]
    assert found[0].call is first.call
    assert client.budget.taken == 0
    client.calls.reply(first.call, b"nobody reads it")
    assert client.read() == []


def test_a_connection_that_breaks_cancels_all_of_its_calls() -> None:
    client = Client()
    client.send(client.head(1) + client.data(1, message(b"x"), end=True))
    client.send(client.head(3))
    found = client.send(frames.window_update(0, 0))
    assert [type(e) for e in found] == [Cancelled, Cancelled]
    assert client.budget.taken == 0
    assert client.calls.connection.finished


def test_a_socket_that_is_gone() -> None:
    client = Client()
    [arrived] = client.send(client.head(1) + client.data(1, message(b"x"), end=True))
    assert client.calls.close() == [arrived.call]
    assert client.budget.taken == 0


# -- requests that are not gRPC


def plain(client: Client, stream: int, fields: list[tuple[str, str]], *, end: bool = True) -> bytes:
    return frames.frame(frames.HEADERS, 4 | int(end), stream, client.encoder.encode(fields))


def test_a_plain_request_and_its_reply() -> None:
    client = Client()
    [requested] = client.send(plain(client, 1, [*GET[:2], (":path", "/v2/m%20x?a=1"), GET[3]]))
    assert isinstance(requested, Requested)
    request = requested.request
    assert (request.method, request.path, request.query, request.body) == ("GET", "/v2/m x", "a=1", b"")
    assert request.headers["host"] == "localhost"
    reply = HttpReply(200, b'{"a":1}', (("Content-Type", "application/json"), ("Connection", "close")))
    client.calls.respond(requested.call, reply, DATE)
    [head], body = client.answer(1)
    assert head == {
        ":status": "200", "content-type": "application/json", "date": DATE.decode(), "content-length": "7",
    }  # fmt: skip
    assert body == b'{"a":1}'


@pytest.mark.parametrize("step", [0, 1])
def test_a_body_of_several_frames(step: int) -> None:
    client = Client()
    fields = [(":method", "POST"), *GET[1:], ("expect", "100-continue")]
    [started] = client.send(plain(client, 1, fields, end=False))
    client.calls.go_on(started.call)
    found = client.send(client.data(1, b"ab") + client.data(1, b"cd", end=True), step)
    assert found[-1].request.body == b"abcd"
    assert client.budget.taken == 4
    client.calls.respond(found[-1].call, HttpReply(204), DATE)
    (on, head), _ = client.answer(1)
    assert on == {":status": "100"}
    assert head == {":status": "204", "date": DATE.decode()}
    assert client.budget.taken == 0


def test_a_head_is_answered_without_a_body() -> None:
    client = Client()
    [requested] = client.send(plain(client, 1, [(":method", "HEAD"), *GET[1:]]))
    client.calls.respond(requested.call, HttpReply(200, b"12345"), DATE)
    [head], body = client.answer(1)
    assert head["content-length"] == "5"
    assert body == b""


@pytest.mark.parametrize(("fields", "code"), [
    ([(":method", "POST"), GET[1], (":path", "/t.T/unary"), GET[3], ("content-type", "application/json")],
     "request.media_type"),
    ([(":method", "CONNECT"), GET[3]], "request.unsupported"),
    ([(":method", "POST"), *GET[1:], ("content-length", "3000")], "request.too_large"),
    ([*GET, ("expect", "magic")], "request.expectation"),
    ([*GET[:2], (":path", "/%zz"), GET[3]], "request.malformed"),
    ([*GET, *[(f"x-{i}", "y") for i in range(100)]], "request.head_too_large"),
])  # fmt: skip
def test_plain_requests_that_are_refused(fields: list[tuple[str, str]], code: str) -> None:
    client = Client(Limits(message=2000))
    [refused] = client.send(plain(client, 1, fields, end=False))
    assert (refused.fault.code, refused.call.method) == (code, None)
    client.calls.respond(refused.call, HttpReply(400, b"no"), DATE)
    _, body = client.answer(1)
    assert body == b"no"
    assert not client.calls.connection.streams


def test_a_body_without_a_length_is_counted() -> None:
    client = Client(Limits(message=2000))
    client.send(plain(client, 1, [(":method", "POST"), *GET[1:]], end=False))
    [refused] = client.send(client.data(1, bytes(2001)))
    assert refused.fault.code == "request.too_large"
    assert client.budget.taken == 0


@pytest.mark.parametrize("header", [("x-a", "b\r\nx-c: d"), ("x a", "b"), ("x-a", "b\0")])
def test_a_header_that_is_none_is_not_sent(header: tuple[str, str]) -> None:
    client = Client()
    [requested] = client.send(plain(client, 1, GET))
    with pytest.raises(SetsailError) as caught:
        client.calls.respond(requested.call, HttpReply(200, b"", (header,)), DATE)
    assert caught.value.code == "server.fault"
