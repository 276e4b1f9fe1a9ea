"""One input's values, however they came, as an array of its dtype; whatever would change a value is refused.

Every list is flattened level by level before numpy sees it, so that a ragged row is found with its index, a text
among numbers is never parsed as one, and numpy never allocates for a client's single long string.
"""

from __future__ import annotations

from base64 import b64decode
from itertools import chain
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Tensor
from setsail.shortcut import ALLOWED, converted
from setsail.signature import TensorSpec
from setsail.tensors import NULL, Array, Numbers, finite, widens

__all__ = ["cell", "exact", "listed", "nested", "typed"]

_INFINITE = (float("inf"), float("-inf"))
_CONTENT = {"image": "an image", "bytes": "a file"}


def typed(spec: TensorSpec, tensor: Tensor) -> Array:
    """A tensor with a declared dtype and shape."""
    declared = tensor.dtype
    if declared is not None and not _may_become(declared.name, declared.kind, spec, tensor):
        raise SetsailError(
            "input.dtype", f"input {spec.name!r} is declared {declared.oip}", field=spec.name, value=declared.oip,
            expected=f"{spec.dtype.oip} or a type that widens to it",
        )  # fmt: skip
    if isinstance(tensor.data, np.ndarray) and not isinstance(tensor.data, Numbers):
        array = _decode(spec, tensor.data)
        if array.dtype != spec.dtype.numpy:
            with np.errstate(invalid="ignore", over="ignore"):  # a NaN of some bits is remarked on, and stays one
                cast = array.astype(spec.dtype.numpy)
                # The way back hides a sign that was lost, and may make an infinity the integer that became it.
                whole = array.dtype.kind not in "iu" or (
                    finite(cast)
                    and np.array_equal(cast.astype(array.dtype), array)
                    and np.array_equal(cast < 0, array < 0)
                )
            if not whole:
                raise SetsailError(
                    "input.range",
                    f"input {spec.name!r} has integers that {spec.dtype} cannot hold",
                    field=spec.name,
                    expected=f"integers {spec.dtype} holds exactly",
                )
            array = cast
    else:
        array = _values(spec, tensor.data)
        if tensor.shape is None:
            return array
    shape = tensor.shape if tensor.shape is not None else array.shape
    count = 1
    for size in shape:
        count *= size
    if count != array.size:
        raise SetsailError(
            "input.shape", f"input {spec.name!r} has {array.size} values for its shape", field=spec.name,
            value=list(shape), expected=f"{count} values",
        )  # fmt: skip
    if len(shape) == len(spec.shape) + 1 and shape[-1] == 1:
        shape = shape[:-1]  # a column sent as [N, 1], as table codecs of other servers' clients do
    return array.reshape(shape)


def _may_become(name: str, kind: str, spec: TensorSpec, tensor: Tensor) -> bool:
    if tensor.dtype is not None and widens(tensor.dtype, spec.dtype):
        return True
    return kind in ("int", "uint") and spec.dtype.kind == "float"  # checked value by value


def _decode(spec: TensorSpec, array: Array) -> Array:
    """Text that came as bytes, to str."""
    if spec.dtype.kind != "string":
        return array
    return _numbers(spec, array.shape, array.ravel().tolist())


def nested(spec: TensorSpec, data: Any) -> Array:
    array = _values(spec, data)
    if array.ndim == 2 and array.shape[1] == 1 and len(spec.shape) == 1:
        array = array.reshape(-1)
    return array


def _values(spec: TensorSpec, data: Any) -> Array:
    """JSON values, nested, as an array of the input's dtype."""
    if isinstance(data, np.ndarray):
        array = converted(spec.dtype, data, data.shape[1:]) if isinstance(data, Numbers) else None
        if array is not None:
            return array
        data = listed(data)
    shape, flat = _flatten(spec, data)
    return _numbers(spec, shape, flat)


def listed(array: Array) -> Any:
    return array.listed() if isinstance(array, Numbers) else array.tolist()


def _flatten(spec: TensorSpec, data: Any) -> tuple[tuple[int, ...], list[Any]]:
    shape: list[int] = []
    level: list[Any] = [data]
    while isinstance(level[0], list | tuple):
        width = len(level[0])
        for index, item in enumerate(level):
            if not isinstance(item, list | tuple) or len(item) != width:
                row = index // max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else index
                raise SetsailError(
                    "input.ragged",
                    f"input {spec.name!r}, row {row}, is not as long as row 0",
                    field=spec.name,
                    value=item,
                    expected=f"{width} values",
                    row=row,
                )
        shape.append(width)
        if len(shape) > 32:
            raise SetsailError(
                "input.shape", f"input {spec.name!r} is nested too deeply", field=spec.name, expected=str(spec)
            )
        level = list(chain.from_iterable(level))
        if not level:
            break
    return tuple(shape), level


def _numbers(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any]) -> Array:
    """Python scalars of one input to an array of its dtype, refusing whatever would change a value."""
    kind, allowed = spec.dtype.kind, ALLOWED[spec.dtype.kind]
    types = set(map(type, flat))
    if kind == "string" and float in types:  # as data frames have it, a missing text is not a number
        flat = [None if v != v else v for v in flat]
        types = set(map(type, flat))
    if not types <= allowed:
        flat = _nulls(spec, shape, flat, types - allowed)
    if kind == "string":
        return _text(spec, shape, flat, types)
    try:
        if kind == "float":
            with np.errstate(over="ignore"):
                array = np.array(flat, dtype=spec.dtype.numpy)
        else:
            array = np.array(flat, dtype=spec.dtype.numpy)
    except OverflowError as fault:
        raise _out_of_range(spec, shape, flat) from fault
    if kind == "float" and not finite(array) and np.isinf(array).sum() != sum(v in _INFINITE for v in flat):
        raise _out_of_range(spec, shape, flat)
    return array.reshape(shape)


