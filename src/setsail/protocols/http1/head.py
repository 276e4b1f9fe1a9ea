"""The head of an HTTP/1 request: its bytes to a `Head`, checked, and remembered by its exact bytes.

A client sends the same head again and again, so most heads are found in a dict and nothing is parsed. The rest go
through llhttp, which is strict about lines, names and control bytes, and through the rules below. Each rule refuses
what another server on the way could read differently: that is what request smuggling is made of.

    rule                                                        RFC               code
    one space between method, target and version                9112 §3           request.malformed
    version 1.0 or 1.1                                          9112 §2.3         request.version
    target: origin form, absolute form, or `*` of OPTIONS       9112 §3.2         request.malformed
    exactly one Host in HTTP/1.1, never two, well-formed        9112 §3.2         request.malformed
    no line folding, no bare CR or LF, no control bytes         9112 §2.2, §5.2   request.malformed
    Content-Length: digits, once                                9112 §6.3         request.malformed
    Transfer-Encoding: not with Content-Length, not in 1.0      9112 §6.1, §6.3   request.malformed
    Transfer-Encoding: `chunked` and nothing else               9112 §6.1         request.unsupported
    headers that a request has once                             9110 §5.3         request.malformed
    Expect: `100-continue` or none                              9110 §10.1.1      request.expectation
    CONNECT                                                     9110 §9.3.6       request.unsupported
    bytes and count of headers, before anything is made         9110 §5.4         request.head_too_large

`Upgrade` is ignored, as RFC 9110 §7.8 allows.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools
from msgspec import Struct

from setsail.errors import SetsailError

__all__ = ["CHUNKED", "Head", "Heads", "Limits", "malformed", "read_target", "too_long"]

CHUNKED: Final = -1  # a `Head.length`: the body says itself where it ends
_KEPT: Final = 2048  # longer heads are parsed anew each time, so that the memo stays small
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE: Final = re.compile(rb"(%s) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN)
_LINE_0_9: Final = re.compile(rb"%s [!-~]+\r\n" % _TOKEN)
_ABSOLUTE: Final = re.compile(r"https?://([^:/?#][^/?#]*)([/?].*)?", re.IGNORECASE)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"([A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")  # RFC 3986 §3.2.2
# What no head holds: control bytes but HTAB, CR and LF. llhttp refuses them too; this does not depend on its version.
_CONTROLS: Final = bytes({*range(32), 127} - {9, 10, 13})
_ONCE: Final = frozenset((
    "authorization", "content-encoding", "content-length", "content-type", "expect", "host",
    "inference-header-content-length", "origin", "transfer-encoding",
))  # fmt: skip


class Limits(Struct, frozen=True):
    """Most bytes of a request line with its headers, most headers, most bytes of a body."""

    head: int = 65536
    headers: int = 100
    body: int = 64 << 20


class Head(Struct):
    """One request's head. Requests with the same bytes share it, so it is never changed, but for `plan`.

    `path` is percent-decoded and without the query; `query` is raw; names of `headers` are lower-case and the values
    of repeated ones joined by `, `. `length` is the body's, 0 for none, CHUNKED where it is not known. `expects`: the
    client waits for `100 Continue`. `minor`: of HTTP/1.minor. `plan` is the server's: what it found out about this
    head once, for all requests that have it.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int
    keep_alive: bool
    expects: bool
    minor: int
    plan: Any = None


