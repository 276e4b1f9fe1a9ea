"""What a server and the process with a person's code say to each other, over a pair of connected sockets.

A message is a head of twelve bytes (sequence number, kind, count, length) and a body of `length` bytes. The body is
either `count` tensors of one fixed struct each, whose values lie in shared memory (`slab.py`), or one text in UTF-8,
mostly JSON. There are no other forms, and nothing in them names code. The parent takes a child's word for nothing: a
head that it does not expect, or a tensor outside the memory, ends the child.

    parent  ORDER text                       CALL tensors           PING
    child   READY text | FAILED text         DONE tensors | FAULT   PONG
"""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Final, NamedTuple

from setsail.tensors import DTYPES

__all__ = [
    "BYTES", "CALL", "CODES", "DONE", "FAILED", "FAULT", "MAX_DIMS", "MAX_TENSORS", "MAX_TEXT", "ORDER", "PING", "PONG",
    "READY", "BrokenError", "Channel", "Message", "Place",
]  # fmt: skip

ORDER, CALL, PING, READY, FAILED, DONE, FAULT, PONG = range(1, 9)
MAX_TEXT: Final = 1 << 20
MAX_TENSORS: Final = 256
MAX_DIMS: Final = 8
CODES: Final = {dtype.name: dtype.onnx for dtype in DTYPES}  # one number a dtype, the same in every version
BYTES: Final = 255  # of a string tensor whose values are bytes
_HEAD: Final = struct.Struct("<IBxHI")
_PLACE: Final = struct.Struct(f"<BB6xQQ{MAX_DIMS}Q")
_TENSORS: Final = (CALL, DONE)
_CHUNK: Final = 8192


class BrokenError(Exception):
    """The other side is gone, or said what cannot be."""


class Place(NamedTuple):
    """A tensor in shared memory. `code` is its dtype's (`CODES`)."""

    code: int
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class Message(NamedTuple):
    number: int
    kind: int
    places: tuple[Place, ...] = ()
    text: bytes = b""


class Channel:
    """One end. One thread at a time speaks and listens; both wait."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._kept = bytearray()
        self._seconds: float | None = None
        end.settimeout(None)

    def send(self, message: Message) -> None:
        """Raises BrokenError when the other side is gone."""
        body = b"".join(map(_packed, message.places)) or message.text
        head = _HEAD.pack(message.number, message.kind, len(message.places), len(body))
        try:
            self._end.sendall(head + body)
        except OSError as fault:
            raise BrokenError(f"sending failed: {fault}") from fault

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message, or None when the other side has closed.

        Args:
            seconds: to wait for the whole of it; None waits for ever. Raises TimeoutError.
        """
        kept, end = self._kept, None if seconds is None else monotonic() + seconds
        self._patience(seconds)
        while len(kept) < (need := _needed(kept)):
            try:
                part = self._end.recv(_CHUNK)
            except TimeoutError:
                raise
            except ConnectionResetError:  # it ended without reading what it was sent
                part = b""
            except OSError as fault:
                raise BrokenError(f"receiving failed: {fault}") from fault
            if not part:
                if kept:
                    raise BrokenError("a message that ends early")
                return None
            kept += part
            if end is not None and len(kept) < _needed(kept):  # the whole has its time, not each piece
                left = end - monotonic()
                if left <= 0:
                    raise TimeoutError
                self._patience(left)
        number, kind, _, _ = _HEAD.unpack_from(kept)
        body = bytes(kept[_HEAD.size : need])
        del kept[:need]
        if kind not in _TENSORS:
            return Message(number, kind, text=body)
        return Message(number, kind, tuple(map(_place, _PLACE.iter_unpack(body))))

    def _patience(self, seconds: float | None) -> None:
        if seconds != self._seconds:
            self._seconds = seconds
            self._end.settimeout(seconds)

    def close(self) -> None:
        self._end.close()


def _needed(kept: bytearray) -> int:
    """Bytes of the message that these begin. Raises BrokenError when they begin none."""
    if len(kept) < _HEAD.size:
        return _HEAD.size
    _, kind, count, length = _HEAD.unpack_from(kept)
    if not ORDER <= kind <= PONG:
        raise BrokenError(f"a message of the unknown kind {kind}")
    if kind in _TENSORS:
        if count > MAX_TENSORS or length != count * _PLACE.size:
            raise BrokenError(f"{count} tensors in {length} bytes")
    elif count or length > MAX_TEXT:
        raise BrokenError(f"a text of {length} bytes")
    return _HEAD.size + int(length)


def _packed(place: Place) -> bytes:
    padding = (0,) * (MAX_DIMS - len(place.shape))
    return _PLACE.pack(place.code, len(place.shape), place.offset, place.nbytes, *place.shape, *padding)


def _place(fields: tuple[int, ...]) -> Place:
    code, dims, offset, nbytes = fields[:4]
    if dims > MAX_DIMS:
        raise BrokenError(f"a tensor of {dims} dimensions")
    return Place(code, fields[4 : 4 + dims], offset, nbytes)
