"""The same bytes to h11: what both read is the same, and where one refuses there is a reason.

h11 is lenient where RFC 9112 lets a server be; we are not, because two servers that are lenient in different ways are
what request smuggling needs. STRICTER and MILDER are all the differences; the tests hold that there are no others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setsail.protocols.budget import Budget
from setsail.protocols.http1.head import Heads, Limits
from setsail.protocols.http1.reader import Reader

BIG = 1 << 20


@dataclass(frozen=True)
class Read:
    """A request as both see it. The target is raw; values of repeated headers are joined."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def joined(headers) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return tuple(sorted(found.items()))


def h11_reads(raw: bytes) -> tuple[list[Read], bool]:
    """Requests, and whether h11 refuses what follows them."""
    server, requests, part = h11.Connection(h11.SERVER, max_incomplete_event_size=BIG), [], None
    server.receive_data(raw)
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                part = [event.method.decode(), event.target.decode("latin-1"), joined(event.headers), b""]
            elif isinstance(event, h11.Data):
                part[3] += event.data
            elif isinstance(event, h11.EndOfMessage):
                requests.append(Read(*part))
                server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE:
                    return requests, False
                server.start_next_cycle()
            else:
                return requests, False
    except h11.RemoteProtocolError:
        return requests, True


def ours_reads(raw: bytes) -> tuple[list[Read], str | None]:
    """Requests, and the code of the fault that follows them."""
    limits = Limits(head=BIG)
    reader = Reader(Heads(limits), Budget(1 << 30), limits)
    reader.feed(raw)
    requests = [
        Read(m.head.method, m.head.path + ("?" + m.head.query if m.head.query else ""),
             tuple(sorted(m.head.headers.items())), bytes(m.body))
        for m in reader.messages
    ]  # fmt: skip
    return requests, reader.fault and reader.fault.code


# -- the differences -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Why one refuses what the other reads: the rule, what it looks like in the bytes, and an example."""

    section: str
    why: str
    pattern: bytes
    example: bytes
    code: str = "request.malformed"


def request(*lines: bytes, start: bytes = b"POST /a HTTP/1.1", host: bytes = b"Host: h", body: bytes = b"") -> bytes:
    return b"".join(line + b"\r\n" for line in (start, host, *lines) if line) + b"\r\n" + body


