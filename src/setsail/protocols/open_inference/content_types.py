"""MLServer's `content_type`: what the sender's codec made a tensor of, and so how it is to be read.

The types that a tensor's own datatype already says are taken; `base64` is undone. MLServer's codecs send a column with
the shape [N,1], which `binding.py` takes for [N] on every wire. Types that stand for objects of Python are refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import Tensor
from setsail.tensors import Array

__all__ = ["KEY", "decoded", "of_output", "told"]

KEY: Final = "content_type"
_OF_OUTPUTS: Final = ("np", "pd", "str")


def decoded(tensor: Tensor, own: object, whole: object) -> Tensor:
    """A tensor as its content type says.

    Args:
        own, whole: the content types of the tensor and of its request, None where they have none.

    Raises:
        SetsailError: `request.unsupported` for other types, `request.form` for values that are not of theirs.
    """
    kind = whole if own is None else own
    if kind is None:
        return tensor
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _refused(f"input {tensor.name!r}", kind, tuple(_READERS))
    return read(tensor)


def of_output(name: str, kind: object) -> None:
    """An output may be asked for as what it is anyway; anything else is refused: `request.unsupported`."""
    if kind is not None and kind not in _OF_OUTPUTS:
        raise _refused(f"output {name!r}", kind, _OF_OUTPUTS)


def told(array: Array) -> str:
    """The content type of an output."""
    return "str" if array.dtype.kind in "OUST" else "np"


def _refused(what: str, kind: object, known: tuple[str, ...]) -> SetsailError:
    return SetsailError(
        "request.unsupported", f"{what} has the content type {kind!r}", field=f"parameters.{KEY}", value=kind,
        expected=" or ".join(known),
    )  # fmt: skip


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _text(tensor: Tensor) -> Tensor:
    if tensor.dtype is None or tensor.dtype.kind != "string":
        raise SetsailError(
            "request.form", f"input {tensor.name!r} is said to be text and declared {tensor.dtype}",
            field=f"{tensor.name}.datatype", expected="BYTES",
        )  # fmt: skip
    return tensor


def _base64(tensor: Tensor) -> Tensor:
    column = _text(tensor)
    if isinstance(column.data, np.ndarray):
        array = np.empty(column.data.shape, object)
        array.ravel()[:] = [_undone(column.name, value) for value in column.data.ravel().tolist()]
        return replace(column, data=array)
    return replace(column, data=_each(column.name, column.data))


def _each(name: str, value: Any) -> Any:
    return [_each(name, item) for item in value] if isinstance(value, list) else _undone(name, value)


def _undone(name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError) as fault:
        raise SetsailError(
            "request.form", f"input {name!r} is said to be base64 and is not", field=name, value=value,
            expected="RFC 4648 base64",
        ) from fault  # fmt: skip


_READERS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "np": _as_it_is, "pd": _as_it_is, "str": _text, "base64": _base64,
}  # fmt: skip
