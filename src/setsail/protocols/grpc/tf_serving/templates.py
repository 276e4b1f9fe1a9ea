"""A fast way to read a `PredictRequest`, for clients that send the same request again with other values.

Where all values are an array's own bytes, a message is those and a text that says everything else: name, signature,
dtypes, shapes, lengths. That text is the same from request to request, and with it the message's length. So messages
are looked up by their length, and compared with the texts that were seen before: 2 µs instead of 14.

Whatever is not exactly as expected is None here, and read by protobuf, which says what is wrong with it
(`tests/protocols/grpc/tf_serving/test_templates.py` holds the two against each other).
"""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.messages import ModelRef, Request, Tensor, Tensors
from setsail.tensors import Array, DType

__all__ = ["Templates"]

_LONGEST: Final = 2048  # of all that is no value
_KEPT: Final = 1024
_ALIKE: Final = 8  # of one length
_SPEC, _ENTRY, _FILTER = 0x0A, 0x12, 0x1A  # tags of the fields 1, 2 and 3, each a length and bytes
_DTYPE, _SHAPE = 0x08, 0x12
_CONTENT: Final = 0x22
_FLOATS: Final = {0x2A: "float32", 0x32: "float64"}  # typed fields that are the array's own bytes
_PLAIN: Final = frozenset(("float", "int", "uint"))


class _Values(NamedTuple):
    """Where in a message one input's values are."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    numpy: np.dtype[Any]
    start: int


class _Template(NamedTuple):
    """Everything of a message but the values; `texts` are what stands around those."""

    texts: tuple[tuple[int, int, bytes], ...]
    values: tuple[_Values, ...]
    ref: ModelRef
    wanted: tuple[str, ...] | None
    signature: str


class Templates:
    """Messages seen before. When there are too many, all are forgotten."""

    __slots__ = ("_count", "_known")

    def __init__(self) -> None:
        self._known: dict[int, list[_Template]] = {}
        self._count = 0

    def request(self, data: bytes | memoryview) -> Request | None:
        """The request of a message like one that was learnt, or None."""
        for template in self._known.get(len(data), ()):
            for start, end, text in template.texts:
                if data[start:end] != text:
                    break
            else:
                tensors = tuple([Tensor(v.name, _array(v, data), v.dtype, v.shape) for v in template.values])
                return Request(template.ref, Tensors(tensors), template.wanted, template.signature)
        return None

    def learn(self, data: bytes | memoryview, request: Request) -> None:
        """Remember all of a message but its values, if those are bytes of arrays, and what protobuf read in it."""
        body = request.body
        if not isinstance(body, Tensors) or not all(_plain(tensor) for tensor in body.tensors):
            return
        spans = _spans(data)
        if spans is None or len(spans) != len(body.tensors):
            return
        values = []
        for tensor in body.tensors:
            start, end, number, typed = spans.get(tensor.name, (0, 0, 0, ""))
            assert tensor.dtype is not None
            assert tensor.shape is not None
            # A bfloat16 is a float32 by now, and has other bytes in the message.
            if end - start != tensor.data.nbytes or number != tensor.dtype.tf_number:
                return
            if typed not in ("", tensor.dtype.name):
                return
            values.append(_Values(tensor.name, tensor.dtype, tensor.shape, tensor.data.dtype, start))
        cuts = [0, *(at for start, end, *_ in sorted(spans.values()) for at in (start, end)), len(data)]
        texts = tuple((cuts[i], cuts[i + 1], bytes(data[cuts[i] : cuts[i + 1]])) for i in range(0, len(cuts), 2))
        if sum(len(text) for _, _, text in texts) > _LONGEST:
            return
        if self._count >= _KEPT:
            self._known.clear()
            self._count = 0
        alike = self._known.setdefault(len(data), [])
        if len(alike) < _ALIKE:
            alike.append(_Template(texts, tuple(values), request.model, request.outputs, request.signature))
            self._count += 1


def _plain(tensor: Tensor) -> bool:
    return (
        isinstance(tensor.data, np.ndarray)
        and tensor.dtype is not None
        and tensor.dtype.kind in _PLAIN
        and tensor.data.size > 0
        and sys.byteorder == "little"
    )


def _array(values: _Values, data: bytes | memoryview) -> Array:
    array: Array = np.ndarray(values.shape, values.numpy, data, values.start)
    return array if array.flags.aligned else array.copy()


# -- where the values are ----------------------------------------------------------------------------------------------

_Span = tuple[int, int, int, str]  # begin, end, number of the dtype, and which dtype the field is of, if of one


def _spans(data: bytes | memoryview) -> dict[str, _Span] | None:
    """Of every input where its values are; None unless all is as usual."""
    found: dict[str, _Span] = {}
    try:
        for tag, start, end in _fields(data, 0, len(data)):
            if tag == _ENTRY:
                (first, name_at, name_end), (second, tensor_at, tensor_end) = _fields(data, start, end)
                name = str(data[name_at:name_end], "utf-8")
                if (first, second) != (0x0A, 0x12) or name in found:
                    return None
                found[name] = _tensor_span(data, tensor_at, tensor_end)
            elif tag not in (_SPEC, _FILTER):
                return None
    except (IndexError, ValueError):  # UnicodeDecodeError is one
        return None
    return found


def _tensor_span(data: bytes | memoryview, start: int, end: int) -> _Span:
    """Raises ValueError for what is not a dtype, a shape and one field of values, in this order."""
    if data[start] != _DTYPE or data[start + 1] > 0x7F:
        raise ValueError("no dtype")
    (shape, _, _), (tag, values_at, values_end) = _fields(data, start + 2, end)
    if shape != _SHAPE or (tag != _CONTENT and tag not in _FLOATS):
        raise ValueError("no shape, or other values")
    return values_at, values_end, data[start + 1], _FLOATS.get(tag, "")


def _fields(data: bytes | memoryview, at: int, end: int) -> list[tuple[int, int, int]]:
    """Tag, begin and end of fields that are bytes. Raises ValueError or IndexError for any other."""
    found = []
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
