"""Answers of an HTTP/1.1 server, read from bytes: one request is under way at a time. Pure.

A client that measures must not be the slow one, so a head seen before is not parsed again, and an answer that came in
one piece is cut out of it. Bodies may have a length, be chunked, or end with the connection (RFC 9112 §6).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["Head", "Replies", "Reply"]

_END: Final = b"\r\n\r\n"
_KNOWN: Final = 256  # heads remembered; the date changes them every second
_LONGEST: Final = 1 << 16
_UNTIL_CLOSE: Final = -1
_CHUNKED: Final = -2


class Head(Struct, frozen=True):
    """Of one answer. `length` is the body's, or one of two negative marks; `error` is setsail's code of a fault."""

    status: int
    length: int
    keep: bool
    error: str
    headers: dict[str, str]


class Reply(Struct, frozen=True):
    head: Head
    body: bytes

    @property
    def code(self) -> str:
        """ "200", or with what setsail says: "429 model.busy"."""
        return f"{self.head.status} {self.head.error}".rstrip()


class Replies:
    """The reader of one connection. `feed` returns an answer when it is whole; ValueError: this is no HTTP."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self._parts = bytearray()
        self._head: Head | None = None
        self._chunks = bytearray()

    def feed(self, data: bytes) -> Reply | None:
        if not self._parts and self._head is None:
            end = data.find(_END)
            if end >= 0:
                head = self._heads.get(data[:end]) or self._remember(data[:end])
                if head.length == len(data) - end - 4:
                    return Reply(head, data[end + 4 :])
        self._parts += data
        return self._read()

    def eof(self) -> Reply | None:
        """The connection has ended: the answer, where that is how its end is told."""
        head, self._head = self._head, None
        if head is None or head.length != _UNTIL_CLOSE:
            return None
        return Reply(head, bytes(self._parts))

    def _read(self) -> Reply | None:
        while self._head is None:
            end = self._parts.find(_END)
            if end < 0:
                if len(self._parts) > _LONGEST:
                    raise ValueError("the head of the answer does not end")
                return None
            raw = bytes(self._parts[:end])
            head = self._heads.get(raw) or self._remember(raw)
            del self._parts[: end + 4]
            if head.status >= 200:  # others come before the answer (RFC 9110 §15.2)
                self._head = head
        length = self._head.length
        if length == _CHUNKED:
            return self._whole(bytes(self._chunks)) if self._dechunk() else None
        if length == _UNTIL_CLOSE or len(self._parts) < length:
            return None
        if len(self._parts) > length:
            raise ValueError("bytes follow the answer")
        return self._whole(bytes(self._parts))

    def _whole(self, body: bytes) -> Reply:
        assert self._head is not None
        reply = Reply(self._head, body)
        self._head = None
        self._parts.clear()
        self._chunks.clear()
        return reply

    def _dechunk(self) -> bool:
        """Move whole chunks over. Returns whether the last one was there, with its trailer."""
        while True:
            line = self._parts.find(b"\r\n")
            if line < 0:
                return False
            size = int(self._parts[:line].partition(b";")[0], 16)
            if size < 0:
                raise ValueError("a chunk of a negative size")
            if size == 0:
                end = self._parts.find(_END, line)
                return end >= 0
            if len(self._parts) < line + 2 + size + 2:
                return False
            self._chunks += self._parts[line + 2 : line + 2 + size]
            del self._parts[: line + 2 + size + 2]

    def _remember(self, raw: bytes) -> Head:
        if len(self._heads) >= _KNOWN:
            self._heads.clear()
        head = self._heads[raw] = _parsed(raw)
        return head


def _parsed(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = int(rest[:3])
    if version not in ("HTTP/1.1", "HTTP/1.0") or not 100 <= status <= 999:
        raise ValueError(f"no answer of HTTP/1.1: {first[:60]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"no header: {line[:60]!r}")
        headers[name.lower()] = value.strip(" \t")
    told = headers.get("connection", "").lower()
    keep = "close" not in told if version == "HTTP/1.1" else "keep-alive" in told
    length = _length(status, headers)
    return Head(status, length, keep and length != _UNTIL_CLOSE, headers.get("x-setsail-error", ""), headers)


def _length(status: int, headers: dict[str, str]) -> int:
    if status < 200 or status in (204, 304):
        return 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _CHUNKED
    stated = headers.get("content-length")
    if stated is None:
        return _UNTIL_CLOSE
    if not (stated.isascii() and stated.isdigit()):
        raise ValueError(f"no Content-Length: {stated[:60]!r}")
    return int(stated)
