"""Small requests whose one input is a list of numbers: what asks for nothing else is not read until it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Digits, Form, Portion, Request, Tensors
from setsail.protocols.digits import Memo
from setsail.protocols.open_inference.form import read
from setsail.protocols.open_inference.tensors import from_list
from setsail.tensors import BY_OIP

__all__ = ["ANY_NAME", "MEMO", "Head", "Heads"]


def _tensors(raw: bytes) -> Tensors:
    return Tensors(tuple([from_list(item) for item in read(raw).inputs]))


def _learn(raw: bytes, count: int) -> Form | None:
    try:
        form = read(raw)
    except SetsailError:
        return None
    if len(form.inputs) != 1 or form.outputs or form.id or form.parameters:
        return None
    (only,) = form.inputs
    dtype, shape = BY_OIP.get(only.datatype), only.shape
    if dtype is None or only.parameters or only.data != [] or min(shape, default=0) < 1 or prod(shape) != count:
        return None
    return Form(shape, only.name, dtype, Portion((Digits, only.name, dtype, shape[1:]), shape[0]))


def _learn_any_name(raw: bytes, count: int) -> Form | None:
    form = _learn(raw, count)
    if form is None:
        return None
    return Form(form.shape, None, form.dtype, Portion((Digits, None, form.dtype, form.shape[1:]), form.shape[0]))


def _any_name(raw: bytes) -> Tensors:
    return Tensors(_tensors(raw).tensors, any_name=True)


MEMO: Final = Memo(b'"data"', b"[", _learn, _tensors)
ANY_NAME: Final = Memo(b'"data"', b"[", _learn_any_name, _any_name)  # where the name does not matter


# -- bytes after the JSON ----------------------------------------------------------------------------------------------


class Head(NamedTuple):
    """What the JSON before the bytes of one tensor says."""

    size: int
    form: Form
    asked: Request
    encode: Callable[[Any], Any]


class Heads:
    """Requests whose JSON was read before. When there are too many, all are forgotten.

    Args:
        any_name: the tensor's name does not matter.
    """

    __slots__ = ("_any_name", "_known")

    def __init__(self, *, any_name: bool) -> None:
        self._known: dict[bytes, Head] = {}
        self._any_name = any_name

    def find(self, raw: bytes, length: str) -> tuple[bytes, Head] | None:
        """The bytes after the JSON, and what it says."""
        at = int(length) if length.isascii() and length.isdigit() and len(length) < 5 else 0
        known = self._known.get(raw[:at])
        return (raw[at:], known) if known is not None and len(raw) - at == known.size else None

    def learn(self, raw: bytes, length: int, asked: Request, encode: Callable[[Any], Any]) -> None:
        """Remember the JSON of a request of one tensor, that asks for nothing that differs from request to request."""
        body, head = asked.body, raw[:length]
        if asked.id or length > _LONGEST or b"content_type" in head:
            return
        if type(body) is not Tensors or len(body.tensors) != 1:
            return
        (tensor,) = body.tensors
        dtype, shape, data = tensor.dtype, tensor.shape, tensor.data
        if dtype is None or not shape or dtype.kind not in _NUMBERS or type(data) is not np.ndarray or not data.size:
            return
        if data.dtype != dtype.numpy or data.nbytes != len(raw) - length or sys.byteorder != "little":
            return  # bfloat16 is float32 by now
        name = None if self._any_name else tensor.name
        key = Portion((Digits, "raw", name, dtype, shape[1:]), shape[0])
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[head] = Head(len(raw) - length, Form(shape, name, dtype, key, raw=dtype.numpy), asked, encode)


_NUMBERS: Final = frozenset(("float", "int", "uint"))
_LONGEST: Final = 2048
_KEPT: Final = 1024