class Heads:
    """Heads by their exact bytes: a bounded memo in front of the parser.

    Two generations: `recent` fills, then becomes the older one, whose members come back when they are used. So heads
    that differ in every request (a trace id) push out each other, and not those that are used all the time.
    """

    __slots__ = ("_limits", "_older", "_size", "recent")

    def __init__(self, limits: Limits, size: int = 1024) -> None:
        self.recent: dict[bytes, Head] = {}
        self._older: dict[bytes, Head] = {}
        self._limits = limits
        self._size = max(1, size // 2)

    def get(self, raw: bytes) -> Head:
        """The head that these bytes are, up to and with the empty line; one empty line in front is skipped.

        A body over the limit is no fault of the head: whoever reads it refuses it, and knows the path it was for.

        Raises:
            SetsailError: `request.malformed`, `.version`, `.unsupported`, `.expectation` or `.head_too_large`.
        """
        head = self.recent.get(raw)
        if head is not None:
            return head
        head = self._older.get(raw)
        if head is None:
            head = parse(raw, self._limits)
            if len(raw) > _KEPT or head.length > self._limits.body:
                return head
        if len(self.recent) >= self._size:
            self._older, self.recent = self.recent, {}
        self.recent[raw] = head
        return head


def parse(raw: bytes, limits: Limits) -> Head:
    """A head from its bytes, without the memo. Raises what `Heads.get` raises."""
    if len(raw) > limits.head:
        raise too_long(limits)
    if raw.startswith(b"\r\n"):  # RFC 9112 §2.2: some old clients send an empty line after a body
        raw = raw[2:]
    line = _LINE.match(raw)
    if line is None:
        raise _bad_line(raw)
    minor = _minor(line)
    lines = raw.count(b"\n")
    if lines - 2 > limits.headers:
        raise SetsailError(
            "request.head_too_large", "the request has too many headers", field="headers", value=lines - 2,
            expected=f"at most {limits.headers}",
        )  # fmt: skip
    if lines != raw.count(b"\r\n") or lines != raw.count(b"\r"):
        raise malformed("a line of the head does not end in CR LF, or holds a CR or LF")
    if len(raw.translate(None, _CONTROLS)) != len(raw):
        raise malformed("the head holds control characters")
    headers = _headers(raw[line.end() :])
    method = line[1].decode("ascii")
    if method == "CONNECT":
        raise SetsailError("request.unsupported", "this server is no proxy", field="method", value=method)
    path, query = read_target(line[2].decode("ascii"), method)
    _check_host(headers, minor)
    length, stays, expects = _length(headers, minor), _stays(headers, minor), _expects(headers, minor)
    return Head(method, path, query, headers, length, stays, expects, minor)


def malformed(what: str, **facts: Any) -> SetsailError:
    return SetsailError("request.malformed", what, **facts)


def too_long(limits: Limits) -> SetsailError:
    return SetsailError(
        "request.head_too_large", "the request line and headers are too long", field="headers",
        expected=f"at most {limits.head} bytes",
    )  # fmt: skip


class _Fields:
    """What llhttp tells of the header fields."""

    __slots__ = ("complete", "found")

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _headers(lines: bytes) -> dict[str, str]:
    """The header fields, after a request line of ours: the client's was read already, whatever its method is."""
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(b"POST / HTTP/1.1\r\n" + lines)
    except httptools.HttpParserUpgrade:
        pass  # the end of the head, for llhttp; the header is ignored
    except httptools.HttpParserError as fault:
        raise malformed(f"a header cannot be read: {fault}", field="headers") from None
    if not fields.complete:
        raise malformed("the head has no end", field="headers")
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields.found:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise malformed(f"the header {name} is there twice", field=name)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _bad_line(raw: bytes) -> SetsailError:
    if _LINE_0_9.match(raw):
        return SetsailError("request.version", "a request line without a version is HTTP/0.9", field="version")
    line = raw.partition(b"\r\n")[0]
    return malformed("the request line is not `METHOD target HTTP/1.1`", field="request line", value=line[:80])


def _minor(line: re.Match[bytes]) -> int:
    if line[3] != b"1" or line[4] not in b"01":
        raise SetsailError(
            "request.version", "the version is not one this port speaks", field="version",
            value=f"HTTP/{line[3].decode()}.{line[4].decode()}", expected="HTTP/1.1 or HTTP/1.0",
        )  # fmt: skip
    return int(line[4])


def read_target(target: str, method: str) -> tuple[str, str]:
    """Path, decoded, and query, raw. The authority of an absolute form is not looked at: we serve one site."""
    if target[0] != "/":
        if target == "*" and method == "OPTIONS":
            return "*", ""
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not _HOST.fullmatch(absolute[1]):
            raise malformed("the request target is neither a path nor a URL", field="target", value=target)
        rest = absolute[2] or "/"
        target = rest if rest[0] == "/" else "/" + rest
    path, _, query = target.partition("?")
    if "#" in target:
        raise malformed("the request target has a fragment", field="target", value=target)
    if "%" not in path:
        return path, query
    try:
        if _BAD_ESCAPE.search(path):
            raise malformed("the path has a % that is no escape", field="target", value=path)
        return unquote_to_bytes(path).decode("utf-8"), query
    except UnicodeDecodeError:
        raise malformed("the path is not UTF-8", field="target", value=path) from None


def _check_host(headers: dict[str, str], minor: int) -> None:
    host = headers.get("host")
    if host is None and minor == 1:
        raise malformed("an HTTP/1.1 request needs a Host header", field="host")
    if host and not _HOST.fullmatch(host):
        raise malformed("the Host header is no host", field="host", value=host)


def _length(headers: dict[str, str], minor: int) -> int:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is None:
        if length is None:
            return 0
        if not (length.isascii() and length.isdigit()) or len(length) > 19:
            raise malformed("the Content-Length is no number", field="content-length", value=length)
        return int(length)
    if length is not None:
        raise malformed("a request has Content-Length or Transfer-Encoding, not both", field="transfer-encoding")
    if minor == 0:
        raise malformed("HTTP/1.0 has no Transfer-Encoding", field="transfer-encoding", value=coding)
    codings = [part.strip().lower() for part in coding.split(",")]
    if codings == ["chunked"]:
        return CHUNKED
    if codings[-1] != "chunked" or codings.count("chunked") > 1:
        raise malformed(
            "the last transfer coding of a request is chunked, once", field="transfer-encoding", value=coding
        )
    raise SetsailError(
        "request.unsupported", "the transfer coding is not one we undo", field="transfer-encoding", value=coding,
        expected="chunked",
    )  # fmt: skip


def _stays(headers: dict[str, str], minor: int) -> bool:
    """Whether the connection is for further requests (RFC 9112 §9.3)."""
    connection = headers.get("connection")
    if connection is None:
        return minor == 1
    tokens = {token.strip().lower() for token in connection.split(",")}
    return "close" not in tokens and (minor == 1 or "keep-alive" in tokens)


def _expects(headers: dict[str, str], minor: int) -> bool:
    expect = headers.get("expect")
    if expect is None or minor == 0:
        return False
    if expect.lower() != "100-continue":
        raise SetsailError(
            "request.expectation", "the expectation is unknown", field="expect", value=expect, expected="100-continue"
        )
    return True
