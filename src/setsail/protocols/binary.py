"""Tensors as bytes: the encoding of Open Inference Protocol's binary tensor extension and of gRPC's raw contents.

Little-endian, row-major, unpadded; BOOL is one byte; a BYTES element is a uint32 length and then its bytes.
A missing text (NULL) has no encoding there and becomes an empty one.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import Final

import numpy as np

from setsail.errors import SetsailError
from setsail.tensors import NULL, Array, DType

__all__ = ["narrowed", "pack", "rows", "unpack"]

_LENGTH: Final = struct.Struct("<I")
_LITTLE: Final = sys.byteorder == "little"


def pack(array: Array) -> bytes:
    """An array of any of our dtypes as bytes."""
    if array.dtype.kind in "OUST":
        parts: list[bytes] = []
        for value in array.ravel().tolist():
            text = value if isinstance(value, bytes) else b"" if value == NULL else str(value).encode()
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    if not _LITTLE or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return array.tobytes()


def rows(array: Array) -> list[bytes]:
    """The bytes of every row of numbers."""
    raw = pack(array)
    size = len(raw) // max(1, len(array))
    return [raw[i * size : i * size + size] for i in range(len(array))]


def narrowed(name: str, dtype: DType, array: Array, declared: str) -> Array:
    """Values that travelled as those of a wider dtype. `declared`: what a client calls theirs. Raises `input.range`."""
    if dtype.kind == "string" or array.dtype == dtype.numpy:
        return array
    cast = array.astype(dtype.numpy)
    if not np.array_equal(cast, array):
        raise SetsailError(
            "input.range", f"input {name!r} is declared {declared} and has values outside it", field=name,
            value=array[cast != array][0].item(), expected=f"values of {declared}",
        )  # fmt: skip
    return cast


def unpack(name: str, dtype: DType, shape: tuple[int, ...], data: memoryview) -> Array:
    """Bytes as an array of `shape`; text as an object array of bytes (the signature check decodes it).

    The array is a view of `data` where alignment allows.

    Raises:
        SetsailError: `request.binary` when the bytes are not exactly the tensor's.
    """
    count = math.prod(shape)
    if dtype.kind == "string":
        return _unpack_texts(name, count, data).reshape(shape)
    if len(data) != count * dtype.size:
        raise SetsailError(
            "request.binary",
            f"input {name!r} of shape {list(shape)} has {len(data)} bytes",
            field=name,
            value=len(data),
            expected=f"{count * dtype.size} ({count} values of {dtype.size})",
        )
    if dtype.kind == "bool":
        truth: Array = np.frombuffer(data, np.uint8) != 0
        return truth.reshape(shape)
    if not count:
        return np.zeros(shape, dtype.numpy)
    array = np.ndarray(shape, dtype.numpy if _LITTLE else dtype.numpy.newbyteorder("<"), data)
    if not _LITTLE:
        return array.astype(dtype.numpy)
    return array if array.flags.aligned else array.copy()


def _unpack_texts(name: str, count: int, data: memoryview) -> Array:
    values: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0] if start <= end else end + 1
        if at > end:
            raise SetsailError(
                "request.binary",
                f"input {name!r}, element {len(values)}, ends after its {end} bytes",
                field=name,
                expected="a uint32 length, then that many bytes, for each element",
            )
        values.append(bytes(data[start:at]))
    if len(values) != count:
        raise SetsailError(
            "request.binary",
            f"input {name!r} has {len(values)} elements for its shape",
            field=name,
            value=len(values),
            expected=str(count),
        )
    array = np.empty(count, dtype=object)
    array[:] = values
    return array
