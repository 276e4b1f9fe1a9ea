"""The frame rules of HTTP/2 (RFC 9113), once: what a server takes, in which state of a stream, and its answer if not.

A frame is nine octets and a payload (§4.1): length (24 bits), type (8), flags (8), a reserved bit and the stream (31).
Lengths and types are read and written together, as one 32-bit word.

`RULES` is what `connection.py` asks about every frame; its short way for the commonest two frames is only taken where
the table says OK (`tests/protocols/http2/test_frames.py` holds them against each other). The states are the server's:

    IDLE   no frame of it yet, and no later stream has begun   OPEN   the client is still sending
    HALF   the client has ended its side, we answer            DONE   both sides have ended, or the client reset it
    RESET  we reset it: what the client sent before it knew is let pass, and only counted
"""

from __future__ import annotations

from struct import Struct as Packed
from typing import Final, NamedTuple

__all__ = [
    "CODES", "CONTINUATION", "DATA", "DONE", "END_HEADERS", "END_STREAM", "FIRST_FRAME", "FIRST_TABLE",
    "FIRST_WINDOW", "HALF", "HEAD", "HEADERS", "IDLE", "MAX_STREAM", "MAX_WINDOW", "OPEN", "PREFACE", "RESET",
    "RULES", "STREAM", "ZERO", "Rule", "Verdict", "frame", "goaway", "ping", "reset", "settings", "window_update",
]  # fmt: skip

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # §3.4
MAX_STREAM: Final = 0x7FFFFFFF
MAX_WINDOW: Final = 0x7FFFFFFF  # §6.9.1
FIRST_WINDOW: Final = 65_535  # §6.9.2: before any SETTINGS
FIRST_FRAME: Final = 16_384  # §4.2: the largest payload that needs no permission
FIRST_TABLE: Final = 4096  # §6.5.2: octets of HPACK's dynamic table
MOST_FRAME: Final = 16_777_215
HEAD: Final = Packed(">IBI")  # length and type, flags, stream

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# §7, by number
CODES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED,
) = range(14)  # fmt: skip

# §6.5.2: identifier -> (name, lowest, highest, error outside); others are ignored
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
SETTING_RANGES: Final = {
    HEADER_TABLE_SIZE: ("HEADER_TABLE_SIZE", 0, 0xFFFFFFFF, PROTOCOL_ERROR),
    ENABLE_PUSH: ("ENABLE_PUSH", 0, 1, PROTOCOL_ERROR),
    MAX_CONCURRENT_STREAMS: ("MAX_CONCURRENT_STREAMS", 0, 0xFFFFFFFF, PROTOCOL_ERROR),
    INITIAL_WINDOW_SIZE: ("INITIAL_WINDOW_SIZE", 0, MAX_WINDOW, FLOW_CONTROL_ERROR),
    MAX_FRAME_SIZE: ("MAX_FRAME_SIZE", FIRST_FRAME, MOST_FRAME, PROTOCOL_ERROR),
    MAX_HEADER_LIST_SIZE: ("MAX_HEADER_LIST_SIZE", 0, 0xFFFFFFFF, PROTOCOL_ERROR),
}

IDLE, OPEN, HALF, DONE, RESET = range(5)  # states of a stream, columns of the table
ANY, ZERO, STREAM = range(3)  # which stream identifiers a frame may have


class Verdict(NamedTuple):
    """What to do with a frame: take it, let it pass, or answer with an error of the stream or of the connection."""

    scope: str  # "ok", "ignore", "stream" or "connection"
    code: int = NO_ERROR
    section: str = ""


class Rule(NamedTuple):
    """One row: `least` and `most` octets of payload, a multiple of `step`; `size` is the verdict on other sizes."""

    name: str
    section: str
    where: int
    least: int
    most: int
    step: int
    size: Verdict
    states: tuple[Verdict, Verdict, Verdict, Verdict, Verdict]  # IDLE, OPEN, HALF, DONE, RESET


_OK = Verdict("ok")
_PASS = Verdict("ignore")
_EARLY = Verdict("connection", PROTOCOL_ERROR, "5.1")  # a frame for a stream that has not begun
_ENDED = Verdict("stream", STREAM_CLOSED, "5.1")  # half-closed (remote)
_GONE = Verdict("connection", STREAM_CLOSED, "5.1")  # after END_STREAM or RST_STREAM of the client's own
_NEVER = Verdict("connection", PROTOCOL_ERROR, "8.4")  # clients do not push
_STRAY = Verdict("connection", PROTOCOL_ERROR, "6.10")  # CONTINUATION without HEADERS before it
_SIZE = Verdict("connection", FRAME_SIZE_ERROR, "4.2")
_SIZE_OF_STREAM = Verdict("stream", FRAME_SIZE_ERROR, "6.3")
_CONN = (_OK, _OK, _OK, _OK, _OK)
_LOST = (_STRAY, _STRAY, _STRAY, _STRAY, _STRAY)
_NONE = (_NEVER, _NEVER, _NEVER, _NEVER, _NEVER)

# fmt: off
RULES: Final[tuple[Rule, ...]] = (
    #    name             section where   least most        step size             IDLE    OPEN  HALF    DONE    RESET
    Rule("DATA",          "6.1",  STREAM, 0,    MOST_FRAME, 1,   _SIZE,           (_EARLY, _OK, _ENDED, _ENDED, _PASS)),
    Rule("HEADERS",       "6.2",  STREAM, 0,    MOST_FRAME, 1,   _SIZE,           (_OK,    _OK, _ENDED, _GONE,  _PASS)),
    Rule("PRIORITY",      "6.3",  STREAM, 5,    5,          1,   _SIZE_OF_STREAM, (_PASS, _PASS, _PASS, _PASS,  _PASS)),
    Rule("RST_STREAM",    "6.4",  STREAM, 4,    4,          1,   _SIZE,           (_EARLY, _OK, _OK,    _PASS,  _PASS)),
    Rule("SETTINGS",      "6.5",  ZERO,   0,    MOST_FRAME, 6,   _SIZE,           _CONN),
    Rule("PUSH_PROMISE",  "6.6",  STREAM, 4,    MOST_FRAME, 1,   _SIZE,           _NONE),
    Rule("PING",          "6.7",  ZERO,   8,    8,          1,   _SIZE,           _CONN),
    Rule("GOAWAY",        "6.8",  ZERO,   8,    MOST_FRAME, 1,   _SIZE,           _CONN),
    Rule("WINDOW_UPDATE", "6.9",  ANY,    4,    4,          1,   _SIZE,           (_EARLY, _OK, _OK,    _PASS,  _PASS)),
    Rule("CONTINUATION",  "6.10", STREAM, 0,    MOST_FRAME, 1,   _SIZE,           _LOST),
)
# fmt: on

_U32 = Packed(">I")
_SETTING = Packed(">HI")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int] | None) -> bytes:
    """SETTINGS; None acknowledges the client's."""
    if values is None:
        return frame(SETTINGS, ACK, 0)
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def ping(payload: bytes, ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last: int, code: int, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _U32.pack(last) + _U32.pack(code) + reason.encode())


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _U32.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _U32.pack(increment))


def number(payload: bytes, at: int = 0) -> int:
    """A 31-bit number; the reserved bit is ignored (§4.1, §6.9)."""
    value: int = _U32.unpack_from(payload, at)[0]
    return value & MAX_STREAM


def code_of(payload: bytes, at: int = 0) -> int:
    """An error code: all 32 bits (§7: unknown ones are no error)."""
    value: int = _U32.unpack_from(payload, at)[0]
    return value


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    return list(_SETTING.iter_unpack(payload))
