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
_VARINTS: Final = {
    "int64": b"\x52", "uint32": b"\x82\x01", "uint64": b"\x8a\x01",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), b"\x3a"),
}  # fmt: skip
_TEXT: Final = 8
_KEPT: Final = 1024
_LONGEST_KEPT: Final = 64
_UNSIGNED: Final = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_FEW: Final = 128  # below it, Python is faster than numpy
_SMALL: Final = tuple(map(varint, range(128)))


class _Frame(NamedTuple):
    """The fixed parts: of each output what stands before its values (which tell their own length where they are no raw
    bytes: then the parts it is made of), and the model's spec."""

    leads: tuple[bytes | tuple[bytes, bytes], ...]
    after: bytes


_FRAMES: Final[dict[tuple[object, ...], _Frame]] = {}
_TEXTS: Final[dict[object, bytes]] = {}  # texts as values: most are labels, and there are few labels


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
                values = _values(array)
                size = len(head) + len(values)
                tensor = b"\x12%b%b%b" % (_SMALL[size] if size < 128 else varint(size), head, values)
                size = len(name) + len(tensor)
                parts += (b"\x0a", _SMALL[size] if size < 128 else varint(size), name, tensor)
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
        known = _TEXTS
        return b"".join([known.get(value) or _text(value) for value in flat.tolist()])
    small = _small(flat) if dtype.name in _VARINTS else None
    if small is not None:
        return _VARINTS[dtype.name] + (_SMALL[len(small)] if len(small) < 128 else varint(len(small))) + small
    if dtype.name == "float16":
        flat = flat.astype(np.float16, copy=False).view(np.uint16)
    told: bytes = message("tensorflow.TensorProto")(**{FIELDS[dtype.name]: flat.tolist()}).SerializeToString()
    return told


def _small(flat: Array) -> bytes | None:
    """Integers below 128 as varints, which are a byte each: class labels and counts are; None for any others."""
    if flat.size < _FEW:
        try:
            octets = bytes(flat.tolist())
        except ValueError:  # one is negative, or above 255
            return None
        return octets if octets.isascii() and octets else None
    if flat.dtype.kind == "i" and flat.dtype.isnative:
        flat = flat.view(_UNSIGNED[flat.dtype.itemsize])  # in which what is negative is large
    if flat.dtype.kind != "u" or np.maximum.reduce(flat) >= 128:
        return None
    return flat.astype(np.uint8).tobytes()


def _text(value: object) -> bytes:
    """A text; a missing one is empty, because there is nothing else for it."""
    octets = value if isinstance(value, bytes) else b"" if value is None or value == NULL else str(value).encode()
    told = field(_TEXT, octets)
    if len(octets) <= _LONGEST_KEPT:
        if len(_TEXTS) >= _KEPT:
            _TEXTS.clear()
        _TEXTS[value] = told
    return told
