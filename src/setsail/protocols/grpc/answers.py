"""Answers of `ModelInfer` and `ModelStreamInfer`, written by hand: their bytes are mostly those of the last answer.

Everything but the id and the tensors' bytes follows from the model, the version and the outputs' dtypes and shapes, so
it is made once. Filling a message of protobuf's takes 8 µs, this takes 2 (`tests/protocols/grpc/test_answers.py` holds
the two against each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from setsail.messages import Response
from setsail.protocols import binary
from setsail.protocols.open_inference import content_types
from setsail.protocols.open_inference.classification import classified
from setsail.protocols.values import joined
from setsail.shares import Share
from setsail.tensors import Array, dtype_of

__all__ = ["FINAL", "Answer", "field", "varint"]

FINAL: Final = "triton_final_response"
_NAME, _VERSION, _ID, _PARAMETERS, _OUTPUTS, _RAW = range(1, 7)  # of ModelInferResponse
_KEPT: Final = 1024
_NOTHING: Final[Mapping[str, int]] = {}
_LONGEST_LABEL: Final = 64


class _Frame(NamedTuple):
    """The fixed parts: before the id, after it, and of each tensor what stands before its bytes (None: text)."""

    before: bytes
    after: bytes
    leads: tuple[bytes | None, ...]


_FRAMES: Final[dict[tuple[object, ...], _Frame]] = {}
_LABELS: Final[dict[object, bytes]] = {}  # a text as a raw tensor of it alone


class Answer(Struct, frozen=True, gc=False):
    """How a client wants its answer: echoed id, order of outputs, alone or in a message of a stream.

    Attributes:
        classes: outputs that come as so many classes of each row.
        typed: each output says its content type (MLServer).
    """

    id: str
    wanted: tuple[str, ...] | None
    stream: bool
    classes: Mapping[str, int] = _NOTHING
    typed: bool = False

    def encode(self, response: Response) -> bytes:
        outputs = response.outputs
        if (
            type(outputs) is Share
            and not (self.id or self.stream or self.classes or self.typed)
            and (self.wanted is None or self.wanted == tuple(outputs))
        ):
            return outputs.text(_bodies, response)
        if self.classes:
            outputs = {**outputs, **{name: classified(response, name, k) for name, k in self.classes.items()}}
        names = None if self.wanted is None else tuple(dict.fromkeys(self.wanted))
        arrays = list(outputs.values()) if names is None else [outputs[name] for name in names]
        kinds = [(array.dtype, array.shape) for array in arrays]
        key = (response.model, response.version, self.typed, *(names or outputs), *kinds)
        frame = _FRAMES.get(key) or _framed(key, response, names or tuple(outputs), arrays, self.typed)
        parts = [frame.before]
        if self.id:
            parts.append(field(_ID, self.id.encode()))
        if self.stream:
            parts.append(_FINAL_PARAMETER)
        parts.append(frame.after)
        for array, lead in zip(arrays, frame.leads, strict=True):
            if lead is None:
                parts.append(_text(array))
            else:
                parts += (lead, array.tobytes())
        told = b"".join(parts)
        return field(2, told) if self.stream else told  # 2: ModelStreamInferResponse.infer_response


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    firsts = [array[:1] for array in outputs.values()]
    key = (response.model, response.version, False, *outputs, *[(array.dtype, array.shape) for array in firsts])
    frame = _FRAMES.get(key) or _framed(key, response, tuple(outputs), firsts, False)
    lead, columns = frame.before + frame.after, []
    for array, own in zip(outputs.values(), frame.leads, strict=True):
        if own is None:
            columns.append((lead, [_text(array[index : index + 1]) for index in range(len(array))]))
        else:
            columns.append((lead + own, binary.rows(array)))
        lead = b""
    return joined(columns, b"")


def _text(array: Array) -> bytes:
    """A tensor that is text (or of a foreign byte order). Most are one label, and there are few labels."""
    if array.size != 1:
        return field(_RAW, binary.pack(array))
    value = array.item()
    told = _LABELS.get(value)
    if told is None:
        told = field(_RAW, binary.pack(array))
        if type(value) is str and len(value) <= _LONGEST_LABEL:
            if len(_LABELS) >= _KEPT:
                _LABELS.clear()
            _LABELS[value] = told
    return told


def _framed(
    key: tuple[object, ...], response: Response, names: tuple[str, ...], arrays: list[Array], typed: bool
) -> _Frame:
    if len(_FRAMES) >= _KEPT:
        _FRAMES.clear()
    before = field(_NAME, response.model.encode()) + field(_VERSION, str(response.version).encode())
    after = b"".join([_described(name, array, typed) for name, array in zip(names, arrays, strict=True)])
    frame = _FRAMES[key] = _Frame(before, after, tuple(map(_lead, arrays)))
    return frame


def _described(name: str, array: Array, typed: bool) -> bytes:
    """A ModelInferResponse.InferOutputTensor: name, datatype, shape and perhaps its content type."""
    dtype = dtype_of(array)
    sizes = b"".join(map(varint, array.shape))
    parts = field(1, name.encode()) + field(2, (dtype.oip if dtype else "BYTES").encode())
    if sizes:
        parts += field(3, sizes)
    if typed:
        told = field(3, content_types.told(array).encode())  # string_param
        parts += field(4, field(1, content_types.KEY.encode()) + field(2, told))
    return field(_OUTPUTS, parts)


def _lead(array: Array) -> bytes | None:
    """Tag and length of a tensor whose bytes are the array's own."""
    if array.dtype.kind in "OUST" or not array.dtype.isnative:
        return None
    return _tag(_RAW) + varint(array.nbytes)


# -- protobuf's encoding: https://protobuf.dev/programming-guides/encoding/ ------------------------------------------


def varint(value: int) -> bytes:
    """A number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int) -> bytes:
    return bytes((number << 3 | 2,))  # 2: a length and so many bytes


def field(number: int, data: bytes) -> bytes:
    """A string, bytes or message field of a number below 16."""
    return _tag(number) + varint(len(data)) + data


_FINAL_PARAMETER: Final = field(_PARAMETERS, field(1, FINAL.encode()) + field(2, b"\x08\x01"))  # bool_param: true
