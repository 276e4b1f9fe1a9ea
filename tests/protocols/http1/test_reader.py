"""The reader: however the bytes are cut, the same requests; memory and faults at the right moment."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_connection import listen

from setsail.protocols.budget import Budget
from setsail.protocols.http1.head import Heads, Limits
from setsail.protocols.http1.reader import Reader

HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = bytes(range(256)) * 512 * 19  # 2.4 MiB: more than a first buffer


def post(body: bytes) -> bytes:
    return HEAD % len(body) + body


def reader(limits: Limits | None = None, budget: Budget | None = None) -> Reader:
    limits = limits or Limits()
    return Reader(Heads(limits), budget or Budget(1 << 30), limits)


# -- however they are cut ----------------------------------------------------------------------------------------

SINGLE = {
    "without a body": (b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", "/a", b"")),
    "HTTP/1.0 that stays": (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ("GET", "/a", b"")),
    "an empty line before": (b"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", "/a", b"")),
    "with a body": (post(b"abc"), ("POST", "/a", b"abc")),
    "a body of empty lines": (post(b"\r\n\r\n\r\n\r\n"), ("POST", "/a", b"\r\n\r\n\r\n\r\n")),
    "a body that looks like a request": (post(post(b"abc")), ("POST", "/a", post(b"abc"))),
    "chunks": (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", ("POST", "/c", b"abcde")),
    "no chunks": (CHUNKED + b"0\r\n\r\n", ("POST", "/c", b"")),
    "chunks of empty lines": (CHUNKED + b"4\r\n\r\n\r\n\r\n7\r\n\n\r\n\r\n\r\n\r\n0\r\n\r\n",
                              ("POST", "/c", b"\r\n\r\n\n\r\n\r\n\r\n")),
    "chunks with extensions": (CHUNKED + b'3;a;b=c\r\nabc\r\n1;d="e;f"\r\nd\r\n0;g\r\n\r\n', ("POST", "/c", b"abcd")),
    "chunks with trailers": (CHUNKED + b"0A\r\n0123456789\r\n0\r\nX: y\r\nZ: \r\n\r\n", ("POST", "/c", b"0123456789")),
    "a head of many lines": (b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(90))
                             + b"\r\n", ("GET", "/a", b"")),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_whole_byte_by_byte_and_with_trailing_bytes(name) -> None:
    raw, expected = SINGLE[name]
    after = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    for direct in (False, True):
        assert listen([raw], direct=direct).requests == [expected]
        bytewise = [raw[i : i + 1] for i in range(len(raw))]
        assert listen(bytewise, direct=direct).requests == [expected]
        for trailing in (after, b"\r\n" + after):
            heard = listen([raw + trailing + after[:9]], direct=direct)
            assert (heard.requests, heard.fault) == ([expected, ("GET", "/next", b"")], None)


@pytest.mark.parametrize("name", SINGLE)
def test_a_request_is_not_there_before_its_last_byte(name) -> None:
    raw, expected = SINGLE[name]
    for cut in range(len(raw)):
        heard = listen([raw[:cut]], eof=True)
        assert heard.requests == []
        if raw[:cut] not in (b"", b"\r", b"\r\n"):
            assert heard.fault == "request.malformed"
    assert listen([raw], eof=True).fault is None
    assert listen([raw[:-1], raw[-1:]]).requests == [expected]


STREAM = b"".join(raw for raw, _ in SINGLE.values())
STREAM_REQUESTS = [expected for _, expected in SINGLE.values()]


@given(st.lists(st.integers(0, len(STREAM)), max_size=40), st.booleans())
def test_any_cuts_of_a_pipeline(cuts, direct) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    heard = listen([STREAM[a:b] for a, b in pairwise(places)], direct=direct)
    assert (heard.requests, heard.fault) == (STREAM_REQUESTS, None)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2 * len(LARGE)), max_size=8), st.booleans())
def test_any_cuts_of_large_bodies(cuts, direct) -> None:
    chunked = CHUNKED + b"%x\r\n" % len(LARGE) + LARGE + b"\r\n0\r\n\r\n"
    stream = post(LARGE) + chunked + post(b"after")
    places = [0, *sorted(cuts), len(stream)]
    heard = listen([stream[a:b] for a, b in pairwise(places)], direct=direct)
    assert [len(body) for _, _, body in heard.requests] == [len(LARGE), len(LARGE), 5]
    assert {body for _, _, body in heard.requests} == {LARGE, b"after"}


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_noise_is_refused_the_same_however_it_is_cut(noise, cuts) -> None:
    places = [0, *sorted(min(c, len(noise)) for c in cuts), len(noise)]
    cut = listen([noise[a:b] for a, b in pairwise(places)], eof=True)
    assert cut == listen([noise], eof=True)


# -- what the server sees ------------------------------------------------------------------------------------------


def test_a_small_request_is_bytes_and_a_large_one_a_view_that_cannot_be_written() -> None:
    r = reader()
    r.feed(post(b"abc"))
    assert type(r.messages.popleft().body) is bytes
    r.feed(post(LARGE))
    body = r.messages.popleft().body
    assert isinstance(body, memoryview)
    assert body.readonly
    assert body == LARGE


def test_a_known_head_is_not_parsed_again() -> None:
    r = reader()
    r.feed(post(b"abc") + post(b"def"))
    r.feed(post(b"ghi"))
    assert len({id(message.head) for message in r.messages}) == 1


def test_a_body_arrives_in_its_own_room() -> None:
    r = reader()
    assert r.room() is None
    r.feed(HEAD % 10 + b"abc")
    assert r.begun is not None
    assert r.begun.path == "/a"
    room = r.room()
    assert room is not None
    assert len(room) == 7
    room[:4] = b"defg"
    r.filled(4)
    room = r.room()
    assert room is not None
    room[:3] = b"hij"
    assert not r.messages
    r.filled(3)
    assert (r.room(), r.begun, r.idle) == (None, None, True)
    assert bytes(r.messages.popleft().body) == b"abcdefghij"


def test_progress_grows_until_the_request_is_whole() -> None:
    r = reader()
    stream, last = post(b"abcdef"), 0
    for i in range(len(stream) - 1):
        r.feed(stream[i : i + 1])
        assert r.progress == i + 1
        assert not r.idle
    r.feed(stream[-1:])
    assert (r.progress, r.idle) == (0, True)
    stream = CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
    for i in range(len(stream) - 1):
        r.feed(stream[i : i + 1])
        assert r.progress > last
        last = r.progress
    r.feed(stream[-1:])
    assert (r.progress, r.idle) == (0, True)


def test_an_empty_line_between_requests_is_idle() -> None:
    r = reader()
    for byte in (b"\r", b"\n"):
        r.feed(byte)
        assert r.idle
    r.eof()
    assert r.fault is None


def test_continue_is_taken_once_and_only_by_who_waits() -> None:
    waiting = b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    r = reader()
    r.feed(waiting)
    assert (r.take_continue(), r.take_continue()) == (True, False)
    r.feed(b"abc")
    assert r.messages.popleft().body == b"abc"
    r.feed(waiting + b"a")  # RFC 9110 §10.1.1: the body is on its way already
    assert not r.take_continue()
    r.feed(b"bc" + waiting + b"abc")
    assert not r.take_continue()
    r.feed(waiting.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"))
    assert r.take_continue()
    assert not reader().take_continue()


def test_nothing_is_read_after_a_request_that_closes() -> None:
    last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    heard = listen([post(b"a") + last + post(b"b"), post(b"c"), b"\x16\x03"], eof=True)
    assert heard.requests == [("POST", "/a", b"a"), ("GET", "/last", b"")]
    assert heard.fault is None


def test_nothing_is_read_after_a_fault() -> None:
    heard = listen([post(b"a") + b"GET / HTTP/1.1\r\n\r\n" + post(b"b"), post(b"c")])
    assert heard.requests == [("POST", "/a", b"a")]
    assert heard.fault == "request.malformed"


def test_nothing_is_read_after_the_end() -> None:
    r = reader()
    r.eof()
    r.feed(post(b"a"))
    assert not r.messages
    assert r.fault is None


# -- refused at once, not after a time-out -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (b"\x16\x03\x01\x02\x00", "request.malformed"),  # a TLS client
        (b"\0", "request.malformed"),
        (b" GET", "request.malformed"),
        (b"\r\n\r\n", "request.malformed"),
        (b"GET / HTTP/1.1\n", "request.malformed"),
        (b"GET / HTTP/1.1\r\nHost: h\n", "request.malformed"),
        (b"GET /\r\n", "request.version"),
        (b"GET / HTTP/2\r\n", "request.malformed"),
        (b"GET / HTTP/3.0\r\n", "request.version"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "request.malformed"),
        (b"EHLO mail\r\n", "request.version"),
        (b"x" * 300, "request.head_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 300, "request.head_too_large"),
    ],
)
def test_what_can_become_no_head(start, code) -> None:
    limits = Limits(head=256)
    assert listen([start], limits).fault == code
    assert listen([start[i : i + 1] for i in range(len(start))], limits).fault == code


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_head_at_the_limit_is_read_and_one_over_it_is_not() -> None:
    for size, fault in ((256, None), (257, "request.head_too_large")):
        raw = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
        raw += b"x" * (size - len(raw) - 4) + b"\r\n\r\n"
        for pieces in ([raw], [raw[:100], raw[100:]], [raw[i : i + 1] for i in range(size)]):
            assert listen(pieces, Limits(head=256)).fault == fault


def test_a_body_over_the_limit_is_refused_before_it_comes() -> None:
    limits = Limits(body=10)
    assert listen([post(b"x" * 10)], limits).fault is None
    r = reader(limits)
    r.feed(HEAD % 11)
    assert r.fault is not None
    assert r.fault.code == "request.too_large"
    assert r.begun is not None
    assert r.begun.path == "/a"  # so that the refusal has the shape of the path's wire
    assert r.room() is None
    r = reader(limits)
    r.feed(HEAD % 10**18)
    assert r.fault.code == "request.too_large"


def test_a_chunked_body_over_the_limit() -> None:
    limits = Limits(body=10)
    assert listen([CHUNKED + b"a\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n"], limits).fault is None
    for raw in (b"b\r\n" + b"x" * 11, b"1\r\nx\r\n" * 11, b"ffffffffffffffff\r\n" + b"x" * 11):
        assert listen([CHUNKED + raw], limits).fault == "request.too_large"


@pytest.mark.parametrize(
    "framing",
    [b"3;" + b"a" * 300, b"0" * 300, b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 50, b"3\r\nabc\r\n0\r\nA: " + b"b" * 300],
)
def test_the_framing_of_chunks_is_limited_too(framing) -> None:
    raw = CHUNKED + framing
    assert listen([raw[i : i + 9] for i in range(0, len(raw), 9)], Limits(head=256)).fault == "request.head_too_large"


def test_extensions_cannot_be_most_of_a_body() -> None:
    raw = CHUNKED + (b"1;" + b"e" * 100 + b"\r\nx\r\n") * 100
    assert listen([raw[i : i + 50] for i in range(0, len(raw), 50)], Limits(head=256)).fault == "request.head_too_large"


def test_single_bytes_are_allowed_as_chunks() -> None:
    raw = CHUNKED + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    assert listen([raw[i : i + 50] for i in range(0, len(raw), 50)], Limits(head=256)).requests[0][2] == b"x" * 1000


# -- the budget -----------------------------------------------------------------------------------------------------


def test_bytes_are_taken_as_they_arrive_and_not_as_they_are_announced() -> None:
    budget = Budget(1000)
    r = reader(budget=budget)
    r.feed(HEAD % (50 << 20))
    assert budget.taken == 0
    room = r.room()
    assert room is not None
    assert len(room) <= 1 << 20
    r.filled(600)
    assert budget.taken == 600
    r.filled(400)
    assert r.fault is None
    r.filled(1)
    assert r.fault is not None
    assert r.fault.code == "server.busy"
    assert r.fault.facts["retry_after"] >= 1
    r.close()
    assert budget.taken == 0


def test_parts_of_heads_count_until_the_head_is_whole() -> None:
    budget = Budget(100)
    r = reader(budget=budget)
    r.feed(post(b"abc")[:20])
    assert budget.taken == 20
    r.feed(post(b"abc")[20:])
    assert budget.taken == 3
    assert r.messages[0].taken == 3
    r.feed(b"GET / HTTP/1.1\r\nA: " + b"x" * 100)
    assert r.fault is not None
    assert r.fault.code == "server.busy"


def test_what_is_not_handed_over_is_given_back() -> None:
    for raw in (post(b"abc") + HEAD % 100 + b"abc", CHUNKED + b"5\r\nabc", post(b"abc") * 5, b"GET / HT"):
        budget = Budget(1000)
        r = reader(budget=budget)
        r.feed(raw)
        r.close()
        assert budget.taken == 0


def test_a_request_over_the_budget_is_refused_in_one_read_too() -> None:
    r = reader(budget=Budget(5))
    r.feed(post(b"abc"))
    r.feed(post(b"abc"))
    assert len(r.messages) == 1
    assert r.fault is not None
    assert r.fault.code == "server.busy"


def test_a_machine_without_the_memory_is_busy(monkeypatch) -> None:
    def none(*_: object) -> None:
        raise MemoryError

    r = reader()
    monkeypatch.setattr("setsail.protocols.http1.reader.np.empty", none)
    r.feed(HEAD % 1000)
    assert r.fault is not None
    assert r.fault.code == "server.busy"
