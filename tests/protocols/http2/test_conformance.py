"""The published conformance cases of HTTP/2 servers (h2spec's list), section by section, in our own words.

Each row: what a client does after the handshake, and what has to come of it: an answer, an error of the stream or one
of the connection. Where the RFC leaves a choice, the row has the one that is made here. Sections are of RFC 9113 (and
7541 for HPACK); a rule that only RFC 7540 had (§5.3.1, a stream that depends on itself) is gone with priorities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from h2_peer import GET, POST, Peer

from setsail.protocols.http2 import frames
from setsail.protocols.http2.frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)  # fmt: skip
from setsail.protocols.http2.streams import Limits

PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION = (
    frames.PROTOCOL_ERROR, frames.FLOW_CONTROL_ERROR, frames.STREAM_CLOSED, frames.FRAME_SIZE_ERROR,
    frames.REFUSED_STREAM, frames.COMPRESSION_ERROR,
)  # fmt: skip
Sends = Callable[[Peer], bytes]
OK = None


def stream(code: int) -> tuple[str, int]:
    return "stream", code


def connection(code: int) -> tuple[str, int]:
    return "connection", code


def with_fields(*more: tuple[str, str], drop: str = "", base: list[tuple[str, str]] = GET) -> Sends:
    fields = [pair for pair in base if pair[0] != drop] + list(more)
    return lambda p: p.headers(1, fields)


def raw_block(block: bytes) -> Sends:
    return lambda p: frame(HEADERS, 5, 1, block)


def split_block(p: Peer, parts: int, *, between: bytes = b"", number: int = 1, last: int = 4) -> bytes:
    block = p.block([*GET, *[(f"x-{i}", "v" * 20) for i in range(parts)]])
    size = len(block) // parts + 1
    cut = [block[i : i + size] for i in range(0, len(block), size)]
    sent = frame(HEADERS, 1, 1, cut[0]) + between
    for i, part in enumerate(cut[1:], 2):
        sent += frame(CONTINUATION, last if i == len(cut) else 0, number, part)
    return sent


def trailed(fields: list[tuple[str, str]], end: bool = True) -> Sends:
    return lambda p: p.headers(1, POST, end=False) + p.data(1, b"body", end=False) + p.headers(1, fields, end=end)


def done_then(then: Callable[[Peer], bytes]) -> Sends:
    """After a request that was answered."""

    def send(p: Peer) -> bytes:
        p.send(p.headers(1))
        return then(p)

    return send


def reset_then(then: Callable[[Peer], bytes]) -> Sends:
    """After a request that the client has reset."""
    return lambda p: p.headers(1, POST, end=False) + frames.reset(1, frames.CANCEL) + then(p)


def halved_then(then: Callable[[Peer], bytes]) -> Sends:
    """After a request that is whole and not answered yet."""

    def send(p: Peer) -> bytes:
        p.answers = False
        return p.headers(1) + then(p)

    return send


def settings(**values: int) -> Sends:
    return lambda p: frames.settings({getattr(frames, name): value for name, value in values.items()})


def padded(kind: int, flags: int, pad: int, payload: bytes) -> Sends:
    return lambda p: frame(kind, flags | 8, 1, bytes((pad,)) + payload)


CASES: list[tuple[str, str, Sends, Any]] = [
    # -- generic: what every server answers
    ("generic", "a GET", lambda p: p.headers(1), OK),
    ("generic", "a POST with a body", lambda p: p.headers(1, POST, end=False) + p.data(1, b"test"), OK),
    ("generic", "a body in several frames",
     lambda p: p.headers(1, POST, end=False) + p.data(1, b"a", end=False) + p.data(1, b"b"), OK),
    ("generic", "a body with trailers", trailed([("x-test", "ok")]), OK),
    ("generic", "HEADERS with padding", lambda p: frame(HEADERS, 13, 1, b"\x03" + p.block(GET) + bytes(3)), OK),
    ("generic", "HEADERS with priority", lambda p: frame(HEADERS, 37, 1, bytes(5) + p.block(GET)), OK),
    ("generic", "HEADERS with padding and priority",
     lambda p: frame(HEADERS, 45, 1, b"\x03" + bytes(5) + p.block(GET) + bytes(3)), OK),
    ("generic", "CONTINUATION", lambda p: split_block(p, 2), OK),
    ("generic", "several CONTINUATIONs", lambda p: split_block(p, 5), OK),
    ("generic", "DATA with padding",
     lambda p: p.headers(1, POST, end=False) + frame(DATA, 9, 1, b"\x05test" + bytes(5)), OK),
    ("generic", "PRIORITY on an idle stream", lambda p: frame(PRIORITY, 0, 1, bytes(4) + b"\x0f") + p.headers(1), OK),
    ("generic", "WINDOW_UPDATE", lambda p: frames.window_update(0, 100) + p.headers(1), OK),
    ("generic", "PING", lambda p: frames.ping(b"12345678") + p.headers(1), OK),
    ("generic", "a HEAD", with_fields((":method", "HEAD"), drop=":method", base=GET[::-1]), OK),
    # -- 4: frames
    ("4.1", "an unknown type is ignored", lambda p: frame(0x16, 0, 0, bytes(8)) + p.headers(1), OK),
    ("4.1", "unknown flags are ignored", lambda p: frame(PING, 0x16, 0, bytes(8)) + p.headers(1), OK),
    ("4.1", "the reserved bit is ignored", lambda p: frame(PING, 0, 1 << 31, bytes(8)) + p.headers(1), OK),
    ("4.2", "DATA of 2^14 octets", lambda p: p.headers(1, POST, end=False) + p.data(1, bytes(16384)), OK),
    ("4.2", "DATA larger than the limit", lambda p: p.headers(1, POST, end=False) + p.data(1, bytes(16385)),
     connection(SIZE)),
    ("4.2", "HEADERS larger than the limit", lambda p: frame(HEADERS, 5, 1, bytes(16385)), connection(SIZE)),
    ("4.3", "a block that is no HPACK", raw_block(b"\x40"), connection(COMPRESSION)),
    ("4.3", "PRIORITY within a block", lambda p: split_block(p, 2, between=frame(PRIORITY, 0, 1, bytes(5))),
     connection(PROTOCOL)),
    ("4.3", "HEADERS of another stream within a block", lambda p: split_block(p, 2, between=p.headers(3)),
     connection(PROTOCOL)),
    ("4.3", "an unknown frame within a block", lambda p: split_block(p, 2, between=frame(0x16, 0, 1)),
     connection(PROTOCOL)),
    # -- 5.1: states
    ("5.1", "idle: DATA", lambda p: p.data(1, b"test"), connection(PROTOCOL)),
    ("5.1", "idle: RST_STREAM", lambda p: frames.reset(1, 8), connection(PROTOCOL)),
    ("5.1", "idle: WINDOW_UPDATE", lambda p: frames.window_update(1, 100), connection(PROTOCOL)),
    ("5.1", "idle: CONTINUATION", lambda p: frame(CONTINUATION, 4, 1, p.block(GET)), connection(PROTOCOL)),
    ("5.1", "half-closed: DATA", halved_then(lambda p: p.data(1, b"test")), stream(CLOSED)),
    ("5.1", "half-closed: HEADERS", halved_then(lambda p: p.headers(1)), stream(CLOSED)),
    ("5.1", "half-closed: CONTINUATION", halved_then(lambda p: frame(CONTINUATION, 4, 1, b"")), connection(PROTOCOL)),
    ("5.1", "half-closed: WINDOW_UPDATE, PRIORITY",
     halved_then(lambda p: frames.window_update(1, 5) + frame(PRIORITY, 0, 1, bytes(5))), "silence"),
    ("5.1", "closed by RST_STREAM: DATA", reset_then(lambda p: p.data(1, b"test")), stream(CLOSED)),
    ("5.1", "closed by RST_STREAM: HEADERS", reset_then(lambda p: p.headers(1)), connection(CLOSED)),
    ("5.1", "closed by RST_STREAM: CONTINUATION", reset_then(lambda p: frame(CONTINUATION, 4, 1)),
     connection(PROTOCOL)),
    ("5.1", "closed: DATA", done_then(lambda p: p.data(1, b"test")), stream(CLOSED)),
    ("5.1", "closed: HEADERS", done_then(lambda p: p.headers(1)), connection(CLOSED)),
    ("5.1", "closed: CONTINUATION", done_then(lambda p: frame(CONTINUATION, 4, 1)), connection(PROTOCOL)),
    ("5.1", "closed: WINDOW_UPDATE, RST_STREAM, PRIORITY",
     done_then(lambda p: frames.window_update(1, 5) + frames.reset(1, 8) + frame(PRIORITY, 0, 1, bytes(5))), "silence"),
    ("5.1.1", "an even stream", lambda p: p.headers(2), connection(PROTOCOL)),
    ("5.1.1", "a lower stream than before", lambda p: p.headers(5) + p.headers(3), connection(PROTOCOL)),
    ("5.1.2", "one stream too many",
     lambda p: b"".join(p.headers(n, POST, end=False) for n in range(1, 2 * 256 + 3, 2)), stream(REFUSED)),
    # -- 5.5
    ("5.5", "an unknown SETTING is ignored", lambda p: frames.settings({0xFF: 1}) + p.headers(1), OK),
    # -- 6.1 DATA
    ("6.1", "DATA on stream 0", lambda p: p.data(0, b"test"), connection(PROTOCOL)),
    ("6.1", "padding as long as the payload",
     lambda p: p.headers(1, POST, end=False) + padded(DATA, 1, 5, b"test")(p), connection(PROTOCOL)),
    ("6.1", "padding flag and no pad length", lambda p: p.headers(1, POST, end=False) + frame(DATA, 9, 1),
     connection(PROTOCOL)),
    # -- 6.2 HEADERS
    ("6.2", "HEADERS without END_HEADERS, then PRIORITY",
     lambda p: frame(HEADERS, 1, 1, p.block(GET)) + frame(PRIORITY, 0, 1, bytes(5)), connection(PROTOCOL)),
    ("6.2", "HEADERS on stream 0", lambda p: p.headers(0), connection(PROTOCOL)),
    ("6.2", "padding longer than the payload", padded(HEADERS, 5, 200, b"\x82\x86\x84"), connection(PROTOCOL)),
    ("6.2", "padding flag and no pad length", lambda p: frame(HEADERS, 13, 1), connection(SIZE)),
    ("6.2", "priority flag and no priority", lambda p: frame(HEADERS, 37, 1, b"\x82"), connection(SIZE)),
    # -- 6.3 PRIORITY
    ("6.3", "PRIORITY on stream 0", lambda p: frame(PRIORITY, 0, 0, bytes(5)), connection(PROTOCOL)),
    ("6.3", "PRIORITY of 4 octets", lambda p: p.headers(1, POST, end=False) + frame(PRIORITY, 0, 1, bytes(4)),
     stream(SIZE)),
    ("6.3", "PRIORITY of 4 octets on an idle stream", lambda p: frame(PRIORITY, 0, 1, bytes(4)), connection(SIZE)),
    # -- 6.4 RST_STREAM
    ("6.4", "RST_STREAM on stream 0", lambda p: frames.reset(0, 8), connection(PROTOCOL)),
    ("6.4", "RST_STREAM of 3 octets", lambda p: p.headers(1, POST, end=False) + frame(RST_STREAM, 0, 1, bytes(3)),
     connection(SIZE)),
    ("6.4", "an unknown code", lambda p: p.headers(1, POST, end=False) + frames.reset(1, 0xDEAD), "silence"),
    # -- 6.5 SETTINGS
    ("6.5", "an acknowledgement with a payload", lambda p: frame(SETTINGS, 1, 0, bytes(6)), connection(SIZE)),
    ("6.5", "SETTINGS on a stream", lambda p: frame(SETTINGS, 0, 1, bytes(6)), connection(PROTOCOL)),
    ("6.5", "SETTINGS of 3 octets", lambda p: frame(SETTINGS, 0, 0, bytes(3)), connection(SIZE)),
    ("6.5.2", "ENABLE_PUSH neither 0 nor 1", settings(ENABLE_PUSH=2), connection(PROTOCOL)),
    ("6.5.2", "INITIAL_WINDOW_SIZE over 2^31-1", settings(INITIAL_WINDOW_SIZE=1 << 31), connection(FLOW)),
    ("6.5.2", "MAX_FRAME_SIZE below 2^14", settings(MAX_FRAME_SIZE=16383), connection(PROTOCOL)),
    ("6.5.2", "MAX_FRAME_SIZE over 2^24-1", settings(MAX_FRAME_SIZE=1 << 24), connection(PROTOCOL)),
    ("6.5.3", "every SETTINGS is acknowledged", settings(MAX_CONCURRENT_STREAMS=100), "acknowledged"),
    # -- 6.6 PUSH_PROMISE
    ("6.6", "a client pushes", lambda p: frame(PUSH_PROMISE, 4, 1, bytes(4) + p.block(GET)), connection(PROTOCOL)),
    # -- 6.7 PING
    ("6.7", "PING is answered", lambda p: frames.ping(b"h2spec??"), "ponged"),
    ("6.7", "an answered PING is not", lambda p: frames.ping(b"h2spec??", ack=True), "silence"),
    ("6.7", "PING on a stream", lambda p: frame(PING, 0, 1, bytes(8)), connection(PROTOCOL)),
    ("6.7", "PING of 6 octets", lambda p: frame(PING, 0, 0, bytes(6)), connection(SIZE)),
    # -- 6.8 GOAWAY
    ("6.8", "GOAWAY on a stream", lambda p: frame(GOAWAY, 0, 1, bytes(8)), connection(PROTOCOL)),
    ("6.8", "GOAWAY of 7 octets", lambda p: frame(GOAWAY, 0, 0, bytes(7)), connection(SIZE)),
    # -- 6.9 WINDOW_UPDATE
    ("6.9", "by 0 on the connection", lambda p: frames.window_update(0, 0), connection(PROTOCOL)),
    ("6.9", "by 0 on a stream", lambda p: p.headers(1, POST, end=False) + frames.window_update(1, 0), stream(PROTOCOL)),
    ("6.9", "of 3 octets", lambda p: frame(WINDOW_UPDATE, 0, 0, bytes(3)), connection(SIZE)),
    ("6.9.1", "the connection's window over 2^31-1", lambda p: frames.window_update(0, 0x7FFFFFFF) * 2,
     connection(FLOW)),
    ("6.9.1", "a stream's window over 2^31-1",
     lambda p: p.headers(1, POST, end=False) + frames.window_update(1, 0x7FFFFFFF) * 2, stream(FLOW)),
    # -- 6.10 CONTINUATION
    ("6.10", "CONTINUATION, then DATA", lambda p: split_block(p, 3, last=0) + p.data(1, b"x"), connection(PROTOCOL)),
    ("6.10", "CONTINUATION on stream 0", lambda p: split_block(p, 2, number=0), connection(PROTOCOL)),
    ("6.10", "CONTINUATION on another stream", lambda p: split_block(p, 2, number=3), connection(PROTOCOL)),
    ("6.10", "CONTINUATION after END_HEADERS",
     lambda p: p.headers(1, POST, end=False) + frame(CONTINUATION, 4, 1, p.block([("x", "y")])), connection(PROTOCOL)),
    ("6.10", "CONTINUATION after END_HEADERS of another",
     lambda p: split_block(p, 2) + frame(CONTINUATION, 4, 1, p.block([("x", "y")])), connection(PROTOCOL)),
    ("6.10", "CONTINUATION after DATA",
     lambda p: p.headers(1, POST, end=False) + p.data(1, b"x", end=False) + frame(CONTINUATION, 4, 1),
     connection(PROTOCOL)),
    # -- 8: requests
    ("8.1", "a second HEADERS without END_STREAM", trailed([("x-test", "ok")], end=False), stream(PROTOCOL)),
    ("8.1", "trailers with a pseudo-header", trailed([(":method", "POST")]), stream(PROTOCOL)),
    ("8.2.1", "an upper-case name", with_fields(("X-TEST", "ok")), stream(PROTOCOL)),
    ("8.2.1", "a space in a name", with_fields(("x test", "ok")), stream(PROTOCOL)),
    ("8.2.1", "an empty name", with_fields(("", "ok")), stream(PROTOCOL)),
    ("8.2.1", "a line feed in a value", with_fields(("x-test", "a\nb")), stream(PROTOCOL)),
    ("8.2.1", "NUL in a value", with_fields(("x-test", "a\0b")), stream(PROTOCOL)),
    ("8.2.1", "a value that begins with a space", with_fields(("x-test", " a")), stream(PROTOCOL)),
    ("8.2.2", "connection", with_fields(("connection", "keep-alive")), stream(PROTOCOL)),
    ("8.2.2", "transfer-encoding", with_fields(("transfer-encoding", "chunked")), stream(PROTOCOL)),
    ("8.2.2", "TE other than trailers", with_fields(("te", "trailers, deflate")), stream(PROTOCOL)),
    ("8.2.2", "TE: trailers", with_fields(("te", "trailers")), OK),
    ("8.3", "an unknown pseudo-header", lambda p: p.headers(1, [*GET, (":test", "ok")]), stream(PROTOCOL)),
    ("8.3", "a response's pseudo-header", lambda p: p.headers(1, [*GET, (":status", "200")]), stream(PROTOCOL)),
    ("8.3", "a pseudo-header after a field", lambda p: p.headers(1, [*GET[:3], ("x", "y"), GET[3]]), stream(PROTOCOL)),
    ("8.3.1", ":path is empty", with_fields((":path", ""), drop=":path"), stream(PROTOCOL)),
    ("8.3.1", ":path is relative", with_fields((":path", "x"), drop=":path"), stream(PROTOCOL)),
    ("8.3.1", "no :method", with_fields(drop=":method"), stream(PROTOCOL)),
    ("8.3.1", "no :scheme", with_fields(drop=":scheme"), stream(PROTOCOL)),
    ("8.3.1", "no :path", with_fields(drop=":path"), stream(PROTOCOL)),
    ("8.3.1", "two :methods", with_fields((":method", "GET")), stream(PROTOCOL)),
    ("8.3.1", "two :schemes", with_fields((":scheme", "http")), stream(PROTOCOL)),
    ("8.3.1", "two :paths", with_fields((":path", "/")), stream(PROTOCOL)),
    ("8.3.1", "another host than :authority", with_fields(("host", "elsewhere")), stream(PROTOCOL)),
    ("8.3.1", "the same host as :authority", with_fields(("host", "LOCALHOST")), OK),
    ("8.5", "CONNECT with a path", with_fields((":method", "CONNECT"), drop=":method"), stream(PROTOCOL)),
    ("8.1.1", "content-length is not the length",
     lambda p: p.headers(1, [*POST, ("content-length", "1")], end=False) + p.data(1, b"test"), stream(PROTOCOL)),
    ("8.1.1", "content-length is not the sum of lengths",
     lambda p: p.headers(1, [*POST, ("content-length", "9")], end=False) + p.data(1, b"te", end=False)
     + p.data(1, b"st"), stream(PROTOCOL)),
    ("8.1.1", "content-length and no body", with_fields(("content-length", "4")), stream(PROTOCOL)),
    ("8.1.1", "content-length is no number", with_fields(("content-length", "+4")), stream(PROTOCOL)),
    ("8.1.1", "two content-lengths", with_fields(("content-length", "0"), ("content-length", "1")), stream(PROTOCOL)),
    # -- RFC 7541
    ("7541 2.3.3", "an index past the tables", raw_block(b"\xff\x7f"), connection(COMPRESSION)),
    ("7541 2.3.3", "a literal whose name has an index past the tables", raw_block(b"\x7f\x7f\x01a"),
     connection(COMPRESSION)),
    ("7541 4.2", "a size update at the end of a block", raw_block(b"\x82\x86\x84\x41\x01a\x20"),
     connection(COMPRESSION)),
    ("7541 4.2", "two size updates at the beginning", raw_block(b"\x20\x3f\xe1\x1f\x82\x86\x84\x41\x01a"), OK),
    ("7541 4.2", "three of them", raw_block(b"\x20\x20\x20\x82\x86\x84\x41\x01a"), connection(COMPRESSION)),
    ("7541 5.1", "an integer that is too long", raw_block(b"\x82\x86\x84\x0f\xff\xff\xff\xff\xff\x7f\x01a"),
     connection(COMPRESSION)),
    ("7541 5.2", "a string longer than the block", raw_block(b"\x82\x86\x84\x41\x05a"), connection(COMPRESSION)),
    ("7541 5.2", "Huffman padding longer than 7 bits",
     raw_block(b"\x82\x86\x84\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), connection(COMPRESSION)),
    ("7541 5.2", "Huffman padding of zeroes",
     raw_block(b"\x82\x86\x84\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), connection(COMPRESSION)),
    ("7541 5.2", "Huffman with EOS",
     raw_block(b"\x82\x86\x84\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x50\x9f\xff\xff\xff\xff"), connection(COMPRESSION)),
    ("7541 6.1", "index 0", raw_block(b"\x80"), connection(COMPRESSION)),
    ("7541 6.3", "a table larger than we allow", raw_block(b"\x3f\xe1\xff\x03\x82\x86\x84\x41\x01a"),
     connection(COMPRESSION)),
]  # fmt: skip


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("section", "name", "sends", "expected"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_case(section: str, name: str, sends: Sends, expected: Any, step: int) -> None:
    peer = Peer()
    got = peer.send(sends(peer), step)
    if expected is OK:
        assert peer.fault() is None
        assert peer.answered(1) == b"ok"
    elif expected == "silence":
        assert got == []
    elif expected == "acknowledged":
        assert [(f.kind, f.flags) for f in got] == [(SETTINGS, 1)]
    elif expected == "ponged":
        assert [(f.kind, f.flags, f.payload) for f in got] == [(PING, 1, b"h2spec??")]
    else:
        assert peer.fault() == expected
        if expected[0] == "connection":
            assert peer.connection.finished
            assert got[-1].kind == GOAWAY
            assert peer.send(peer.headers(99)) == []  # nothing is read after it
        else:
            assert not peer.connection.finished
            peer.answers = True
            peer.send(frames.reset(3, frames.CANCEL) if 3 in peer.connection.streams else b"")
            peer.send(peer.headers(1001))
            assert peer.answered(1001) == b"ok"


# -- 3.4: the preface; 6.9: windows; these need more than one step


@pytest.mark.parametrize("step", [0, 1])
def test_3_4_the_preface_and_settings_open_a_connection(step: int) -> None:
    peer = Peer(greet=False)
    got = peer.send(PREFACE + frames.settings({}), step)
    assert [f.kind for f in got] == [SETTINGS, WINDOW_UPDATE, SETTINGS]
    assert got[-1].flags == frames.ACK


@pytest.mark.parametrize("sent", [
    b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frames.ping(bytes(8)),
    PREFACE + frames.settings(None), b"GET / HTTP/1.1\r\n\r\n",
])  # fmt: skip
def test_3_4_another_beginning_does_not(sent: bytes) -> None:
    peer = Peer(greet=False)
    peer.send(sent)
    assert peer.fault() == connection(PROTOCOL)
    assert peer.connection.finished


def test_6_5_3_a_new_initial_window_is_used_at_once() -> None:
    peer = Peer()
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 1}))
    peer.send(peer.headers(1))
    assert [len(f.payload) for f in peer.got if f.kind == DATA] == [1]


def test_6_9_1_a_window_of_one_octet_lets_one_octet_through() -> None:
    peer = Peer()
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 0}) + peer.headers(1))
    assert [f for f in peer.got if f.kind == DATA] == []
    peer.send(frames.window_update(1, 1))
    assert [f.payload for f in peer.got if f.kind == DATA] == [b"o"]
    peer.send(frames.window_update(1, 1))
    assert peer.answered(1) == b"ok"


def test_6_9_2_settings_open_the_windows_of_open_streams() -> None:
    peer = Peer()
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 0}) + peer.headers(1))
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 1}))
    assert [f.payload for f in peer.got if f.kind == DATA] == [b"o"]


def test_6_9_2_a_window_may_become_negative() -> None:
    peer = Peer(body=b"12345678")
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 3}) + peer.headers(1))
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 2}))  # now -1
    peer.send(frames.window_update(1, 2))
    assert [f.payload for f in peer.got if f.kind == DATA] == [b"123", b"4"]


def test_6_9_2_settings_that_make_a_window_too_large() -> None:
    peer = Peer(answers=False)
    peer.send(peer.headers(1) + frames.window_update(1, 0x7FFFFFFF - 65535))
    peer.send(frames.settings({INITIAL_WINDOW_SIZE: 65536}))
    assert peer.fault() == connection(FLOW)


def test_6_5_2_frames_are_as_large_as_the_client_allows() -> None:
    peer = Peer(body=bytes(60_000))
    peer.send(peer.headers(1))
    assert max(len(f.payload) for f in peer.got if f.kind == DATA) == 16384
    peer.send(frames.settings({MAX_FRAME_SIZE: 60_000}) + frames.window_update(0, 60_000) + peer.headers(3))
    assert [len(f.payload) for f in peer.got if f.kind == DATA and f.stream == 3] == [60_000]


def test_5_1_1_a_used_up_space_of_streams_is_no_error() -> None:
    peer = Peer()
    peer.send(peer.headers(0x7FFFFFFF))
    assert peer.answered(0x7FFFFFFF) == b"ok"


def test_8_1_an_early_answer_ends_the_request() -> None:
    """An answer before the request is whole: RST_STREAM with NO_ERROR behind it, and what still comes is let pass."""
    peer = Peer(answers=False)
    peer.send(peer.headers(1, POST, end=False))
    opened = peer.events[-1].stream
    peer.connection.data(opened, b"no", True)
    got = peer.read()
    assert [(f.kind, f.stream) for f in got] == [(DATA, 1), (RST_STREAM, 1)]
    assert got[-1].code == frames.NO_ERROR
    assert peer.send(peer.data(1, b"the rest")) == []
    assert not peer.connection.finished


def test_5_1_2_streams_that_are_refused_cost_nothing_later() -> None:
    peer = Peer(Limits(streams=2), answers=False)
    peer.send(b"".join(peer.headers(n, POST, end=False) for n in (1, 3, 5)))
    assert peer.fault() == stream(REFUSED)
    peer.answers = True
    peer.send(peer.data(1, b"a"))
    peer.send(peer.headers(7))
    assert peer.answered(7) == b"ok"
