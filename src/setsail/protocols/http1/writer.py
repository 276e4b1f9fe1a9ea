"""Replies to bytes of HTTP/1.1: framing, `Date` and `Connection` are written here and by nobody else.

The status line and headers of a reply are the same again and again, so they are rendered once; what differs (the
length, the date) follows them. The reply says HTTP/1.1 to a client of HTTP/1.0 too (RFC 9110 §2.5).
"""

from __future__ import annotations

import re
import zlib
from http import HTTPStatus
from typing import Final

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply

__all__ = ["CONTINUE", "compress", "render"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING: Final = frozenset(("connection", "content-length", "date", "keep-alive", "transfer-encoding"))
_BODILESS: Final = frozenset((204, 304))  # RFC 9110 §15.3.5, §15.4.5; neither has Content-Length (§8.6)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t !-~\u0080-\U0010ffff]*")  # RFC 9110 §5.5: no CR, LF, NUL or other control
_SPACE: Final = " \t"
_KEPT: Final = 512
_prefixes: dict[tuple[int, tuple[tuple[str, str], ...]], bytes] = {}
_GZIP: Final = zlib.MAX_WBITS | 16
_LEVEL: Final = 1  # a reply waits for its compression: the fastest level takes most of what there is to gain


def render(reply: HttpReply, *, date: bytes, close: bool, head_only: bool = False, minor: int = 1) -> bytes:
    """A reply as it goes over the connection.

    Args:
        date: the value of `Date`, an IMF-fixdate (RFC 9110 §5.6.7); the caller has the clock.
        close: whether the connection ends with this reply.
        head_only: of a HEAD request: all headers of the GET, `Content-Length` too, and no body (RFC 9110 §9.3.2).
        minor: of the request's HTTP/1.minor; 1.0 has to be told that the connection stays open.

    Raises:
        SetsailError: `server.fault` for a header that would not be one header to the client.
    """
    prefix = _prefixes.get((reply.status, reply.headers)) or _prefix(reply.status, reply.headers)
    if reply.id:
        prefix += _line("x-request-id", reply.id).encode("latin-1", "replace")
    connection = b"connection: close\r\n" if close else b"connection: keep-alive\r\n" if minor == 0 else b""
    if reply.status in _BODILESS:
        return b"%bdate: %b\r\n%b\r\n" % (prefix, date, connection)
    body = reply.body
    return b"%bcontent-length: %d\r\ndate: %b\r\n%b\r\n%b" % (
        prefix, len(body), date, connection, b"" if head_only else body,
    )  # fmt: skip


def _prefix(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Status line and the reply's own headers. Nothing is kept of a reply that would be refused."""
    if not 200 <= status <= 599:
        raise SetsailError("server.fault", "a reply has a status that no final reply has", field="status", value=status)
    first = f"HTTP/1.1 {status} {_phrase(status)}\r\n"
    fields = [_line(name, value) for name, value in headers]
    own = [line for line, (name, _) in zip(fields, headers, strict=True) if name.lower() not in _FRAMING]
    prefix = "".join([first, *own]).encode("latin-1", "replace")
    if len(_prefixes) >= _KEPT:
        _prefixes.clear()
    _prefixes[status, headers] = prefix
    return prefix


def _line(name: str, value: str) -> str:
    """A header. Raises `server.fault` for one that would not be one to the client."""
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise SetsailError(
            "server.fault", "a reply's header would split the reply", field=name, value=value,
            expected="one line of text",
        )  # fmt: skip
    return f"{name}: {value.strip(_SPACE)}\r\n"


def _phrase(status: int) -> str:
    """The reason phrase, which means nothing (RFC 9112 §4); empty for numbers that are nobody's."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


# -- gzip ----------------------------------------------------------------------------------------------------------


def compress(reply: HttpReply, accept_encoding: str, smallest: int) -> HttpReply:
    """The reply in gzip, for a client that prefers it.

    A reply of `smallest` bytes or more says `Vary: accept-encoding` either way: caches have to know that there are two.

    Args:
        accept_encoding: the request's header, empty without one.
        smallest: bytes a body must have to be worth it; 0 compresses nothing.
    """
    if not smallest or len(reply.body) < smallest or reply.status in _BODILESS:
        return reply
    if any(name.lower() == "content-encoding" for name, _ in reply.headers):
        return reply
    headers = _varied(reply.headers)
    if not prefers_gzip(accept_encoding):
        return replace(reply, headers=headers)
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    body = deflater.compress(reply.body) + deflater.flush()
    if len(body) >= len(reply.body):
        return replace(reply, headers=headers)
    return HttpReply(reply.status, body, (*headers, ("content-encoding", "gzip")), reply.id)


def prefers_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable, and no less so than the plain bytes (RFC 9110 §12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        weights[coding.strip().removeprefix("x-")] = _weight(parameters)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0  # nothing is done for a preference that nobody can read


def _varied(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    varies = [value for name, value in headers if name.lower() == "vary"]
    if any(part.strip().lower() in ("accept-encoding", "*") for value in varies for part in value.split(",")):
        return headers
    return (*headers, ("vary", "accept-encoding"))
