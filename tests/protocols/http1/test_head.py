"""Heads: what is read from them, what is refused and why, and the memo."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.http1.head import CHUNKED, Head, Heads, Limits

LIMITS = Limits(head=4096, headers=8, body=1000)


def read(raw: bytes, limits: Limits = LIMITS) -> Head:
    return Heads(limits).get(raw)


def lines(*texts: str, start: str = "POST /p HTTP/1.1", host: str = "Host: here") -> bytes:
    return "".join(f"{text}\r\n" for text in (start, *filter(None, (host,)), *texts)).encode("latin-1") + b"\r\n"


def test_everything_the_server_asks_is_read() -> None:
    head = read(lines("Content-Type: application/json", "Content-Length: 12", "X-A:  one\t ", "x-a: two"))
    assert head == Head(
        "POST", "/p", "",
        {"host": "here", "content-type": "application/json", "content-length": "12", "x-a": "one, two"},
        12, True, False, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?x=%20&y", "/a/b", "x=%20&y"),
        ("/a%20b%C3%A9%2Fc", "/a bé/c", ""),
        ("/a?b?c", "/a", "b?c"),
        ("//a/../b", "//a/../b", ""),
        ("http://there:80/a?b", "/a", "b"),
        ("HTTP://there", "/", ""),
        ("https://[::1]:8080?b", "/", "b"),
        ("http://there/a%3Fb", "/a?b", ""),
    ],
)
def test_targets(target: str, path: str, query: str) -> None:
    head = read(lines(start=f"GET {target} HTTP/1.1"))
    assert (head.path, head.query) == (path, query)


def test_options_may_ask_for_the_whole_server() -> None:
    assert read(lines(start="OPTIONS * HTTP/1.1")).path == "*"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "PROPFIND", "BREW", "get", "M-SEARCH", "!#$%&'*+"])
def test_any_method_is_read_and_the_routes_decide(method: str) -> None:
    assert read(lines(start=f"{method} / HTTP/1.1")).method == method


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: Keep-Alive, CLOSE", False),
        ("1.1", "Connection: closed", True),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive", True),
        ("1.0", "Connection: keep-alive, close", False),
    ],
)
def test_whether_the_connection_stays(version: str, connection: str, keep: bool) -> None:
    head = read(
        lines(connection, start=f"GET / HTTP/{version}") if connection else lines(start=f"GET / HTTP/{version}")
    )
    assert head.keep_alive is keep
    assert head.minor == int(version[-1])


@pytest.mark.parametrize(
    ("framing", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["Content-Length: 007"], 7),
        (["Content-Length:\t7 "], 7),
        (["Content-Length: 1000000000000000000"], 10**18),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["transfer-encoding:  CHUNKED "], CHUNKED),
    ],
)
def test_length_of_the_body(framing: list[str], length: int) -> None:
    assert read(lines(*framing)).length == length


def test_expectations() -> None:
    assert read(lines("Expect: 100-Continue", "Content-Length: 1")).expects
    # RFC 9110 §10.1.1: a server ignores an expectation of HTTP/1.0
    assert not read(lines("Expect: 100-continue", start="POST / HTTP/1.0")).expects
    assert not read(lines("Expect: tea", start="POST / HTTP/1.0")).expects


def test_upgrades_are_ignored() -> None:
    head = read(lines("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"))
    assert head.keep_alive
    assert head.headers["upgrade"] == "h2c"


def test_http_1_0_needs_no_host() -> None:
    assert read(b"GET / HTTP/1.0\r\n\r\n").headers == {}


def test_one_empty_line_before_is_skipped() -> None:
    assert read(b"\r\n" + lines()) == read(lines())


@pytest.mark.parametrize("host", ["", "h", "h:80", "[::1]", "[::1]:8080", "127.0.0.1", "a_b.c~d", "a%20b", "h:"])
def test_hosts(host: str) -> None:
    assert read(lines(host=f"Host: {host}")).headers["host"] == host


MALFORMED = {
    "two spaces": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tab": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space behind": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "a space in front": b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "two empty lines": b"\r\n\r\n",
    "LF ends the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "another protocol": b"GET / ICE/1.0\r\nHost: h\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "version of two digits": b"GET / HTTP/1.10\r\nHost: h\r\n\r\n",
    "method with a colon": b"GE:T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "target not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
    "target with a control byte": b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    "target without a slash": lines(start="GET a HTTP/1.1"),
    "target of CONNECT in GET": lines(start="GET h:443 HTTP/1.1"),
    "star of GET": lines(start="GET * HTTP/1.1"),
    "fragment": lines(start="GET /a#b HTTP/1.1"),
    "fragment in the query": lines(start="GET /a?b#c HTTP/1.1"),
    "another scheme": lines(start="GET ftp://h/a HTTP/1.1"),
    "user in the URL": lines(start="GET http://me@h/a HTTP/1.1"),
    "URL without a host": lines(start="GET http:///a HTTP/1.1"),
    "fragment of a URL": lines(start="GET http://h#b HTTP/1.1"),
    "URL with a port alone": lines(start="GET http://:80/a HTTP/1.1"),
    "half an escape": lines(start="GET /a%2 HTTP/1.1"),
    "no escape": lines(start="GET /a%zz HTTP/1.1"),
    "path not UTF-8": lines(start="GET /a%ff HTTP/1.1"),
    "no Host": lines(host=""),
    "two Hosts": lines("Host: there"),
    "two Hosts of HTTP/1.0": lines("Host: there", start="GET / HTTP/1.0"),
    "Host with a path": lines(host="Host: h/x"),
    "Host with a space": lines(host="Host: h x"),
    "Host with a user": lines(host="Host: me@h"),
    "Host with two ports": lines(host="Host: h:80:81"),
    "folded line": lines("A: b", " c"),
    "folded first line": lines(" A: b", host=""),
    "space before the colon": lines("A : b"),
    "no colon": lines("A"),
    "no name": lines(": b"),
    "name not ASCII": lines("Ä: b"),
    "name in brackets": lines("A(b): c"),
    "NUL": lines("A: b\0c"),
    "control byte": lines("A: b\x01c"),
    "DEL": lines("A: b\x7fc"),
    "CR in a value": lines("A: b\rc"),
    "LF in a value": lines("A: b\nC: d"),
    "CR CR LF": lines("A: b\r"),
    "length with a sign": lines("Content-Length: +3"),
    "length below nothing": lines("Content-Length: -3"),
    "length with a space": lines("Content-Length: 1 2"),
    "length in hexadecimal": lines("Content-Length: 0x3"),
    "length with an underscore": lines("Content-Length: 1_0"),
    "length of a fraction": lines("Content-Length: 1.0"),
    "length empty": lines("Content-Length:"),
    "length past 64 bits": lines("Content-Length: 99999999999999999999"),
    "length twice, equal": lines("Content-Length: 3", "Content-Length: 3"),
    "length as a list": lines("Content-Length: 3, 3"),
    "length and chunked": lines("Content-Length: 3", "Transfer-Encoding: chunked"),
    "chunked and length": lines("Transfer-Encoding: chunked", "Content-Length: 3"),
    "chunked of HTTP/1.0": lines("Transfer-Encoding: chunked", start="POST / HTTP/1.0"),
    "chunked twice": lines("Transfer-Encoding: chunked, chunked"),
    "chunked in two headers": lines("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "identity": lines("Transfer-Encoding: identity"),
    "chunked and identity": lines("Transfer-Encoding: chunked, identity"),
    "nearly chunked": lines("Transfer-Encoding: xchunked"),
    "vertical tab before chunked": lines("Transfer-Encoding: \x0bchunked"),
    "quoted chunked": lines('Transfer-Encoding: "chunked"'),
    "no coding": lines("Transfer-Encoding:"),
    "two types": lines("Content-Type: a/b", "Content-Type: a/b"),
    "two keys": lines("Authorization: Bearer a", "Authorization: Bearer b"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    with pytest.raises(SetsailError) as caught:
        read(MALFORMED[name])
    assert caught.value.code == "request.malformed"
    assert caught.value.family.http == 400


@pytest.mark.parametrize(
    ("raw", "code", "status"),
    [
        (b"GET /\r\n\r\n", "request.version", 505),
        (b"PRI * HTTP/2.0\r\n\r\n", "request.version", 505),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", "request.version", 505),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", "request.version", 505),
        (lines(start="CONNECT h:443 HTTP/1.1"), "request.unsupported", 501),
        (lines("Transfer-Encoding: gzip, chunked"), "request.unsupported", 501),
        (lines("Expect: tea"), "request.expectation", 417),
        (lines("Expect: 100-continue, tea"), "request.expectation", 417),
        (lines(*[f"A{i}: b" for i in range(8)]), "request.head_too_large", 431),
        (lines("A: " + "b" * 4096), "request.head_too_large", 431),
    ],
)
def test_other_refusals(raw: bytes, code: str, status: int) -> None:
    with pytest.raises(SetsailError) as caught:
        read(raw)
    assert (caught.value.code, caught.value.family.http) == (code, status)


def test_limits_are_exact() -> None:
    most = [f"A{i}: b" for i in range(7)]  # and Host
    assert len(read(lines(*most)).headers) == 8
    room = LIMITS.head - len(lines("A: "))
    assert read(lines("A: " + "b" * room)).headers["a"] == "b" * room


def test_heads_of_equal_bytes_are_one() -> None:
    heads = Heads(LIMITS)
    assert heads.get(lines("A: b")) is heads.get(lines("A: b"))
    assert heads.get(lines("A: b")) is not heads.get(lines("a: b"))


def test_the_memo_is_bounded_and_keeps_what_is_used() -> None:
    heads = Heads(LIMITS, size=16)
    often = heads.get(lines("A: often"))
    seen = []
    for i in range(1000):
        seen.append(heads.get(lines(f"A: {i}")))
        assert heads.get(lines("A: often")) is often
        assert len(heads.recent) <= 16
    assert heads.get(lines("A: 0")) is not seen[0]
    assert heads.get(lines("A: 999")) is seen[999]


def test_what_is_long_or_refused_is_not_remembered() -> None:
    heads = Heads(LIMITS)
    for raw in (lines("A: " + "b" * 3000), lines("Content-Length: 1001")):
        assert heads.get(raw) is not heads.get(raw)
    with pytest.raises(SetsailError):
        heads.get(lines("A : b"))
    assert not heads.recent


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    for raw in (noise + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n" + noise + b"\r\n\r\n"):
        end = raw.index(b"\r\n\r\n") + 4
        with suppress(SetsailError):
            read(raw[:end])
