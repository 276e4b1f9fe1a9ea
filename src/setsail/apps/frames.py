"""What a server and the process with a person's function say to each other, over a pair of connected sockets.

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
import time
from typing import Final, NamedTuple

from setsail.tensors import DTYPES

__all__ = [
    "CALL", "CODES", "DONE", "FAILED", "FAULT", "MAX_DIMS", "MAX_TENSORS", "MAX_TEXT", "ORDER", "PING", "PONG", "READY",
    "BrokenError", "Channel", "Message", "Place",
]  # fmt: skip

ORDER, CALL, PING, READY, FAILED, DONE, FAULT, PONG = range(1, 9)
MAX_TEXT: Final = 1 << 20
MAX_TENSORS: Final = 256
MAX_DIMS: Final = 8
CODES: Final = {dtype.name: dtype.onnx for dtype in DTYPES}  # one number a dtype, the same in every version
_HEAD: Final = struct.Struct("<IBxHI")
_PLACE: Final = struct.Struct(f"<BB6xQQ{MAX_DIMS}Q")
_TENSORS: Final = (CALL, DONE)


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
        end = None if seconds is None else time.monotonic() + seconds
        head = self._exactly(_HEAD.size, end)
        if head is None:
            return None
        number, kind, count, length = _HEAD.unpack(head)
        if not ORDER <= kind <= PONG:
            raise BrokenError(f"a message of the unknown kind {kind}")
        if kind in _TENSORS:
            if count > MAX_TENSORS or length != count * _PLACE.size:
                raise BrokenError(f"{count} tensors in {length} bytes")
        elif count or length > MAX_TEXT:
            raise BrokenError(f"a text of {length} bytes")
        body = self._exactly(length, end) if length else b""
        if body is None:
            raise BrokenError("a message that ends early")
        if kind not in _TENSORS:
            return Message(number, kind, text=body)
        return Message(number, kind, tuple(map(_place, _PLACE.iter_unpack(body))))

    def _exactly(self, size: int, end: float | None) -> bytes | None:
        """So many bytes; None when there is not one more."""
        parts: list[bytes] = []
        left = size
        while left:
            try:
                if end is not None:
                    self._end.settimeout(max(1e-4, end - time.monotonic()))
                part = self._end.recv(left)
            except TimeoutError:
                raise
            except OSError as fault:
                raise BrokenError(f"receiving failed: {fault}") from fault
            if not part:
                if parts:
                    raise BrokenError("a message that ends early")
                return None
            if len(part) == size:
                return part
            parts.append(part)
            left -= len(part)
            if end is not None and time.monotonic() > end:
                raise TimeoutError
        return b"".join(parts)

    def close(self) -> None:
        self._end.close()


def _packed(place: Place) -> bytes:
    padding = (0,) * (MAX_DIMS - len(place.shape))
    return _PLACE.pack(place.code, len(place.shape), place.offset, place.nbytes, *place.shape, *padding)


def _place(fields: tuple[int, ...]) -> Place:
    code, dims, offset, nbytes = fields[:4]
    if dims > MAX_DIMS:
        raise BrokenError(f"a tensor of {dims} dimensions")
    return Place(code, fields[4 : 4 + dims], offset, nbytes)
