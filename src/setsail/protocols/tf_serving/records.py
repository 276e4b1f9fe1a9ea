"""TFRecord files: records one after the other, each with its length and two checksums.

    uint64 length · uint32 masked CRC-32C of the length · the record · uint32 masked CRC-32C of the record

Little-endian; a mask rotates the checksum by 15 bits and adds a constant, so that checksums of checksums differ
(tensorflow/core/lib/io/record_writer.h). Only the plain form is read, not the compressed ones, as the warm-up of
TensorFlow Serving does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Final

from setsail.errors import SetsailError

__all__ = ["masked", "records"]

_HEAD: Final = struct.Struct("<QI")
_SUM: Final = struct.Struct("<I")
_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reversed
_MASK: Final = 0xA282EAD8


def records(data: bytes | memoryview, name: str) -> Iterator[bytes]:
    """The records of a file, each proven by its checksums.

    Args:
        name: of the file, for faults.

    Raises:
        SetsailError: `repository.config` for a file that is cut off or damaged.
    """
    view, at, number = memoryview(data), 0, 0
    while at < len(view):
        number += 1
        if at + _HEAD.size > len(view):
            raise _damaged(name, number, "is cut off")
        length, proof = _HEAD.unpack_from(view, at)
        if masked(bytes(view[at : at + 8])) != proof:
            raise _damaged(name, number, "has a length with a wrong checksum")
        at += _HEAD.size
        if length + _SUM.size > len(view) - at:
            raise _damaged(name, number, "is cut off")
        record = bytes(view[at : at + length])
        if masked(record) != _SUM.unpack_from(view, at + length)[0]:
            raise _damaged(name, number, "has a wrong checksum")
        yield record
        at += length + _SUM.size


def masked(data: bytes) -> int:
    """The checksum as it is written."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


def _damaged(name: str, number: int, what: str) -> SetsailError:
    return SetsailError("repository.config", f"record {number} of {name} {what}", field=name,
                        expected="a TFRecord file without compression", todo="write the file again")  # fmt: skip
