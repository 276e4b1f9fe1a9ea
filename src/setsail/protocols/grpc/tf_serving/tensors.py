"""TensorProto as our tensors: values as one text of bytes, or in the field of their dtype.

A typed field may hold fewer values than the shape has places: the last one stands for the rest, and no value for
zeros. Halfs and bfloat16 travel as the 16 bits they are; integers of 8 and 16 bits as 32. A bfloat16 becomes the
float32 it is the upper half of.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Tensor
from setsail.protocols import binary
from setsail.protocols.open_inference.tensors import shape
from setsail.tensors import BY_NAME, DTYPES, Array, DType

__all__ = ["FIELDS", "Kind", "tensor"]

_BFLOAT16: Final = 14
_REFERENCE: Final = 100  # DT_FLOAT_REF and its like are so much more than what they refer to
_MOST_FILLED: Final = 1 << 20  # values that are not in the message; it must not make the server hold more than it


class Kind(NamedTuple):
    """How values of a dtype travel: the typed field, and what numpy makes of its values before they are the dtype's."""

    dtype: DType
    field: str
    held: str


FIELDS: Final[Mapping[str, str]] = {  # dtype -> field
    "float32": "float_val", "float64": "double_val", "string": "string_val", "bool": "bool_val", "float16": "half_val",
    "int64": "int64_val", "uint32": "uint32_val", "uint64": "uint64_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
}  # fmt: skip
_HELD: Final = {"int_val": "int32", "half_val": "uint16", "string_val": "object"}
_KINDS: Final[Mapping[int, Kind]] = {
    d.tf_number: Kind(d, FIELDS[d.name], _HELD.get(FIELDS[d.name], d.name)) for d in DTYPES
} | {_BFLOAT16: Kind(BY_NAME["float32"], "half_val", "uint16")}


def tensor(name: str, proto: Any) -> Tensor:
    """A TensorProto of either encoding.

    Raises:
        SetsailError: `input.dtype`, `input.shape`, `input.range` or `request.binary`.
    """
    number = proto.dtype - _REFERENCE if proto.dtype > _REFERENCE else proto.dtype
    kind = _KINDS.get(number)
    if kind is None:
        raise _dtype(name, proto)
    if proto.tensor_shape.unknown_rank:
        raise SetsailError(
            "input.shape", f"input {name!r} is sent without a shape", field=f"{name}.tensor_shape",
            value="unknown_rank", expected="the sizes of this tensor",
        )  # fmt: skip
    sizes = shape(name, [dim.size for dim in proto.tensor_shape.dim])
    if proto.tensor_content:
        array = _content(name, kind, sizes, number, proto.tensor_content)
    else:
        array = _typed(name, kind, sizes, number, getattr(proto, kind.field))
    return Tensor(name, array, kind.dtype, sizes)


def _dtype(name: str, proto: Any) -> SetsailError:
    known = type(proto).DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number.get(proto.dtype)
    return SetsailError(
        "input.dtype", f"input {name!r} is declared with a dtype that is not supported", field=f"{name}.dtype",
        value=proto.dtype if known is None else known.name, expected="one of " + ", ".join(d.tf for d in DTYPES),
    )  # fmt: skip


def _content(name: str, kind: Kind, sizes: tuple[int, ...], number: int, content: bytes) -> Array:
    if kind.dtype.kind == "string":
        return _texts(name, prod(sizes), content).reshape(sizes)
    if number == _BFLOAT16:
        return _widened(binary.unpack(name, BY_NAME["uint16"], sizes, memoryview(content)))
    return binary.unpack(name, kind.dtype, sizes, memoryview(content))


def _texts(name: str, count: int, content: bytes) -> Array:
    """All lengths as varints, then all bytes."""
    at = 0
    lengths: list[int] = []
    while len(lengths) < count and at < len(content):
        value = shift = 0
        while at < len(content) and shift < 35:
            value |= (content[at] & 0x7F) << shift
            shift += 7
            at += 1
            if content[at - 1] < 0x80:
                break
        lengths.append(value)
    if len(lengths) != count or at + sum(lengths) != len(content):
        raise SetsailError(
            "request.binary", f"the texts of input {name!r} do not add up with its bytes", field=name,
            value=len(content), expected=f"{count} lengths as varints, then as many bytes",
        )  # fmt: skip
    array = np.empty(count, dtype=object)
    for index, length in enumerate(lengths):
        array[index] = content[at : at + length]
        at += length
    return array


def _typed(name: str, kind: Kind, sizes: tuple[int, ...], number: int, values: Any) -> Array:
    count, came = prod(sizes), len(values)
    if came > count or count - came > _MOST_FILLED:
        raise SetsailError(
            "request.binary", f"input {name!r} of shape {list(sizes)} has {came} values", field=f"{name}.{kind.field}",
            value=came, expected=f"{count}, or fewer of which the last is repeated",
        )  # fmt: skip
    if kind.dtype.kind == "string":
        array = np.empty(count, dtype=object)
        array[:came] = list(values)
        array[came:] = values[-1] if came else b""
        return array.reshape(sizes)
    found = np.array(values, dtype=np.int64 if kind.field == "half_val" else kind.held)
    array = np.zeros(count, found.dtype)
    array[:came] = found
    if came:
        array[came:] = found[-1]
    array = array.reshape(sizes)
    if kind.field != "half_val":
        return binary.narrowed(name, kind.dtype, array, kind.dtype.tf)
    bits = array.astype(np.uint16)
    return _widened(bits) if number == _BFLOAT16 else bits.view(np.float16)


def _widened(bits: Array) -> Array:
    """bfloat16 as float32."""
    wide: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return wide
