"""A tensor as the protocol declares it: datatype and shape, and its bytes.

BF16 has no row in the table of dtypes, because no model takes it; but every BF16 number is a float32 whose lower half
is zero, so one that comes as bytes is that float32 from here on. As JSON nobody sends it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Tensor
from setsail.protocols import binary
from setsail.protocols.open_inference.form import Input
from setsail.tensors import BY_NAME, BY_OIP, DType, Numbers

__all__ = ["BF16", "datatype", "from_bytes", "from_list", "shape"]

BF16: Final = "BF16"
_MAX_VALUES: Final = 1 << 40  # of one tensor's shape; bytes are limited elsewhere, this keeps products in range
_HALF, _SINGLE = BY_NAME["uint16"], BY_NAME["float32"]


def datatype(name: str, declared: str) -> DType:
    """The dtype an input is declared with. Raises `input.dtype`."""
    dtype = BY_OIP.get(declared)
    if dtype is None:
        bf16 = declared == BF16
        raise SetsailError(
            "input.dtype",
            f"input {name!r} is declared {declared}, which is " + ("sent as bytes only" if bf16 else "not supported"),
            field=f"{name}.datatype",
            value=declared,
            expected="one of " + ", ".join(BY_OIP),
            todo="send FP32, or the bytes of BF16" if bf16 else None,
        )
    return dtype


def from_list(item: Input) -> Tensor:
    """An input that came as JSON. Raises `request.form`, and what `datatype` and `shape` raise."""
    dtype, sizes = datatype(item.name, item.datatype), shape(item.name, item.shape)
    if not isinstance(item.data, list | Numbers):
        raise SetsailError(
            "request.form",
            f"input {item.name!r} has no list `data`",
            field=f"{item.name}.data",
            value=None if item.data is msgspec.UNSET else item.data,
            expected="a list of values, or binary_data_size and bytes after the JSON header",
        )
    return Tensor(item.name, item.data, dtype, sizes)


def shape(name: str, sizes: Iterable[int]) -> tuple[int, ...]:
    """The shape an input is declared with. Raises `input.shape` for one that no tensor can have."""
    declared = tuple(sizes)
    if not _possible(declared):
        raise SetsailError(
            "input.shape",
            f"input {name!r} is declared with an impossible shape",
            field=f"{name}.shape",
            value=list(declared),
            expected="at most 32 sizes, none negative",
        )
    return declared


@lru_cache(1024)
def _possible(declared: tuple[int, ...]) -> bool:
    values = 1
    for size in declared:
        values *= size or 1
        if size < 0 or values > _MAX_VALUES:
            return False
    return len(declared) <= 32


def from_bytes(name: str, declared: str, sizes: Iterable[int], data: memoryview) -> Tensor:
    """A tensor that came as bytes (`binary.py`). Raises `input.dtype`, `input.shape` or `request.binary`."""
    if declared != BF16:
        dtype, own = datatype(name, declared), shape(name, sizes)
        return Tensor(name, binary.unpack(name, dtype, own, data), dtype, own)
    own = shape(name, sizes)
    upper = binary.unpack(name, _HALF, own, data)
    halves = np.zeros((*own, 2), np.uint16)
    halves[..., 1 if sys.byteorder == "little" else 0] = upper
    return Tensor(name, halves.view(np.float32).reshape(own), _SINGLE, own)
