"""The body of a chunked request (RFC 9112 §7.1): framed bytes to the bytes inside.

llhttp takes the framing off, strictly. It does not tell where a message ended and would read on into the next request;
but a chunked body ends in an empty line, so it is handed over in pieces that end at one: the end is known without
knowing the framing.
"""

from __future__ import annotations

from typing import Final

import httptools

__all__ = ["Chunks"]

_END: Final = b"\r\n\r\n"
_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Inside:
    """What llhttp finds. Not `Chunks` itself, which holds the parser: a ring would keep a body until a collection."""

    __slots__ = ("body", "complete")

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


class Chunks:
    """One body. Trailers are read and dropped (§7.1.2), chunk extensions ignored (§7.1.1).

    Attributes:
        body: what has come so far; `complete` when that is all.
        framing, quiet: bytes that were no body, in all and since the last one that was.
        fault: what llhttp could not read.
    """

    __slots__ = ("_inside", "_parser", "_tail", "body", "fault", "framing", "quiet")

    def __init__(self) -> None:
        self._inside = _Inside()
        self._parser = httptools.HttpRequestParser(self._inside)
        self._parser.feed_data(_HEAD)
        self._tail = b""  # the last bytes seen, where the empty line may have begun
        self.body = self._inside.body
        self.framing = self.quiet = 0
        self.fault: httptools.HttpParserError | None = None

    @property
    def complete(self) -> bool:
        return self._inside.complete

    def feed(self, data: bytes) -> int:
        """Read up to the end of the body; returns how many bytes that were."""
        size, start, inside = len(self.body), 0, self._inside
        straddle = (self._tail + data[:3]).find(_END)
        end = straddle + 4 - len(self._tail) if straddle >= 0 else 0
        try:
            while start < len(data) and not inside.complete:
                if end <= start:
                    found = data.find(_END, start)
                    end = found + 4 if found >= 0 else len(data)
                self._parser.feed_data(data[start:end])
                start = end
        except httptools.HttpParserError as fault:
            self.fault = fault
        came = len(self.body) - size
        self.framing += start - came
        self.quiet = 0 if came else self.quiet + start
        self._tail = (self._tail + data[:start])[-3:]
        return start
