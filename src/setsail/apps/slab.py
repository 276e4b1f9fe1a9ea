"""Shared memory for tensors: one file without a name, mapped by both sides.

Its size is fixed when it is made and sealed: nobody can shorten it under the other's feet (which would kill whoever
reads), nor let it grow. Pages exist from their first use on, so a large one costs nothing; those of an unusually large
call are given back after it. The lower half is the parent's to write, the upper half the child's.

The child may write anything at any time, so the parent copies values out first and looks at the copy.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import numpy as np

from setsail.apps.frames import BYTES, CODES, MAX_DIMS, BrokenError, Place
from setsail.tensors import BY_ONNX, Array, DType, dtype_of

__all__ = ["SIZE", "NoRoomError", "Slab"]

SIZE: Final = 1 << 30
_ALIGN: Final = 64
_KEPT: Final = 16 << 20  # bytes of each half that stay for the next call
_MUCH: Final = 4 * _KEPT


class NoRoomError(Exception):
    """The tensors do not fit. `args`: bytes there were room for."""


class Slab:
    """One mapping. `make` in the parent, `of` a descriptor in the child."""

    def __init__(self, handle: int, size: int) -> None:
        self.handle, self.size = handle, size
        self._memory = mmap.mmap(handle, size)
        self._used = 0

    @classmethod
    def make(cls, size: int = SIZE) -> Slab:
        if hasattr(os, "memfd_create"):
            import fcntl

            handle = os.memfd_create("setsail-app", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(handle, size)
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        else:  # macOS: a file that has no name any more; it cannot be sealed there
            handle, path = tempfile.mkstemp(prefix="setsail-app-")
            os.unlink(path)
            os.ftruncate(handle, size)
        return cls(handle, size)

    @property
    def half(self) -> int:
        return self.size // 2

    def write(self, arrays: Iterable[Array], *, upper: bool = False) -> tuple[Place, ...]:
        """Put arrays one after the other into a half. Raises NoRoomError, or UnicodeEncodeError for no Unicode."""
        begin = self.half if upper else 0
        end = begin + self.half
        at, places = begin, []
        for array in arrays:
            dtype = dtype_of(array)
            if dtype is None:
                raise TypeError(f"no dtype of ours: {array.dtype}")
            place = self._write_text(array, at, end) if dtype.kind == "string" else self._write(array, dtype, at, end)
            places.append(place)
            at = place.offset + place.nbytes + -place.nbytes % _ALIGN
        self._used = max(self._used, at - begin)
        return tuple(places)

    def _write(self, array: Array, dtype: DType, at: int, end: int) -> Place:
        if at + array.nbytes > end:
            raise NoRoomError(end - at)
        view: Array = np.ndarray(array.shape, dtype.numpy, self._memory, at)
        view[...] = array
        return Place(CODES[dtype.name], array.shape, at, array.nbytes)

    def _write_text(self, array: Array, at: int, end: int) -> Place:
        """Where each text ends, counted from the first (one int64 each), then all texts in UTF-8, or all bytes."""
        values = array.ravel().tolist()
        code = BYTES if values and isinstance(values[0], bytes) else CODES["string"]
        texts = [bytes(value) if isinstance(value, bytes) else str(value).encode() for value in values]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        data = ends.tobytes() + b"".join(texts)
        if at + len(data) > end:
            raise NoRoomError(end - at)
        self._memory[at : at + len(data)] = data
        return Place(code, array.shape, at, len(data))

    def read(self, place: Place, *, upper: bool = False) -> Array:
        """A copy of a tensor out of a half. Raises BrokenError for a place that is none."""
        dtype = BY_ONNX.get(CODES["string"] if place.code == BYTES else place.code)
        begin = self.half if upper else 0
        count = math.prod(place.shape)
        if dtype is None or len(place.shape) > MAX_DIMS or count > self.size:
            raise BrokenError(f"a tensor of code {place.code} and shape {place.shape}")
        if not begin <= place.offset <= place.offset + place.nbytes <= begin + self.half:
            raise BrokenError(f"a tensor at {place.offset}, {place.nbytes} bytes long, outside the memory")
        if dtype.kind == "string":
            return self._read_text(place, count)
        if place.nbytes != count * dtype.size or place.offset % dtype.size:
            raise BrokenError(f"a tensor {dtype}{list(place.shape)} of {place.nbytes} bytes")
        if dtype.kind == "bool":  # any byte may be there, and numpy takes only two of them for a truth value
            return np.asarray(np.ndarray(place.shape, np.uint8, self._memory, place.offset) != 0)
        view: Array = np.ndarray(place.shape, dtype.numpy, self._memory, place.offset)
        return view.copy()

    def _read_text(self, place: Place, count: int) -> Array:
        data = self._memory[place.offset : place.offset + place.nbytes]
        if len(data) < 8 * count:
            raise BrokenError("texts without their ends")
        ends = np.frombuffer(data, np.int64, count).tolist()
        texts, start = [], 0
        body = data[8 * count :]
        for stop in ends:
            if not start <= stop <= len(body):
                raise BrokenError("a text outside its bytes")
            texts.append(body[start:stop])
            start = stop
        array = np.empty(count, dtype=object)
        try:
            array[:] = texts if place.code == BYTES else [text.decode() for text in texts]
        except UnicodeDecodeError as fault:
            raise BrokenError("a text that is not UTF-8") from fault
        return array.reshape(place.shape)

    def settle(self) -> None:
        """Give back the pages of an unusually large call."""
        if self._used > _MUCH and hasattr(mmap, "MADV_REMOVE"):
            with suppress(OSError):
                for begin in (0, self.half):
                    self._memory.madvise(mmap.MADV_REMOVE, begin + _KEPT, self.half - _KEPT)
        self._used = 0

    def close(self) -> None:
        with suppress(BufferError):
            self._memory.close()
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
