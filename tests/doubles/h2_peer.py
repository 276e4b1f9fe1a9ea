"""A client of HTTP/2 that says whatever it is told to, frame by frame, and reads what comes back."""

from __future__ import annotations

from typing import Any, NamedTuple

from hpack import Decoder, Encoder

from setsail.protocols.budget import Budget
from setsail.protocols.http2 import frames
from setsail.protocols.http2.connection import Connection
from setsail.protocols.http2.events import Data, Event, Opened, Reset, Whole
from setsail.protocols.http2.fields import encode
from setsail.protocols.http2.streams import Limits

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]
POST = [(":method", "POST"), *GET[1:]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == frames.GOAWAY else self.payload, "big")


def split(octets: bytes) -> list[Frame]:
    """Frames of a stream of octets, which has to end with a frame."""
    found, at = [], 0
    while at < len(octets):
        word, flags, stream = frames.HEAD.unpack_from(octets, at)
        at += 9 + (word >> 8)
        assert at <= len(octets), "half a frame"
        found.append(Frame(word & 0xFF, flags, stream, octets[at - (word >> 8) : at]))
    return found


class Peer:
    """A client and the server's connection that it talks to; every request is answered with "ok" unless told not to.

    Attributes:
        got: frames from the server so far.
        events: what the connection told.
        bodies: requests' bodies, by stream, once whole.
    """

    def __init__(
        self, limits: Limits | None = None, *, answers: bool = True, greet: bool = True, body: bytes = b"ok"
    ) -> None:
        self.budget = Budget(1 << 30)
        self.connection = Connection(limits or Limits(), self.budget)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.answers, self.body = answers, body
        self.got: list[Frame] = []
        self.events: list[Event] = []
        self.bodies: dict[int, bytes] = {}
        self._parts: dict[int, bytes] = {}
        if greet:
            self.send(frames.PREFACE + frames.settings({}))
            self.got.clear()

    def send(self, octets: bytes, step: int = 0) -> list[Frame]:
        """Frames that the server answers these octets with, sent in portions of `step`."""
        before = len(self.got)
        for start in range(0, len(octets), step or max(1, len(octets))):
            for event in self.connection.receive(octets[start : start + (step or len(octets))]):
                self.events.append(event)
                self._react(event)
        self.read()
        return self.got[before:]

    def read(self) -> list[Frame]:
        found = split(self.connection.take_output())
        self.got += found
        return found

    def _react(self, event: Event) -> None:
        if isinstance(event, Whole):
            self._whole(event.stream, event.body)
        elif isinstance(event, Opened):
            self._parts[event.stream.number] = b""
        elif isinstance(event, Data):
            self._parts[event.stream.number] += event.data
            self.connection.consumed(event.stream, len(event.data))
            if event.end:
                self._whole(event.stream, self._parts.pop(event.stream.number))
        elif isinstance(event, Reset):
            self._parts.pop(event.stream.number, None)

    def _whole(self, stream: Any, body: bytes) -> None:
        self.bodies[stream.number] = body
        if self.answers:
            self.connection.headers(stream, encode([(":status", "200")]))
            self.connection.data(stream, self.body, True)

    # -- frames to send

    def block(self, fields: list[tuple[str, str]]) -> bytes:
        return self.encoder.encode(fields)

    def headers(
        self, stream: int, fields: list[tuple[str, str]] | None = None, *, end: bool = True, flags: int = 4
    ) -> bytes:
        flags |= frames.END_STREAM if end else 0
        return frames.frame(frames.HEADERS, flags, stream, self.block(GET if fields is None else fields))

    def data(self, stream: int, octets: bytes, *, end: bool = True) -> bytes:
        return frames.frame(frames.DATA, int(end), stream, octets)

    # -- what came back

    def answered(self, stream: int) -> bytes | None:
        """The body of an answer, None when it is not whole."""
        mine = [f for f in self.got if f.stream == stream]
        if not mine or not any(f.flags & 1 for f in mine if f.kind in (frames.DATA, frames.HEADERS)):
            return None
        return b"".join(f.payload for f in mine if f.kind == frames.DATA)

    def fault(self) -> tuple[str, int] | None:
        """("connection", code) or ("stream", code), as the server said it first."""
        for found in self.got:
            if found.kind == frames.GOAWAY:
                return "connection", found.code
            if found.kind == frames.RST_STREAM and found.code:
                return "stream", found.code
        return None
