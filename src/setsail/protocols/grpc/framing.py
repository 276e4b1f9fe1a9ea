"""gRPC's own frames: length-prefixed messages in a stream of bytes, cut anywhere.

A message is five octets and its payload: a flag (1: compressed by the call's `grpc-encoding`) and the payload's length.
"""

from __future__ import annotations

import sys
import zlib
from struct import Struct as Packed
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.compression import decompress

__all__ = ["ENCODINGS", "PREFIX", "Framing", "compressed", "prefix", "unpacked"]

ENCODINGS: Final = ("identity", "deflate", "gzip")
PREFIX: Final = 5
_PREFIX: Final = Packed(">BI")
_COPIED: Final = 64 << 10  # larger messages are views of what was read
_GZIP: Final = zlib.MAX_WBITS | 16
_LEVEL: Final = 1


class Framing:
    """Finds the messages of one direction of one call.

    Attributes:
        have: octets that were fed and are not yet part of a message that was given out.
    """

    __slots__ = ("_limit", "_need", "_parts", "have")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._need = PREFIX
        self.have = 0

    def feed(self, data: bytes, most: int = sys.maxsize) -> list[tuple[int, bytes | memoryview]]:
        """The messages that are complete now, each with its flag.

        Args:
            most: messages to give out; others wait for the next call.

        Raises:
            SetsailError: `request.malformed` for a flag that is neither 0 nor 1; `request.too_large` for a length over
                the limit, before any of the message is kept.
        """
        self._parts.append(data)
        self.have += len(data)
        found: list[tuple[int, bytes | memoryview]] = []
        if self.have < self._need or most <= 0:
            return found
        read = b"".join(self._parts) if len(self._parts) > 1 else data
        at, end, need = 0, len(read), PREFIX
        while end - at >= PREFIX and len(found) < most:
            flag, size = _PREFIX.unpack_from(read, at)
            self.check(flag, size)
            stop = at + PREFIX + size
            if stop > end:
                need = stop - at
                break
            begin = at + PREFIX
            found.append((flag, read[begin:stop] if size <= _COPIED else memoryview(read)[begin:stop]))
            at = stop
        self._parts = [read[at:]] if at < end else []
        self.have, self._need = end - at, need
        return found

    def check(self, flag: int, size: int) -> None:
        if flag > 1:
            raise SetsailError(
                "request.malformed", "a gRPC message begins with no flag", field="message", value=flag,
                expected="0 or 1",
            )  # fmt: skip
        if size > self._limit:
            raise SetsailError(
                "request.too_large", "the message is larger than the limit", field="message", value=f"{size} bytes",
                expected=f"at most {self._limit} bytes",
            )  # fmt: skip


def prefix(size: int, flag: int = 0) -> bytes:
    return _PREFIX.pack(flag, size)


def unpacked(message: bytes | memoryview, encoding: str, limit: int) -> bytes:
    """A message whose flag says compressed. Raises as `decompress`, and `request.malformed` without an encoding."""
    if encoding == "identity":
        raise SetsailError(
            "request.malformed", "a compressed message in a call without grpc-encoding", field="grpc-encoding",
            expected="gzip or deflate",
        )  # fmt: skip
    return decompress(bytes(message), encoding, limit)


def compressed(message: bytes) -> bytes:
    """A message in gzip, by the fastest level: the client waits for it."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return deflater.compress(message) + deflater.flush()
