"""What a connection tells of what a client sent."""

from __future__ import annotations

from msgspec import Struct

from setsail.protocols.http2.streams import Stream

__all__ = ["Closed", "Data", "Event", "Opened", "Reset", "Whole"]


class Opened(Struct):
    """A request began; `stream.head` has its fields. Its body is still to come."""

    stream: Stream


class Whole(Struct):
    """A request that came with all of its body: no other event of this stream follows but `Reset`."""

    stream: Stream
    body: bytes


class Data(Struct):
    """A part of a body. `end`: nothing follows (a client's trailers are checked and dropped)."""

    stream: Stream
    data: bytes
    end: bool


class Reset(Struct):
    """The stream is no more; nothing can be answered on it."""

    stream: Stream
    code: int


class Closed(Struct):
    """The connection is no more: all of its streams are dropped. Write what `take_output` has, then close."""

    code: int
    reason: str


Event = Opened | Whole | Data | Reset | Closed