TE = b"Transfer-Encoding: chunked"
STRICTER = {  # h11 reads it, we refuse
    "bare LF": Difference(
        "9112 §2.2",
        "a line may end in LF alone, another server may not see the end",
        rb"(?<!\r)\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
    ),
    "folding": Difference(
        "9112 §5.2", "a server must refuse folded lines or join them", rb"\n[ \t]", request(b"A: b", b" c")
    ),
    "length and chunked": Difference(
        "9112 §6.1",
        "smuggling's own sign; a server may refuse it",
        rb"(?is)\ntransfer-encoding *:.*\ncontent-length *:"
        rb"|\ncontent-length *:.*\ntransfer-encoding *:",
        request(TE, b"Content-Length: 3", body=b"0\r\n\r\n"),
    ),
    "length repeated": Difference(
        "9112 §6.3",
        "equal lengths may be joined or refused",
        rb"(?is)\ncontent-length *:.*\ncontent-length *:|\ncontent-length *:[^\n]*,",
        request(b"Content-Length: 3, 3", body=b"abc"),
    ),
    "length too long": Difference(
        "9112 §6.3",
        "more than any body has",
        rb"(?i)\ncontent-length *:[^\n]*[0-9]{19}",
        request(b"Content-Length: 00000000000000000003", body=b"abc"),
    ),
    "chunked of HTTP/1.0": Difference(
        "9112 §6.1",
        "framing of an HTTP/1.0 message with it is faulty",
        rb"HTTP/1\.0",
        request(TE, start=b"POST / HTTP/1.0", body=b"0\r\n\r\n"),
    ),
    "header once": Difference(
        "9110 §5.3",
        "no list, so two of them are two meanings",
        rb"(?is)\n(content-type|authorization"
        rb"|content-encoding|origin|expect) *:.*\n\1 *:",
        request(b"Content-Type: a", b"Content-Type: b"),
    ),
    "Host": Difference(
        "9112 §3.2",
        "an invalid Host must be refused",
        rb"(?i)\nhost *:[^\n]*[^A-Za-z0-9.:\r\n -]",
        request(host=b"Host: a/b"),
    ),
    "Host of two words": Difference(
        "9112 §3.2",
        "an invalid Host must be refused",
        rb"(?i)\nhost *:[ \t]*[^ \t\r\n]+[ \t]+[^ \t\r\n]",
        request(host=b"Host: a b"),
    ),
    "ports of Host": Difference(
        "9112 §3.2",
        "an invalid Host must be refused",
        rb"(?i)\nhost *:[^\n]*:[^\n]*[^0-9\r\n]",
        request(host=b"Host: a:b"),
    ),
    "control byte": Difference(
        "9110 §5.5",
        "a server may refuse control characters",
        rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",
        request(b"A: b\x01c"),
    ),
    "target": Difference(
        "9112 §3.2",
        "neither a path nor a URL nor OPTIONS *",
        rb"(?m)^[^ \r\n]+ (?![/ ])",
        request(start=b"GET a HTTP/1.1"),
    ),
    "fragment": Difference(
        "9112 §3.2", "a target has no fragment", rb"(?m)^[^ \r\n]+ [^ \r\n]*#", request(start=b"GET /a#b HTTP/1.1")
    ),
    "escape": Difference(
        "3986 §2.1",
        "a % without two digits, or a path that is not UTF-8",
        rb"(?m)^[^ \r\n]+ [^ \r\n]*%",
        request(start=b"GET /%ff HTTP/1.1"),
    ),
    "version": Difference(
        "9112 §2.3",
        "a major version that is not ours",
        rb"HTTP/(?!1\.[01])",
        request(start=b"GET / HTTP/2.0"),
        "request.version",
    ),
    "expectation": Difference(
        "9110 §10.1.1",
        "an unknown expectation may be refused",
        rb"(?i)\nexpect *:",
        request(b"Expect: tea"),
        "request.expectation",
    ),
    "chunk size": Difference(
        "9112 §7.1",
        "white space after the size, as h11 forgives it",
        rb"(?m)^[0-9a-fA-F]+[ \t]+(;|\r)",
        request(TE, body=b"3 \r\nabc\r\n0\r\n\r\n"),
    ),
    "chunk extension": Difference(
        "9112 §7.1.1", "an extension that is none", rb"(?m)^[0-9a-fA-F]+;", request(TE, body=b"3;\r\nabc\r\n0\r\n\r\n")
    ),
    "chunk overflow": Difference(
        "9112 §7.1", "a size past 64 bits", rb"(?m)^[0-9a-fA-F]{17}", request(TE, body=b"10000000000000000000\r\nabc")
    ),
    "body too large": Difference(
        "9110 §15.5.14",
        "over the limit of 64 MiB",
        rb"(?m)^[0-9a-fA-F]{7}|[0-9]{8}",
        request(b"Content-Length: 99999999999", body=b"abc"),
        "request.too_large",
    ),
    "trailers that frame": Difference(
        "9110 §6.5.1",
        "framing is no trailer",
        rb"(?is)\r\n\r\n.*\n(content-length|transfer-encoding) *:",
        request(TE, body=b"0\r\nContent-Length: 3\r\n\r\n"),
    ),
}
MILDER = {  # we read it, h11 refuses
    "an empty line": Difference(
        "9112 §2.2", "a server should ignore one before a request", rb"\A\r\n|\n\r\n", b"\r\n" + request()
    ),
    "name of a trailer": Difference(
        "9112 §7.1.2", "we drop trailers unread, h11 knows their names", rb"(?is)chunked", b""
    ),
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_only_h11_reads(name) -> None:
    row = STRICTER[name]
    assert re.search(row.pattern, row.example), "the pattern is how the tests below know it again"
    assert ours_reads(row.example) == ([], row.code), row.section
    assert h11_reads(row.example)[1] is False, f"h11 refuses it too by now: {row.why}"


def test_what_only_we_read() -> None:
    row = MILDER["an empty line"]
    assert h11_reads(row.example) == ([], True)
    assert [r.target for r in ours_reads(row.example)[0]] == ["/a"]


# -- and no others -------------------------------------------------------------------------------------------------

NAME = st.sampled_from([b"A", b"x-b", b"Accept", b"User-Agent", b"~!#", b"Cookie"])
VALUE = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20).map(
    lambda text: text.strip().encode("latin-1")
)
FIELD = st.builds(
    lambda name, gap, value: name + b":" + gap + value, NAME, st.sampled_from([b"", b" ", b"\t  "]), VALUE
)
CHUNK_SIZE = st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b", b'%x;c="d;e"'])


