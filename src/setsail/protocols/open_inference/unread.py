"""Small requests whose one input is a list of numbers: what asks for nothing else is not read until it runs."""

from __future__ import annotations

from math import prod
from typing import Final

from setsail.errors import SetsailError
from setsail.messages import Digits, Form, Portion, Tensors
from setsail.protocols.digits import Memo
from setsail.protocols.open_inference.form import read
from setsail.protocols.open_inference.tensors import from_list
from setsail.tensors import BY_OIP

__all__ = ["ANY_NAME", "MEMO"]


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
