"""Files that pose as CatBoost models: a `.cbm` is four letters, a length and a flatbuffer, which C++ reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

__all__ = ["ATTACKS"]

_HEAD: Final = 8  # "CBM1" and the length of what follows


def _cut(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _short(good: bytes) -> bytes:
    return b"CBM1"


def _claims_everything(good: bytes) -> bytes:
    """Four gigabytes are said to follow."""
    return b"CBM1" + struct.pack("<I", 0xFFFFFFFF) + good[_HEAD:]


def _claims_nothing(good: bytes) -> bytes:
    return b"CBM1" + struct.pack("<I", 0) + good[_HEAD:]


def _root_outside(good: bytes) -> bytes:
    """The flatbuffer's first offset leads beyond its end."""
    return good[:_HEAD] + struct.pack("<I", 0x7FFFFFF0) + good[_HEAD + 4 :]


def _table_backwards(good: bytes) -> bytes:
    """The root table's own table lies in front of the buffer."""
    body = bytearray(good[_HEAD:])
    (root,) = struct.unpack_from("<I", body, 0)
    struct.pack_into("<i", body, root, 0x7FFFFFFF)
    return good[:_HEAD] + bytes(body)


def _long_vectors(good: bytes) -> bytes:
    """Every aligned word that may be a vector's length says two thousand million."""
    body = bytearray(good[_HEAD:])
    for place in range(64, min(len(body) - 4, 4096), 4):
        (word,) = struct.unpack_from("<I", body, place)
        if 0 < word < 64:
            struct.pack_into("<I", body, place, 0x7FFFFFF0)
    return good[:_HEAD] + bytes(body)


def _noise(good: bytes) -> bytes:
    return b"CBM1" + struct.pack("<I", 4096) + np.random.default_rng(1).bytes(4096)


def _pickle_behind(good: bytes) -> bytes:
    """A pickle that would write a file, in the place of the model."""
    code = b"cposix\nsystem\n(S'touch canary'\ntR."
    return b"CBM1" + struct.pack("<I", len(code)) + code


# name -> the code it is refused with, and the file, made of an honest one
ATTACKS: Final[Mapping[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "cut off": ("source.damaged", _cut),
    "four letters": ("source.damaged", _short),
    "claims four gigabytes": ("child.failed", _claims_everything),
    "claims nothing": ("source.damaged", _claims_nothing),
    "root outside": ("source.damaged", _root_outside),
    "table before the buffer": ("source.damaged", _table_backwards),
    "vectors without end": ("source.damaged", _long_vectors),
    "noise": ("source.damaged", _noise),
    "a pickle inside": ("source.damaged", _pickle_behind),
}
