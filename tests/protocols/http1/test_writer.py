"""Replies as bytes, read back by h11 as the client; and compression."""

from __future__ import annotations

import gzip
import zlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply
from setsail.protocols.http1 import writer
from setsail.protocols.http1.writer import CONTINUE, compress, prefers_gzip, render

DATE = b"Sat, 21 Nov 2026 04:33:16 GMT"
JSON = (("content-type", "application/json"),)


def as_client(
    data: bytes, *, method: str = "GET", version: bytes = b"1.1"
) -> tuple[h11.Response, bytes, h11.Connection]:
    """What h11 makes of a reply: the response, its body and the connection afterwards."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    if event is h11.NEED_DATA:  # a body without a length goes on to the end
        client.receive_data(b"")
        event = client.next_event()
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b"", "the reply has bytes behind its end"
    return response, body, client


def test_a_reply_as_bytes() -> None:
    assert render(HttpReply(200, b"{}", JSON), date=DATE, close=False) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        b"content-length: 2\r\ndate: Sat, 21 Nov 2026 04:33:16 GMT\r\n\r\n{}"
    )


@pytest.mark.parametrize(("close", "state"), [(False, h11.DONE), (True, h11.MUST_CLOSE)])
def test_a_client_knows_whether_the_connection_stays(close, state) -> None:
    _, _, client = as_client(render(HttpReply(200, b"{}"), date=DATE, close=close))
    assert client.our_state is state


def test_http_1_0_is_told_that_the_connection_stays() -> None:
    assert b"connection: keep-alive\r\n" in render(HttpReply(200), date=DATE, close=False, minor=0)
    assert b"connection: close\r\n" in render(HttpReply(200), date=DATE, close=True, minor=0)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_that_have_no_body(status) -> None:
    data = render(HttpReply(status, b"never"), date=DATE, close=False)
    assert b"content-length" not in data  # RFC 9110 §8.6
    assert as_client(data)[1] == b""


def test_head_has_the_length_and_no_body() -> None:
    data = render(HttpReply(200, b"12345"), date=DATE, close=False, head_only=True)
    assert data.endswith(b"\r\n\r\n")
    response, body, _ = as_client(data, method="HEAD")
    assert body == b""
    assert (b"content-length", b"5") in list(response.headers)


def test_framing_is_the_writers_alone() -> None:
    headers = (("Content-Length", "7"), ("Transfer-Encoding", "chunked"), ("Connection", "close"), ("Date", "never"),
               ("Keep-Alive", "timeout=5"), ("x-a", "b"))  # fmt: skip
    response, body, client = as_client(render(HttpReply(200, b"12345", headers), date=DATE, close=False))
    assert sorted(response.headers) == [(b"content-length", b"5"), (b"date", DATE), (b"x-a", b"b")]
    assert body == b"12345"
    assert client.our_state is h11.DONE


def test_the_answer_to_who_waits() -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(
            method="POST", target="/", headers=[("Host", "h"), ("Expect", "100-continue"), ("Content-Length", "1")]
        )
    )
    assert client.they_are_waiting_for_100_continue is False
    client.receive_data(CONTINUE)
    event = client.next_event()
    assert isinstance(event, h11.InformationalResponse)
    assert event.status_code == 100


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "b\r\nset-cookie: c"),
        ("x-a", "b\nc"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x-a", "b\x7f"),
        ("x-a\r\nb", "c"),
        ("x a", "b"),
        ("x:a", "b"),
        ("", "b"),
        ("ä", "b"),
    ],
)
def test_a_header_that_would_split_the_reply(header) -> None:
    for _ in range(2):  # nothing is remembered of it
        with pytest.raises(SetsailError) as caught:
            render(HttpReply(200, b"", (header,)), date=DATE, close=False)
        assert caught.value.code == "server.fault"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1200])
def test_a_status_that_is_no_final_one(status) -> None:
    with pytest.raises(SetsailError) as caught:
        render(HttpReply(status), date=DATE, close=False)
    assert caught.value.code == "server.fault"


def test_a_status_without_a_name() -> None:
    assert render(HttpReply(499), date=DATE, close=False).startswith(b"HTTP/1.1 499 \r\n")
    assert as_client(render(HttpReply(499), date=DATE, close=False))[0].status_code == 499


def test_text_that_latin_1_lacks_is_replaced() -> None:
    response, _, _ = as_client(render(HttpReply(200, b"", (("x-a", "é€"),)), date=DATE, close=False))
    assert dict(response.headers)[b"x-a"] == "é?".encode("latin-1")


def test_what_is_remembered_is_bounded() -> None:
    for i in range(3000):
        render(HttpReply(200, b"", (("x-id", str(i)),)), date=DATE, close=False)
    assert len(writer._prefixes) <= 512


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12).map(lambda name: "x-" + name)
VALUE = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40)


@given(
    status=st.sampled_from([200, 201, 202, 204, 301, 304, 400, 404, 413, 429, 500, 503]),
    body=st.binary(max_size=200),
    headers=st.lists(st.tuples(TOKEN, VALUE), max_size=5),
    close=st.booleans(),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    minor=st.integers(0, 1),
)
def test_a_client_reads_what_was_written(status, body, headers, close, method, minor) -> None:
    reply = HttpReply(status, body, tuple(headers))
    data = render(reply, date=DATE, close=close, head_only=method == "HEAD", minor=minor)
    response, read, client = as_client(data, method=method)
    bodiless = method == "HEAD" or status in (204, 304)
    assert (response.status_code, read) == (status, b"" if bodiless else body)
    sent = [(name.encode(), value.strip(" \t").encode("latin-1")) for name, value in headers]
    got = [(name, value.decode("latin-1").strip(" \t").encode("latin-1")) for name, value in response.headers
           if name.startswith(b"x-")]  # fmt: skip
    assert got == sent
    assert client.our_state is (h11.MUST_CLOSE if close else h11.DONE)


# -- gzip ----------------------------------------------------------------------------------------------------------

LONG = HttpReply(200, b"[" + b"0.5," * 1000 + b"1]", JSON)


def test_a_client_that_accepts_gets_gzip() -> None:
    reply = compress(LONG, "gzip, deflate, br", 100)
    assert reply.headers == (*JSON, ("vary", "accept-encoding"), ("content-encoding", "gzip"))
    assert gzip.decompress(reply.body) == LONG.body
    assert len(reply.body) < len(LONG.body) / 10
    assert compress(LONG, "gzip", 100) == reply, "the same bytes each time: no clock in them"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False), ("gzip", True), ("GZip", True), ("x-gzip", True), ("br, gzip", True), ("*", True),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("gzip;q=0.5", True), ("*;q=0", False), ("*, gzip;q=0", False),
        ("*;q=0, gzip", True), ("identity", False), ("deflate, br", False), ("gzip;q=0.5, identity", False),
        ("gzip;q=0.5, identity;q=0.5", True), ("gzip;q=x", False), ("gzip;level=9", True), ("gzipped", False),
        ("gzip;q=nan", False), (",,", False), ("gzip;q=-1", False), ("gzip ; q = 0", False),
    ],
)  # fmt: skip
def test_what_a_client_prefers(accept, wanted) -> None:
    assert prefers_gzip(accept) is wanted
    assert (("content-encoding", "gzip") in compress(LONG, accept, 100).headers) is wanted


def test_caches_are_told_of_both_forms() -> None:
    assert compress(LONG, "", 100).headers[-1] == ("vary", "accept-encoding")
    varied = HttpReply(200, LONG.body, (("Vary", "Origin, Accept-Encoding"),))
    assert [name for name, _ in compress(varied, "gzip", 100).headers] == ["Vary", "content-encoding"]
    origin = HttpReply(200, LONG.body, (("vary", "origin"),))
    assert ("vary", "accept-encoding") in compress(origin, "gzip", 100).headers


def test_what_is_left_alone() -> None:
    assert compress(LONG, "gzip", 0) is LONG
    assert compress(LONG, "gzip", len(LONG.body) + 1) is LONG
    coded = HttpReply(200, LONG.body, (("Content-Encoding", "br"),))
    assert compress(coded, "gzip", 100) is coded
    empty = HttpReply(304, LONG.body)
    assert compress(empty, "gzip", 100) is empty
    noise = HttpReply(200, zlib.compress(bytes(range(256)) * 8, 9))
    assert compress(noise, "gzip", 1).body == noise.body
