"""What an ELF file says of itself: the processor it is for, the shared libraries it needs, and what no loader reads.

Enough of the format (System V ABI, gABI chapters 4 and 5) to see, without running anything, whether what goes into an
image will find its libraries there. 64-bit little-endian files only: the processors that images are made for.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["MACHINES", "bare", "machine", "needed"]

MACHINES: Final = {62: "amd64", 183: "arm64"}  # e_machine -> the architecture's name in an image
_LOAD, _DYNAMIC = 1, 2  # types of a segment
_NEEDED, _STRTAB = 1, 5  # tags of the dynamic section


def machine(data: bytes) -> str | None:
    """The architecture, or None for what is no such file."""
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        return None
    return MACHINES.get(struct.unpack_from("<H", data, 18)[0])


def needed(data: bytes) -> list[str]:
    """The names of the libraries that the loader will look for; none for what is no such file, or is damaged."""
    if machine(data) is None:
        return []
    try:
        return _needed(data)
    except (struct.error, ValueError, UnicodeDecodeError):
        return []


def bare(data: bytes) -> bytes:
    """Without what follows the last segment: tables of symbols and for debuggers, which loading does not read.

    What `strip` takes away. The names that other libraries look up are in a segment, and stay. What is no such file, is
    damaged, or has its sections elsewhere than at the end, is returned as it is.
    """
    if machine(data) is None:
        return data
    start, sections = struct.unpack_from("<QQ", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    try:
        ends = [sum(struct.unpack_from("<Q16xQ", data, start + i * size + 8)) for i in range(count)]
    except struct.error:
        return data
    end = max((start + count * size, *ends))
    if not count or not end <= sections < len(data):
        return data
    kept = bytearray(data[:end])
    struct.pack_into("<Q", kept, 40, 0)  # e_shoff, and below it e_shnum and e_shstrndx: there are no sections
    struct.pack_into("<HH", kept, 60, 0, 0)
    return bytes(kept)


def _needed(data: bytes) -> list[str]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads, dynamic = [], None
    for i in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + i * size)
        if kind == _LOAD:
            loads.append((address, offset, length))
        elif kind == _DYNAMIC:
            dynamic = (offset, length)
    if dynamic is None:
        return []
    tags = list(struct.iter_unpack("<qQ", data[dynamic[0] : sum(dynamic) - dynamic[1] % 16]))
    table = next((value for tag, value in tags if tag == _STRTAB), None)
    at = next((o + table - a for a, o, n in loads if table is not None and a <= table < a + n), None)
    if at is None:
        return []
    return [_text(data, at + value) for tag, value in tags if tag == _NEEDED]


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")