@st.composite
def requests(draw) -> bytes:
    """One request as a client may send it."""
    body = draw(st.binary(max_size=60) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]))
    start = b"%b %b HTTP/1.1" % (
        draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"BREW"])),
        draw(st.sampled_from([b"/", b"/a/b?c=d", b"/?a?b", b"//x", b"/v2/models/m/infer"])),
    )
    lines = draw(st.lists(FIELD, max_size=3))
    framing = draw(st.sampled_from(["none", "length", "chunks"]))
    if framing == "none":
        return request(*lines, start=start)
    if framing == "length":
        lines.insert(draw(st.integers(0, len(lines))), b"Content-Length: %d" % len(body))
        return request(*lines, start=start, body=body)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=3)) - {len(body)})
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    framed = b"".join(draw(CHUNK_SIZE) % len(part) + b"\r\n" + part + b"\r\n" for part in parts if part)
    trailers = draw(st.sampled_from([b"", b"X-End: y\r\n"]))
    return request(TE, *lines, start=start, body=framed + b"0\r\n" + trailers + b"\r\n")


@given(st.lists(requests(), min_size=1, max_size=4))
def test_both_read_what_is_well_formed(sent) -> None:
    ours, fault = ours_reads(b"".join(sent))
    theirs, refused = h11_reads(b"".join(sent))
    assert (fault, refused) == (None, False)
    assert ours == theirs
    assert len(ours) == len(sent)


SPLICES = [
    b"",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b"0",
    b"9",
    b"f",
    b"-",
    b"+",
    b"#",
    b"/",
    b"@",
    b"\r\n ",
    b"\r\n\r\n",
    b"\r\nContent-Length: 3",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nHost: i",
    b"\r\nTransfer-Encoding : chunked",
    b"\r\nTransfer-Encoding: xchunked",
    b"\r\nConnection: close",
    b"HTTP/1.0",
    b"chunked",
    b"\r\nExpect: 100-continue",
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"0\r\n\r\n",
    b"\r\nContent-Length:3,3",
]
SPLICE = st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(SPLICES) | st.binary(max_size=3))


@settings(max_examples=300)
@given(requests(), requests(), st.lists(SPLICE, min_size=1, max_size=3))
@example(request(b"Content-Length: 3", body=b"abc"), request(), [(0.5, 0, b"\r\nTransfer-Encoding: chunked")])
def test_damaged_bytes_are_read_alike_or_refused_for_a_reason(first, second, splices) -> None:
    raw = first + second
    for place, drop, put in splices:
        at = int(place * len(raw))
        raw = raw[:at] + put + raw[at + drop :]
    ours, fault = ours_reads(raw)
    theirs, refused = h11_reads(raw)
    for mine, other in zip(ours, theirs, strict=False):
        assert alike(mine) == alike(other)
    if len(ours) < len(theirs):
        assert fault is not None, "no request may be lost without a word"
        assert reasons(STRICTER, raw), "refused, and no row of STRICTER says why"
    if len(ours) > len(theirs):
        assert refused
        assert reasons(MILDER, raw), "read, and no row of MILDER says why"


def alike(read: Read) -> Read:
    """Without what both may write differently: a decoded path, a coding's case."""
    target = re.sub(r"(?i)^https?://[^/?]+", "", read.target) or "/"
    target = "/" + target if target.startswith("?") else target
    headers = tuple((n, v.lower() if n == "transfer-encoding" else v) for n, v in read.headers)
    return Read(read.method, "%" if "%" in target else target.rstrip("?"), headers, read.body)


def reasons(rows: dict[str, Difference], raw: bytes) -> list[str]:
    return [name for name, row in rows.items() if re.search(row.pattern, raw)]
