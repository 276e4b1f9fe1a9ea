"""Requests whose tensors' values are arrays' own bytes in the message, told by what stands around those.

OIP's typed contents and TensorFlow Serving's tensors come so where they are floats; TensorFlow's `tensor_content` for
every number. Where in a message the values are, its wire finds out when protobuf has read one like it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from setsail.messages import Request, Tensor, Tensors
from setsail.protocols.alike import Alike
from setsail.tensors import Array, DType

__all__ = ["Requests", "fields"]

_PLAIN: Final = frozenset(("float", "int", "uint"))


class _Values(NamedTuple):
    """Where in a message one input's values are."""

    name: str
    dtype: DType
    shape: tuple[int, ...]  # as it is declared
    held: tuple[int, ...]  # of the array: typed values come flat
    start: int


class _Known(NamedTuple):
    request: Request
    values: tuple[_Values, ...]


class Requests:
    """The requests of one method that were seen before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: Alike[_Known] = Alike()

    def request(self, data: bytes | memoryview) -> Request | None:
        """The request of a message like one that was learnt, or None."""
        known = self._known.find(data)
        if known is None:
            return None
        tensors = tuple([Tensor(v.name, _array(v, data), v.dtype, v.shape) for v in known.values])
        asked = known.request
        return Request(asked.model, Tensors(tensors), asked.outputs, asked.signature, "", asked.parameters)

    def remember(self, data: bytes | memoryview, request: Request, spans: Mapping[str, tuple[int, int]]) -> None:
        """Remember all of a message but its values.

        Args:
            request: what protobuf read in it.
            spans: of every input, by name, the begin and the end of its values.
        """
        body = request.body
        if request.id or not spans or not isinstance(body, Tensors) or len(spans) != len(body.tensors):
            return
        values = []
        for tensor in body.tensors:
            start, end = spans.get(tensor.name, (0, 0))
            assert tensor.dtype is not None
            assert tensor.shape is not None
            # A bfloat16 is a float32 by now, and has other bytes in the message.
            if not _plain(tensor, tensor.dtype) or end - start != tensor.data.nbytes:
                return
            values.append(_Values(tensor.name, tensor.dtype, tensor.shape, tensor.data.shape, start))
        known = _Known(replace(request, body=Tensors(())), tuple(values))
        self._known.learn(data, sorted(spans.values()), known)


def _plain(tensor: Tensor, dtype: DType) -> bool:
    own = isinstance(tensor.data, np.ndarray) and tensor.data.dtype == dtype.numpy and tensor.data.size > 0
    return own and dtype.kind in _PLAIN and sys.byteorder == "little"


def _array(values: _Values, data: bytes | memoryview) -> Array:
    array: Array = np.ndarray(values.held, values.dtype.numpy, data, values.start)
    return array if array.flags.aligned else array.copy()


def fields(data: bytes | memoryview, at: int, end: int) -> list[tuple[int, int, int]]:
    """Tag, begin and end of fields that are bytes. Raises ValueError or IndexError for any other."""
    found: list[tuple[int, int, int]] = []
    while at < end:
        tag, size, shift = data[at], 0, 0
        at += 1
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 28:
                raise ValueError("too long")
        if tag & 7 != 2 or tag > 0x7F or at + size > end:
            raise ValueError("no such field")
        found.append((tag, at, at + size))
        at += size
    return found
