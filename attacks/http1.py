"""Bytes that two HTTP/1 servers may read differently, each with how ours reads them.

Request smuggling needs a proxy in front that sees one request where the server behind sees two, or the other way
round. `/hidden` is the request that must not come to light, `/seen` the one that is there. Where a row says that bytes
are read, RFC 9112 leaves no other reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Attack(NamedTuple):
    """Bytes on a connection; the paths that are read; the code of the refusal after them, None where nothing is."""

    raw: bytes
    reads: tuple[str, ...] = ()
    code: str | None = "request.malformed"


SEEN: Final = ("/seen",)
HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked"


def _post(*lines: bytes, body: bytes = b"", start: bytes = b"POST /seen HTTP/1.1", host: bytes = b"Host: h") -> bytes:
    return b"".join(line + b"\r\n" for line in (start, host, *lines) if line) + b"\r\n" + body


def _length(value: bytes) -> bytes:
    """A body of three bytes, and a request behind it."""
    return _post(b"Content-Length: " + value, body=b"abc" + HIDDEN)


def _coding(line: bytes) -> bytes:
    """A chunked body that hides a request in one who reads the length."""
    return _post(b"Content-Length: %d" % len(b"0\r\n\r\n" + HIDDEN), line, body=b"0\r\n\r\n" + HIDDEN)


def _chunks(body: bytes) -> bytes:
    return _post(CHUNKED, body=body + b"0\r\n\r\n" + HIDDEN)


_VERSION: Final = "request.version"
_UNSUPPORTED: Final = "request.unsupported"
_LARGE: Final = "request.too_large"

LENGTH_AND_CODING: Final = {
    "CL.TE": Attack(_post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG")),
    "CL.TE with a request": Attack(_coding(CHUNKED)),
    "TE.CL": Attack(_post(CHUNKED, b"Content-Length: 4", body=b"22\r\n" + HIDDEN + b"\r\n0\r\n\r\n")),
    "TE.CL, the coding last": Attack(_post(b"Content-Length: 4", CHUNKED, body=b"22\r\n" + HIDDEN + b"\r\n0\r\n\r\n")),
    "CL.TE in HTTP/1.0": Attack(_post(b"Content-Length: 3", CHUNKED, start=b"POST /seen HTTP/1.0", body=b"abc")),
    "TE in HTTP/1.0": Attack(_post(CHUNKED, start=b"POST /seen HTTP/1.0", body=b"0\r\n\r\n" + HIDDEN)),
}
CODINGS: Final = {
    "two codings, one unknown": Attack(_coding(CHUNKED + b"\r\nTransfer-Encoding: x")),
    "two codings, equal": Attack(_post(CHUNKED, CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    "space before the colon": Attack(_coding(b"Transfer-Encoding : chunked")),
    "tab before the colon": Attack(_coding(b"Transfer-Encoding\t: chunked")),
    "space before the name": Attack(_coding(b" Transfer-Encoding: chunked")),
    "folded value": Attack(_coding(b"Transfer-Encoding:\r\n chunked")),
    "folded behind another header": Attack(_coding(b"X: y\r\n Transfer-Encoding: chunked")),
    "LF in front": Attack(_coding(b"X: y\nTransfer-Encoding: chunked")),
    "CR in front": Attack(_coding(b"X: y\rTransfer-Encoding: chunked")),
    "LF in the name": Attack(_coding(b"Transfer-Encoding\n: chunked")),
    "vertical tab": Attack(_coding(b"Transfer-Encoding: \x0bchunked")),
    "form feed": Attack(_coding(b"Transfer-Encoding: chunked\x0c")),
    "NUL behind": Attack(_coding(b"Transfer-Encoding: chunked\0")),
    "nearly the name": Attack(_post(b"Content-Length: 3", b"Transfer_Encoding: chunked", body=b"abc"), SEEN, None),
    "nearly the word": Attack(_post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN)),
    "quoted": Attack(_post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n" + HIDDEN)),
    "with a parameter": Attack(_post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n" + HIDDEN)),
    "identity last": Attack(_post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + HIDDEN)),
    "identity alone": Attack(_post(b"Transfer-Encoding: identity", body=HIDDEN)),
    "empty": Attack(_post(b"Transfer-Encoding:", body=HIDDEN)),
    "a comma more": Attack(_post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n" + HIDDEN)),
    "twice in a list": Attack(_post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + HIDDEN)),
    "another first": Attack(_post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + HIDDEN), (), _UNSUPPORTED),
    "upper case": Attack(_post(b"TRANSFER-ENCODING: CHUNKED", body=b"3\r\nabc\r\n0\r\n\r\n"), SEEN, None),
    "letters that fold to it": Attack(_coding("Transfer-Encoding: chun\u212aed".encode())),
}
LENGTHS: Final = {
    "two lengths": Attack(_post(b"Content-Length: 3", b"Content-Length: 0", body=HIDDEN)),
    "two lengths, equal": Attack(_post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    "a list": Attack(_length(b"3, 3")),
    "a list of two": Attack(_length(b"3,0")),
    "plus": Attack(_length(b"+3")),
    "minus": Attack(_length(b"-3")),
    "minus nothing": Attack(_length(b"-0")),
    "hexadecimal": Attack(_length(b"0x3")),
    "a fraction": Attack(_length(b"3.0")),
    "an exponent": Attack(_length(b"3e0")),
    "underscore": Attack(_length(b"0_3")),
    "a space inside": Attack(_length(b"3 0")),
    "NUL behind": Attack(_length(b"3\0")),
    "digits of another script": Attack(_length("\u0663".encode())),
    "superscript": Attack(_length(b"\xb3")),
    "empty": Attack(_length(b"")),
    "letters": Attack(_length(b"3abc")),
    "past 64 bits": Attack(_length(b"18446744073709551619")),
    "past any memory": Attack(_length(b"999999999999999999"), (), _LARGE),
    "leading zeros": Attack(_post(b"Content-Length: 0003", body=b"abc"), SEEN, None),
    "space before the colon": Attack(_post(b"Content-Length : 3", body=b"abc" + HIDDEN)),
    "NUL in the name": Attack(_post(b"Content-Length\0: 3", body=b"abc" + HIDDEN)),
    "folded": Attack(_post(b"Content-Length:\r\n 3", body=b"abc" + HIDDEN)),
    "length of a GET": Attack(_post(b"Content-Length: %d" % len(HIDDEN), start=b"GET /seen HTTP/1.1", body=HIDDEN),
                              SEEN, None),
    "length in an Expect": Attack(_post(b"Content-Length: 3", b"Expect: y 100-continue", body=b"abc" + HIDDEN), (),
                                  "request.expectation"),
}  # fmt: skip
CHUNKS: Final = {
    "size past 64 bits": Attack(_chunks(b"10000000000000003\r\nabc\r\n")),
    "size near 64 bits": Attack(_post(CHUNKED, body=b"fffffffffffffffe\r\nabc"), (), None),  # it waits for the rest
    "size with a sign": Attack(_chunks(b"+3\r\nabc\r\n")),
    "size below nothing": Attack(_chunks(b"-1\r\nabc\r\n")),
    "size with 0x": Attack(_chunks(b"0x3\r\nabc\r\n")),
    "size with an underscore": Attack(_chunks(b"0_3\r\nabc\r\n")),
    "space before the size": Attack(_chunks(b" 3\r\nabc\r\n")),
    "space behind the size": Attack(_chunks(b"3 \r\nabc\r\n")),
    "no size": Attack(_chunks(b"\r\nabc\r\n")),
    "only an extension": Attack(_chunks(b";a=b\r\nabc\r\n")),
    "LF behind the size": Attack(_chunks(b"3\nabc\r\n")),
    "CR behind the size": Attack(_chunks(b"3\rabc\r\n")),
    "LF behind the data": Attack(_chunks(b"3\r\nabc\n")),
    "nothing behind the data": Attack(_chunks(b"3\r\nabc")),
    "two other bytes behind the data": Attack(_chunks(b"3\r\nabcXX")),
    "more data than announced": Attack(_chunks(b"3\r\nabcd\r\n")),
    "LF in an extension": Attack(_chunks(b"3;a\nabc\r\n")),
    "LF ends an extension, CR LF for others": Attack(_chunks(b"3;\n45\r\n\r\nabc\r\n")),
    "CR in an extension": Attack(_chunks(b"3;a\rb\r\nabc\r\n")),
    "NUL in an extension": Attack(_chunks(b"3;a\0\r\nabc\r\n")),
    "line end in a quoted extension": Attack(_chunks(b'3;a="\r\nabc\r\n')),
    "an extension that is none": Attack(_chunks(b"3;\r\nabc\r\n")),
    "an extension": Attack(_post(CHUNKED, body=b"3;a=b\r\nabc\r\n0\r\n\r\n"), SEEN, None),
    "LF ends the body": Attack(_post(CHUNKED, body=b"0\r\n\n" + HIDDEN)),
    "length in a trailer": Attack(_post(CHUNKED, body=b"0\r\nContent-Length: 3\r\n\r\nabc" + HIDDEN)),
    "coding in a trailer": Attack(_post(CHUNKED, body=b"0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN)),
    "LF in a trailer": Attack(_post(CHUNKED, body=b"0\r\nX: y\nZ: z\r\n\r\n" + HIDDEN)),
    "folded trailer": Attack(_post(CHUNKED, body=b"0\r\nX: y\r\n z\r\n\r\n" + HIDDEN)),
    "a request as a trailer": Attack(_post(CHUNKED, body=b"0\r\n" + HIDDEN)),
    "key in a trailer": Attack(_post(CHUNKED, body=b"0\r\nAuthorization: Bearer k\r\n\r\n"), SEEN, None),
}
LINES: Final = {
    "LF everywhere": Attack(_post(b"Content-Length: 0").replace(b"\r\n", b"\n")),
    "LF ends the request line": Attack(b"GET /seen HTTP/1.1\nHost: h\r\n\r\n"),
    "LF LF ends the head": Attack(b"GET /seen HTTP/1.1\r\nHost: h\n\n" + HIDDEN),
    "LF CR LF ends the head": Attack(b"GET /seen HTTP/1.1\r\nHost: h\n\r\n" + HIDDEN),
    "CR CR LF ends the head": Attack(b"GET /seen HTTP/1.1\r\nHost: h\r\r\n\r\n" + HIDDEN),
    "CR alone ends a line": Attack(b"GET /seen HTTP/1.1\rHost: h\r\n\r\n" + HIDDEN),
    "a request in a header": Attack(_post(b"X: y\r" + HIDDEN.replace(b"\r\n", b"\r"), start=b"GET /seen HTTP/1.1")),
    "NUL in a value": Attack(_post(b"X: a\0b")),
    "DEL in a value": Attack(_post(b"X: a\x7fb")),
    "line separator of Unicode": Attack(_post("X: a\x85Transfer-Encoding: chunked".encode("latin-1")), SEEN, None),
    "folded line": Attack(_post(b"X: a", b" b")),
    "folded with a tab": Attack(_post(b"X: a", b"\tb")),
    "header without a colon": Attack(_post(b"GET /hidden HTTP/1.1")),
    "header without a name": Attack(_post(b": x")),
    "header name in brackets": Attack(_post(b"X(y): z")),
    "empty lines in front": Attack(b"\r\n\r\n" + HIDDEN),
    "empty line between requests": Attack(_post(b"Content-Length: 3", body=b"abc\r\n") + _post(), SEEN * 2, None),
    "a byte between requests": Attack(_post(b"Content-Length: 3", body=b"abc ") + HIDDEN, SEEN),
}
STARTS: Final = {
    "HTTP/0.9": Attack(b"GET /seen\r\n\r\n" + HIDDEN, (), _VERSION),
    "HTTP/2 without TLS": Attack(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (), _VERSION),
    "HTTP/1.2": Attack(_post(start=b"GET /seen HTTP/1.2"), (), _VERSION),
    "version with a zero more": Attack(_post(start=b"GET /seen HTTP/1.10")),
    "version in lower case": Attack(_post(start=b"GET /seen http/1.1")),
    "space behind the version": Attack(_post(start=b"GET /seen HTTP/1.1 ")),
    "two requests in a line": Attack(_post(start=b"GET /seen HTTP/1.1 GET /hidden HTTP/1.1")),
    "space in the target": Attack(_post(start=b"GET /seen /hidden HTTP/1.1")),
    "tab as space": Attack(_post(start=b"GET\t/seen\tHTTP/1.1")),
    "NUL in the target": Attack(_post(start=b"GET /seen\0 HTTP/1.1")),
    "target not ASCII": Attack(_post(start=b"GET /seen\xff HTTP/1.1")),
    "fragment": Attack(_post(start=b"GET /seen#/hidden HTTP/1.1")),
    "target without a slash": Attack(_post(start=b"GET seen HTTP/1.1")),
    "backslashes": Attack(_post(start=b"GET \\\\hidden\\ HTTP/1.1")),
    "star of a GET": Attack(_post(start=b"GET * HTTP/1.1")),
    "URL of another scheme": Attack(_post(start=b"GET file:///hidden HTTP/1.1")),
    "URL with a user": Attack(_post(start=b"GET http://h@i/hidden HTTP/1.1")),
    "URL of another host": Attack(_post(start=b"GET http://i/seen HTTP/1.1"), SEEN, None),  # RFC 9112 §3.2.2: URL wins
    "CONNECT": Attack(_post(start=b"CONNECT h:443 HTTP/1.1", body=HIDDEN), (), _UNSUPPORTED),
    "no Host": Attack(_post(host=b"")),
    "two Hosts": Attack(_post(b"Host: i")),
    "two Hosts in one": Attack(_post(host=b"Host: h, i")),
    "a path in Host": Attack(_post(host=b"Host: h/hidden")),
    "a user in Host": Attack(_post(host=b"Host: h@i")),
    "TLS": Attack(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    "TLS alert": Attack(b"\x15\x03\x01\x00\x02\x02\x0a"),
    "PROXY protocol": Attack(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + HIDDEN),
    "PROXY protocol, binary": Attack(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + HIDDEN),
    "SSH": Attack(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "noise": Attack(bytes(range(256))),
}
ENDINGS: Final = {
    "h2c by Upgrade": Attack(
        _post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), SEEN, None
    ),
    "WebSocket by Upgrade": Attack(
        _post(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", start=b"GET /seen HTTP/1.1"),
        SEEN, None,
    ),
    "a request behind the last one": Attack(_post(b"Connection: close", b"Content-Length: 0") + HIDDEN, SEEN, None),
    "Connection that names the framing": Attack(
        _post(b"Connection: Content-Length", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN), SEEN, None
    ),
    "a body that is a request": Attack(_post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN), SEEN, None),
    "a chunk that is a request": Attack(
        _post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)), SEEN, None
    ),
}  # fmt: skip

FAMILIES: Final[Mapping[str, Mapping[str, Attack]]] = {
    "length and coding": LENGTH_AND_CODING, "coding": CODINGS, "length": LENGTHS, "chunk": CHUNKS, "line": LINES,
    "start": STARTS, "ending": ENDINGS,
}  # fmt: skip
ATTACKS: Final[Mapping[str, Attack]] = {
    f"{family}: {name}": attack for family, rows in FAMILIES.items() for name, attack in rows.items()
}
