"""The dtype table: one row per element type, one column per name somebody gives it.

Ours (the numpy name, `string` for text), numpy, ONNX (`TensorProto.DataType`), Open Inference Protocol v2,
TensorFlow (`DataType` name and number) and JavaScript's typed arrays. Every module that must translate a dtype
reads this table; none keeps its own.

Text is held as numpy `object` arrays of `str`. A missing text is NULL, a Unicode noncharacter (U+FDD0,
"reserved for process-internal use"), so that it can pass through an ONNX string tensor, which has no null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

__all__ = [
    "BY_NAME", "BY_OIP", "BY_ONNX", "BY_TF", "DTYPES", "NULL", "Array", "DType", "Numbers", "dtype_of", "finite",
    "widens",
]  # fmt: skip

# What numpy.typing calls NDArray[Any]; importing that module costs ten milliseconds.
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
NULL: Final = "\ufdd0"


@dataclass(frozen=True, slots=True, eq=False)  # each is there once, in DTYPES, and hot keys are made of them
class DType:
    """One element type. `size` is bytes an element, 0 for text; `tf_number` is `tensorflow.DataType`."""

    name: str
    kind: str  # "float", "int", "uint", "bool" or "string"
    size: int
    onnx: int
    oip: str
    tf: str
    tf_number: int
    js: str | None
    numpy: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numpy", np.dtype(object if self.kind == "string" else self.name))

    def __str__(self) -> str:
        return self.name


DTYPES: Final = (
    DType("bool", "bool", 1, 9, "BOOL", "DT_BOOL", 10, "Uint8Array"),
    DType("uint8", "uint", 1, 2, "UINT8", "DT_UINT8", 4, "Uint8Array"),
    DType("uint16", "uint", 2, 4, "UINT16", "DT_UINT16", 17, "Uint16Array"),
    DType("uint32", "uint", 4, 12, "UINT32", "DT_UINT32", 22, "Uint32Array"),
    DType("uint64", "uint", 8, 13, "UINT64", "DT_UINT64", 23, "BigUint64Array"),
    DType("int8", "int", 1, 3, "INT8", "DT_INT8", 6, "Int8Array"),
    DType("int16", "int", 2, 5, "INT16", "DT_INT16", 5, "Int16Array"),
    DType("int32", "int", 4, 6, "INT32", "DT_INT32", 3, "Int32Array"),
    DType("int64", "int", 8, 7, "INT64", "DT_INT64", 9, "BigInt64Array"),
    DType("float16", "float", 2, 10, "FP16", "DT_HALF", 19, "Uint16Array"),
    DType("float32", "float", 4, 1, "FP32", "DT_FLOAT", 1, "Float32Array"),
    DType("float64", "float", 8, 11, "FP64", "DT_DOUBLE", 2, "Float64Array"),
    DType("string", "string", 0, 8, "BYTES", "DT_STRING", 7, None),
)

BY_NAME: Final[Mapping[str, DType]] = {d.name: d for d in DTYPES}
BY_ONNX: Final[Mapping[int, DType]] = {d.onnx: d for d in DTYPES}
BY_OIP: Final[Mapping[str, DType]] = {d.oip: d for d in DTYPES}
BY_TF: Final[Mapping[str, DType]] = {d.tf: d for d in DTYPES}
_BY_NUMPY: Final[Mapping[np.dtype[Any], DType]] = {d.numpy: d for d in DTYPES}


def dtype_of(array: Array) -> DType | None:
    """Our dtype of a numpy array, or None where we have none (complex, dates, structured)."""
    known = _BY_NUMPY.get(array.dtype)
    if known is not None:
        return known
    if array.dtype.kind in "UST":
        return BY_NAME["string"]
    return BY_NAME.get(array.dtype.name)  # the other byte order; asking for the name is slow


def finite(array: Array) -> bool:
    """Whether a float array has neither NaN nor infinities.

    Few values are proven finite by their sum as doubles: it is so only where every value is. It may overflow where all
    are, and then, as for many values, each is looked at.
    """
    if array.size <= _FEW and math.isfinite(sum(array.ravel().tolist())):
        return True
    return bool(np.isfinite(array).all())


_FEW: Final = 64  # above it, numpy's own way is faster


class Numbers(np.ndarray[Any, np.dtype[Any]]):
    """Numbers of a JSON text that were never Python objects: a nested, regular list as int64, uint64 or float64.

    It stands where a list would, and means the same: values without a dtype of their own. float64 may hold what was
    written as an integer; where that makes a difference, `listed` reads the text again.
    """

    __array_priority__ = 1.0  # what numpy joins of them is of this class too
    again: Callable[[], Any] | None = None

    @classmethod
    def of(cls, array: Array, again: Callable[[], Any]) -> Numbers:
        """Args: again: gives the list itself."""
        made = array.view(cls)
        made.again = again
        return made

    def listed(self) -> Any:
        """The list that was sent. Numbers joined from several requests have lost it: theirs has equal values."""
        return self.tolist() if self.again is None else self.again()


def widens(source: DType, target: DType) -> bool:
    """Whether every value of `source` is exactly a value of `target` (so int64 does not widen to float64)."""
    if source == target:
        return True
    if "string" in (source.kind, target.kind) or source.kind == "bool" or target.kind == "bool":
        return False
    if source.kind in ("int", "uint") and target.kind == "float":
        mantissa = {"float16": 11, "float32": 24, "float64": 53}[target.name]
        return source.size * 8 - (source.kind == "int") <= mantissa
    return bool(np.can_cast(source.numpy, target.numpy, casting="safe"))
