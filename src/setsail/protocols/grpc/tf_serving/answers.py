"""Answers of `Predict`, written by hand: their bytes are mostly those of the last answer.

Values go out in typed fields, which is what clients read by name (`response.outputs["y"].float_val`). Where such a
field is the array's own bytes (float, double, bool), everything before them is made once; what travels as varints is
written by protobuf (`tests/protocols/grpc/tf_serving/test_answers.py` holds the two against each other).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from setsail.messages import Response
from setsail.protocols.grpc.answers import field, varint
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving.tensors import FIELDS
from setsail.tensors import BY_NAME, NULL, Array, dtype_of

__all__ = ["Answer", "spec_bytes"]

_RAW: Final = {"float32": 0x2A, "float64": 0x32, "bool": 0x5A}  # tags of packed fields that are the array's bytes
_TEXT: Final = 8
_KEPT: Final = 1024


class _Frame(NamedTuple):
    """The fixed parts: of each output what stands before its values (which tell their own length where they are no raw
    bytes: then the parts it is made of), and the model's spec."""

    leads: tuple[bytes | tuple[bytes, bytes], ...]
    after: bytes


_FRAMES: Final[dict[tuple[object, ...], _Frame]] = {}


class Answer(Struct, frozen=True, gc=False):
    """How a client wants its answer: the signature it named, and the outputs; None for those of the signature."""

    signature: str
    wanted: tuple[str, ...] | None

    def encode(self, response: Response) -> bytes:
        outputs, names = response.outputs, self.wanted or response.defaults
        arrays = [outputs[name] for name in names]
        key = (response.model, response.version, self.signature, names, *[(a.dtype, a.shape) for a in arrays])
        frame = _FRAMES.get(key) or _framed(key, response, self.signature, names, arrays)
        parts: list[bytes] = []
        for array, lead in zip(arrays, frame.leads, strict=True):
            if isinstance(lead, bytes):
                parts += (lead, array.tobytes())
            else:
                name, head = lead
                parts.append(field(1, name + field(2, head + _values(array))))
        parts.append(frame.after)
        return b"".join(parts)


def _framed(
    key: tuple[object, ...], response: Response, signature: str, names: tuple[str, ...], arrays: list[Array]
) -> _Frame:
    if len(_FRAMES) >= _KEPT:
        _FRAMES.clear()
    frame = _FRAMES[key] = _Frame(
        tuple(map(_lead, names, arrays)), field(2, spec_bytes(response.model, response.version, signature))
    )
    return frame


def spec_bytes(name: str, version: int, signature: str) -> bytes:
    """A ModelSpec."""
    return field(1, name.encode()) + field(2, b"\x08" + varint(version)) + field(3, signature.encode())


def _lead(name: str, array: Array) -> bytes | tuple[bytes, bytes]:
    """Of an entry of the map of outputs, all that stands before the values."""
    dtype = dtype_of(array) or BY_NAME["string"]
    sizes = b"".join(field(2, b"\x08" + varint(size) if size else b"") for size in array.shape)
    head = b"\x08" + varint(dtype.tf_number) + field(2, sizes)
    named = field(1, name.encode())
    tag = _RAW.get(dtype.name)
    if tag is None or not array.dtype.isnative or not array.size:
        return named, head
    head += bytes((tag,)) + varint(array.nbytes)
    tensor = b"\x12" + varint(len(head) + array.nbytes) + head
    return b"\x0a" + varint(len(named) + len(tensor) + array.nbytes) + named + tensor


def _values(array: Array) -> bytes:
    """The values of a tensor, in the field of its dtype."""
    dtype = dtype_of(array) or BY_NAME["string"]
    flat = array.ravel()
    if dtype.kind == "string":
        return b"".join([field(_TEXT, _octets(value)) for value in flat.tolist()])
    if dtype.name == "float16":
        flat = flat.astype(np.float16, copy=False).view(np.uint16)
    told: bytes = message("tensorflow.TensorProto")(**{FIELDS[dtype.name]: flat.tolist()}).SerializeToString()
    return told


def _octets(value: object) -> bytes:
    """A text; a missing one is empty, because there is nothing else for it."""
    if isinstance(value, bytes):
        return value
    return b"" if value is None or value == NULL else str(value).encode()