def _nulls(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any], wrong: set[type]) -> list[Any]:
    if wrong == {type(None)}:
        if spec.nullable and spec.dtype.kind in ("float", "string"):
            null = NULL if spec.dtype.kind == "string" else float("nan")
            return [null if v is None else v for v in flat]
        index = flat.index(None)
        raise SetsailError(
            "input.null",
            f"input {spec.name!r}, row {_row(shape, index)}, is null",
            field=spec.name,
            expected=f"a {spec.dtype} value",
            row=_row(shape, index),
        )
    index = next(i for i, v in enumerate(flat) if type(v) in wrong and v is not None)
    row = _row(shape, index)
    if isinstance(flat[index], list | tuple):
        raise SetsailError(
            "input.ragged",
            f"input {spec.name!r}, row {row}, is nested deeper than row 0",
            field=spec.name,
            value=flat[index],
            expected=str(spec),
            row=row,
        )
    raise SetsailError(
        "input.dtype",
        f"input {spec.name!r}, row {row}, has the wrong type",
        field=spec.name,
        value=flat[index],
        expected=f"a {spec.dtype} value",
        row=row,
    )


def _text(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any], types: set[type]) -> Array:
    if spec.content:
        flat = [_blob(spec, value, _row(shape, i)) for i, value in enumerate(flat)]
    elif bytes in types:
        try:
            flat = [v.decode() if isinstance(v, bytes) else v for v in flat]
        except UnicodeDecodeError as fault:
            raise SetsailError(
                "input.dtype",
                f"input {spec.name!r} holds bytes that are not UTF-8",
                field=spec.name,
                expected="UTF-8 text",
            ) from fault
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _blob(spec: TensorSpec, value: Any, row: int) -> Any:
    """Bytes as they came, or out of base64 (also as a `data:` URL), which is how JSON and CSV have them."""
    if isinstance(value, bytes) or value == NULL:
        return value
    if spec.content == "request":  # a text is the body itself
        return value.encode("utf-8", "replace")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return b64decode(text, validate=True)
    except ValueError as fault:
        raise SetsailError(
            "input.dtype", f"input {spec.name!r}, row {row}, is no base64", field=spec.name, value=value,
            expected=f"the bytes of {_CONTENT[spec.content]} in base64", row=row,
        ) from fault  # fmt: skip


def exact(spec: TensorSpec, values: Any) -> Any:
    """A data frame's column with whole numbers as integers and 0 and 1 as truth values, or the other way round.

    A frame has one dtype a column and makes 1 a 1.0 beside a missing value; nothing is lost on the way back. What would
    be lost stays as it is, and is refused later.
    """
    kind = spec.dtype.kind
    if isinstance(values, Numbers):
        if kind not in ("int", "uint", "bool") or (values.dtype.kind != "f" and kind != "bool"):
            return values
        values = values.listed()
    if not isinstance(values, list) or kind == "string" or set(map(type, values)) <= ALLOWED[kind]:
        return values
    if kind == "bool":
        return [bool(v) if type(v) in (int, float) and v in (0, 1) else v for v in values]
    whole = kind != "float"
    return [int(v) if type(v) is bool or (whole and type(v) is float and v.is_integer()) else v for v in values]


def cell(spec: TensorSpec, text: str, row: int, nulls: frozenset[str], *, whole: bool = False) -> Any:
    """A text as a value of an input. `whole`: 1.0 is an integer too. Raises `input.dtype`."""
    if spec.dtype.kind == "string":
        return None if spec.nullable and (text == "" or text in nulls) else text
    if text.strip() == "" or text in nulls:
        return None
    try:
        if spec.dtype.kind == "float":
            return float(text)
        if spec.dtype.kind == "bool":
            return {"true": True, "false": False}[text.strip().lower()]
        return int(float(text)) if whole and text.strip()[-2:] == ".0" and float(text).is_integer() else int(text)
    except (ValueError, KeyError):
        raise SetsailError(
            "input.dtype",
            f"input {spec.name!r}, row {row}, has the wrong type",
            field=spec.name,
            value=text,
            expected=f"a {spec.dtype} value",
            row=row,
        ) from None


def _row(shape: tuple[int, ...], index: int) -> int:
    per_row = 1
    for size in shape[1:]:
        per_row *= size
    return index // max(1, per_row)


def _out_of_range(spec: TensorSpec, shape: tuple[int, ...], flat: list[Any]) -> SetsailError:
    info: Any = np.finfo(spec.dtype.numpy) if spec.dtype.kind == "float" else np.iinfo(spec.dtype.numpy)
    # Python's own numbers: they compare exactly, an integer of any size too. NaN and infinities are values here.
    low, high = np.asarray(info.min).item(), np.asarray(info.max).item()
    index = next(i for i, v in enumerate(flat) if v not in _INFINITE and (v < low or v > high))
    return SetsailError(
        "input.range",
        f"input {spec.name!r}, row {_row(shape, index)}, is out of range",
        field=spec.name,
        value=flat[index],
        expected=f"{low} to {high}",
        row=_row(shape, index),
    )
