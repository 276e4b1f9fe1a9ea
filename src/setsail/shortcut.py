"""The short way of `binding`: rows of numbers for the only input of a model, which is what most requests are.

It proves in a few steps that all is well, or says nothing. The general way, which knows every form and every fault,
has the word then. They agree to the bit where both answer (`tests/test_binding.py`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np

from setsail.messages import Body, Columns, Digits, Form, Rows, Tensor, Tensors
from setsail.signature import Sole
from setsail.tensors import Array, DType, Numbers, finite

__all__ = ["ALLOWED", "at_once", "converted", "fits"]

# What Python's JSON readers make of values that an input of this kind takes.
ALLOWED: Final[Mapping[str, frozenset[type]]] = {
    "float": frozenset((int, float)),
    "int": frozenset((int,)),
    "uint": frozenset((int,)),
    "bool": frozenset((bool,)),
    "string": frozenset((str, bytes)),
}
_FORMATS: Final[Mapping[str, str]] = {  # of `struct`: it refuses what does not fit, numpy would wrap it or warn
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
_LISTS: Final = {list}
# A list of numbers and nothing else; an integer among floats becomes the float that Python makes of it.
_DECODERS: Final[Mapping[str, Any]] = {
    "float": msgspec.json.Decoder(list[float]).decode,
    "int": msgspec.json.Decoder(list[int]).decode,
    "uint": msgspec.json.Decoder(list[int]).decode,
}


def at_once(sole: Sole, body: Body) -> Array | None:
    """The array, where it is beyond doubt that the general way gives the same. None: ask the general way."""
    kind = type(body)
    if kind is Digits:
        return _read(sole, body)  # type: ignore[arg-type]
    if kind is Tensors:
        if len(body.tensors) != 1:  # type: ignore[union-attr]
            return None
        return _tensor_at_once(sole, body.tensors[0])  # type: ignore[union-attr]
    if kind is Rows:
        rows: Any = body.rows  # type: ignore[union-attr]
        names = body.names  # type: ignore[union-attr]
        if names is not None and names != sole.columns and not _in_order(sole, names):
            return None
    elif kind is Columns:
        rows = body.columns  # type: ignore[union-attr]
        if type(rows) is dict and len(rows) == 1:
            ((name, rows),) = rows.items()
            # A word for the whole body is told from a name; lists as deep as a batch are one, and no single row.
            word = body.loose and sole.tail and name not in sole.columns  # type: ignore[union-attr]
            if name != sole.name and not word:
                return None
    else:
        return None
    if type(rows) is list:
        return _packed(sole, rows, None)
    return converted(sole.dtype, rows, sole.tail) if type(rows) is Numbers else None


def _in_order(sole: Sole, names: tuple[str, ...]) -> bool:
    """Whether a frame's columns are meant in their order, because the model has no names for them."""
    return not sole.columns and sole.tail == (len(names),) and sole.name not in names


def _tensor_at_once(sole: Sole, tensor: Tensor) -> Array | None:
    shape, data, kind = tensor.shape, tensor.data, type(tensor.data)
    if tensor.dtype is not sole.dtype or not shape or shape[1:] != sole.tail or tensor.name != sole.name:
        return None
    if kind is list:
        return _packed(sole, data, shape)
    if kind is Numbers:
        flat = data.ndim == 1 and data.size == shape[0] * sole.width
        if flat or data.shape == shape:
            return converted(sole.dtype, data.reshape(shape), sole.tail)
        return None
    if kind is not np.ndarray or data.dtype != sole.dtype.numpy or data.size != shape[0] * sole.width or not data.size:
        return None
    if sole.dtype.kind == "float" and not finite(data):
        return None
    made: Array = data.reshape(shape)
    return made


def fits(sole: Sole | None, form: Form) -> bool:
    """Whether numbers of this form are all that the model takes, whatever they are."""
    if sole is None or form.shape[1:] != sole.tail or sole.dtype.kind not in _DECODERS:
        return False
    if form.names is not None:
        named = form.names == sole.columns or (form.frame and not sole.columns)
        return named and sole.name not in form.names
    return (
        form.name is None or form.name == sole.name or (form.loose and form.name not in sole.columns)
    ) and (form.dtype is None or form.dtype is sole.dtype)  # fmt: skip


