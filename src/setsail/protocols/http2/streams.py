"""What one stream of a connection holds, the limits of a connection, and what a client may spend on nothing.

A client can make a server work without asking for anything: open and reset (CVE-2023-44487), make the server reset
(CVE-2025-8671), ping, change settings, send frames that carry nothing (CVE-2019-9512 and its siblings). None of this is
an error by itself, so each kind has an allowance. The connection knows no clock: whoever has one calls `refresh` once a
second, and a client that spends more than the allowance in between is told to calm down and disconnected.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from msgspec import Struct

from setsail.protocols.http2.fields import Head
from setsail.protocols.http2.frames import FIRST_FRAME, FIRST_WINDOW

__all__ = ["NOTHING", "Allowances", "Limits", "Piece", "Stream"]


class Limits(Struct, frozen=True):
    """Of one connection. The windows are what a client may send ahead of being read."""

    streams: int = 256  # open at once
    window: int = 1 << 20  # octets of one stream
    connection_window: int = 4 << 20
    header_block: int = 65536  # octets of a block, packed and unpacked
    headers: int = 100  # fields of one request
    message: int = 64 << 20  # octets of a body or a gRPC message, packed and unpacked
    continuations: int = 32  # frames of one block
    # what a client may spend between two calls of `refresh`
    resets: int = 2000
    pings: int = 2000
    settings: int = 100
    idle_frames: int = 10_000  # frames that do nothing

    def __post_init__(self) -> None:
        if self.window < FIRST_WINDOW or self.connection_window < FIRST_WINDOW or self.header_block < FIRST_FRAME // 4:
            raise ValueError(f"windows begin at {FIRST_WINDOW} octets, header blocks at {FIRST_FRAME // 4}")


class Allowances:
    """What is left of each allowance."""

    __slots__ = ("_limits", "idle_frames", "pings", "resets", "settings")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.refresh()

    def refresh(self) -> None:
        self.resets = self._limits.resets
        self.pings = self._limits.pings
        self.settings = self._limits.settings
        self.idle_frames = self._limits.idle_frames


class Stream:
    """A request and its answer. Made by the connection; `user` is for whoever answers.

    Attributes:
        number: the stream identifier.
        half: the client has ended its side.
        window: octets of DATA that we may send.
        room: octets of DATA that the client may send.
        owed: octets that were consumed and not yet given back to the client's window.
        received: octets of body so far.
        place: of the event that told of it, among all that the connection ever told; -1 once others have followed.
        queue: what waits for a window, in order: pieces of DATA, and a header block (at the end); None when nothing.
        queued: octets of DATA in the queue.
    """

    __slots__ = ("half", "head", "number", "owed", "place", "queue", "queued", "received", "room", "user", "window")

    def __init__(self, number: int, head: Head, half: bool, window: int, room: int, place: int) -> None:
        self.number = number
        self.head = head
        self.half = half
        self.window = window
        self.room = room
        self.place = place
        self.owed = 0
        self.received = 0
        self.queue: deque[Piece] | None = None
        self.queued = 0
        self.user: Any = None


class Piece:
    """A part of an answer that waits: DATA not yet sent, or a block of trailers (`trailers` set, nothing left)."""

    __slots__ = ("end", "rest", "trailers")

    def __init__(self, rest: memoryview, end: bool, trailers: bytes | None = None) -> None:
        self.rest = rest
        self.end = end
        self.trailers = trailers


NOTHING: Final = memoryview(b"")
