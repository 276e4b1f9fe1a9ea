"""A fast way to read a `ModelInferRequest`, for clients that send the same request again with other values.

Its fields come in the order of their numbers, so that the tensors' bytes are last. What stands before them, the head,
says everything else; it is the same from request to request, but for the id. Heads are remembered with what protobuf
read in them, and a message is then only cut in two: 3 µs instead of 17.

Whatever is not exactly as expected is None here, and read by protobuf, which says what is wrong with it; only texts
that do not add up are refused on the spot, by the same function (`tests/protocols/grpc/test_templates.py` holds the two
against each other).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.messages import ModelRef, Request, Tensor, Tensors
from setsail.protocols import binary
from setsail.protocols.grpc.alike import Requests, fields
from setsail.tensors import Array, DType

__all__ = ["Templates", "Typed", "named"]

_MODEL, _VERSION, _ID, _RAW = 0x0A, 0x12, 0x1A, 0x3A  # tags of the fields 1, 2, 3 and 7
_HEAD: Final = frozenset((0x0A, 0x12, 0x22, 0x2A, 0x32))  # of 1, 2, 4, 5 and 6, all of them a length and bytes
_LONGEST: Final = 2048
_KEPT: Final = 1024


class _Input(NamedTuple):
    """One input of a head. `size` is in bytes; -1 for text, which says so itself."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    size: int
    plain: np.dtype[Any] | None  # None: not simply an array's bytes


class _Template(NamedTuple):
    """What a head says."""

    ref: ModelRef
    inputs: tuple[_Input, ...]
    wanted: tuple[str, ...] | None
    parameters: Mapping[str, Any]
    signature: str


class Templates:
    """Heads seen before. When there are too many, all are forgotten."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, _Template] = {}

    def request(self, data: bytes | memoryview) -> Request | None:
        """The request of a message whose head is known, or None."""
        cut = _cut(data)
        if cut is None:
            return None
        head, name, spans = cut
        template = self._known.get(head)
        if template is None or len(spans) != len(template.inputs):
            return None
        tensors = []
        for item, (start, end) in zip(template.inputs, spans, strict=True):
            array = _array(item, data, start, end)
            if array is None:
                return None
            tensors.append(Tensor(item.name, array, item.dtype, item.shape))
        return Request(
            template.ref, Tensors(tuple(tensors)), template.wanted, template.signature, name, template.parameters
        )

    def learn(self, data: bytes | memoryview, request: Request) -> None:
        """Remember the head of a message, and what protobuf read in it."""
        cut = _cut(data)
        if cut is None or len(cut[0]) > _LONGEST or not isinstance(request.body, Tensors):
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        inputs = tuple(map(_input, request.body.tensors))
        self._known[cut[0]] = _Template(request.model, inputs, request.outputs, request.parameters, request.signature)


def _input(tensor: Tensor) -> _Input:
    dtype, shape = tensor.dtype, tensor.shape
    assert dtype is not None
    assert shape is not None
    size = -1 if dtype.kind == "string" else prod(shape) * dtype.size
    plain = size > 0 and dtype.kind != "bool" and sys.byteorder == "little"
    return _Input(tensor.name, dtype, shape, size, dtype.numpy if plain else None)


def _array(item: _Input, data: bytes | memoryview, start: int, end: int) -> Array | None:
    """What `binary.unpack` would give; None where it would refuse a size."""
    if item.plain is None:
        if item.size not in (-1, end - start):
            return None
        return binary.unpack(item.name, item.dtype, item.shape, memoryview(data)[start:end])
    if end - start != item.size:
        return None
    array: Array = np.ndarray(item.shape, item.plain, data, start)
    return array if array.flags.aligned else array.copy()


class Typed(Requests):
    """Messages seen before whose tensors are in `fp32_contents` or `fp64_contents`, which are the arrays' own bytes."""

    def learn(self, data: bytes | memoryview, request: Request) -> None:
        """Remember all of a message but its values, and what protobuf read in it."""
        spans = _typed_spans(data)
        if spans is not None:
            self.remember(data, request, spans)


_INPUT, _CONTENTS, _TYPED = 0x2A, 0x2A, (0x32, 0x3A)  # tags of 5, 5 of an input, and 6 and 7 of contents


def _typed_spans(data: bytes | memoryview) -> dict[str, tuple[int, int]] | None:
    """Of every input where its values are; None unless all is as usual."""
    found: dict[str, tuple[int, int]] = {}
    try:
        for tag, start, end in fields(data, 0, len(data)):
            if tag == _RAW:
                return None
            if tag != _INPUT:
                continue
            parts = fields(data, start, end)
            ((name_at, name_end),) = [(a, b) for own, a, b in parts if own == 0x0A]
            ((at, stop),) = [(a, b) for own, a, b in parts if own == _CONTENTS]
            ((kind, *span),) = fields(data, at, stop)
            name = str(data[name_at:name_end], "utf-8")
            if kind not in _TYPED or name in found:
                return None
            found[name] = (span[0], span[1])
    except (IndexError, ValueError):  # UnicodeDecodeError is one, and other numbers of parts
        return None
    return found


def named(data: bytes | memoryview) -> ModelRef | None:
    """The model that a message names where its fields come in order; None for any other, which says so when it is read.

    Nobody may conclude more from it than whether that model takes requests at this moment.
    """
    if len(data) < 2 or data[0] != _MODEL or data[1] > 0x7F:
        return None
    end = 2 + data[1]
    try:
        name = str(data[2:end], "utf-8")
        if data[end] != _VERSION or data[end + 1] > 18:
            return ModelRef(name)
        return ModelRef(name, int(bytes(data[end + 2 : end + 2 + data[end + 1]])))
    except (IndexError, ValueError):  # UnicodeDecodeError is one
        return None


def _cut(data: bytes | memoryview) -> tuple[bytes, str, list[tuple[int, int]]] | None:
    """A message as its head without the id, the id, and where each raw tensor begins and ends."""
    at, total = 0, len(data)
    name, id_at, id_end = "", 0, 0
    try:
        while (tag := data[at]) != _RAW:
            size, start = data[at + 1], at + 2
            if size > 0x7F:
                size, start = _varint(data, at + 1)
            if tag == _ID:
                if id_end:
                    return None
                id_at, id_end = at, start + size
                name = str(data[start:id_end], "utf-8")
            elif tag not in _HEAD:
                return None
            at = start + size
        head = bytes(data[:id_at]) + bytes(data[id_end:at]) if id_end else bytes(data[:at])
        spans = []
        while at < total:
            if data[at] != _RAW:
                return None
            size, start = data[at + 1], at + 2
            if size > 0x7F:
                size, start = _varint(data, at + 1)
            at = start + size
            spans.append((start, at))
    except (IndexError, UnicodeDecodeError):
        return None
    return (head, name, spans) if at == total else None


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A length of up to four bytes and where it ends; a longer one is more than a message may have: IndexError."""
    value = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