def _read(sole: Sole, digits: Digits) -> Array | None:
    """Numbers out of their text."""
    form = digits.form
    if not fits(sole, form):
        return None
    if form.raw is not None:
        return _raw(sole, digits.text, form)
    try:
        values = _DECODERS[sole.dtype.kind](b"[" + digits.text + b"]")
    except (msgspec.MsgspecError, ValueError):
        return None
    array = _filled(sole, values, form.shape)
    return None if form.headless and array is not None and _has_names(sole, array) else array


def _raw(sole: Sole, data: bytes, form: Form) -> Array | None:
    """Numbers out of their bytes: of a declared dtype as they are, others as JSON's."""
    array = np.frombuffer(data, form.raw).reshape(form.shape)
    if form.dtype is None:
        wide = {"f": np.float64, "i": np.int64}.get(array.dtype.kind) or (
            np.uint64 if array.dtype.itemsize == 8 else np.int64
        )
        return converted(sole.dtype, array.astype(wide, copy=False).view(Numbers), sole.tail)
    return array if array.size and (sole.dtype.kind != "float" or finite(array)) else None


def _has_names(sole: Sole, array: Array) -> bool:
    """Whether a row may be the names of the columns, which are numbers then."""
    names = _numeric_names(sole.columns, sole.width)
    if names is None:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((np.sort(array, axis=-1) == names.astype(array.dtype)).all(axis=-1).any())


@lru_cache(256)
def _numeric_names(columns: tuple[str, ...], width: int) -> Array | None:
    """The columns' names as numbers, in their order; a table without names counts its columns."""
    try:
        return np.sort(np.array([float(name) for name in columns or range(width)]))
    except (ValueError, OverflowError):
        return None


def _packed(sole: Sole, values: list[Any], shape: tuple[int, ...] | None) -> Array | None:
    """Python numbers, flat where a shape is declared for them, else (or also) as nested as the input is."""
    if not values:
        return None
    if shape is None or type(values[0]) is list:
        rows = len(values)
        for size in sole.tail:
            if set(map(type, values)) != _LISTS or set(map(len, values)) != {size}:
                return None
            values = values[0] if len(values) == 1 else list(chain.from_iterable(values))
        if shape is None:
            shape = (rows, *sole.tail)
    if not set(map(type, values)) <= ALLOWED[sole.dtype.kind]:
        return None
    return _filled(sole, values, shape)


def _filled(sole: Sole, values: list[Any], shape: tuple[int, ...]) -> Array | None:
    """An array of as many values of an allowed type."""
    count = len(values)
    if count != shape[0] * sole.width or not count:
        return None
    try:
        # A sum is finite only where all its parts are.
        if sole.dtype.kind == "float" and not math.isfinite(sum(values)):
            return None
        data = struct.pack(f"={count}{_FORMATS[sole.dtype.name]}", *values)
    except (struct.error, OverflowError):
        return None
    return np.ndarray(shape, sole.dtype.numpy, data)


def converted(dtype: DType, numbers: Numbers, tail: tuple[int, ...]) -> Array | None:
    """JSON numbers to an array of finite values of a dtype, where that is all they are and they have this form."""
    if numbers.shape[1:] != tail or not numbers.size:
        return None
    array = numbers.view(np.ndarray)
    if dtype.kind == "float":
        if array.dtype.kind != "f":
            array = array.astype(np.float64)  # as Python's integers become floats: by way of a double
        with np.errstate(over="ignore"):
            array = array.astype(dtype.numpy, copy=False)
        return array if finite(array) else None
    if array.dtype.kind == "f" or dtype.kind not in ("int", "uint"):
        return None
    if array.dtype != dtype.numpy:
        info = np.iinfo(dtype.numpy)
        if not (info.min <= int(array.min()) and int(array.max()) <= info.max):
            return None
        array = array.astype(dtype.numpy)
    return array
