"""What wires ask and are told, as bytes for another process: plain msgpack, arrays as `setsail.tensorfile` writes them.

One row a kind of ask. Nothing in here can name code: an answer is decoded into the type its kind has, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct, field

from setsail import tensorfile
from setsail.catalog import (
    Ask,
    Card,
    Configure,
    Describe,
    Feedback,
    Index,
    IsLive,
    IsReady,
    Load,
    Locate,
    Metadata,
    ModelDescription,
    ModelMetadata,
    Register,
    Registered,
    Scale,
    SetDefault,
    Statistics,
    Status,
    Unload,
    Unregister,
    VersionStatistics,
    VersionStatus,
)  # fmt: skip
from setsail.messages import Body, Cells, Columns, Digits, ModelRef, Request, Response, Rows, Tensor, Tensors
from setsail.routing import PutRoute, Routed, Routes
from setsail.signature import Signature
from setsail.tensors import BY_NAME

__all__ = ["decode", "decode_answer", "encode", "encode_answer", "subject"]

Asked = Request | Ask


class _Contract(Struct):
    """A signature as its own JSON."""

    tensors: dict[str, Any]
    defaults: tuple[str, ...]

    @classmethod
    def of(cls, signature: Signature) -> _Contract:
        return cls(signature.to_json(), signature.defaults)

    def signature(self) -> Signature:
        return Signature.from_json(self.tensors, self.defaults)


class _Metadata(Struct):
    name: str
    version: int
    versions: tuple[int, ...]
    contract: _Contract
    framework: str
    max_batch: int | None
    example: dict[str, Any]
    others: dict[str, _Metadata] = field(default_factory=dict)


class _Tensor(Struct):
    """`values` where the data is Python's; otherwise the array is in the request's `arrays` under the name."""

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None
    values: Any = None
    array: bool = False


class _Tensors(Struct):
    tensors: list[_Tensor]
    ignore_unknown: bool
    loose: bool
    any_name: bool


class _Request(Struct):
    model: ModelRef
    shape: str  # which of the four bodies
    body: Any
    outputs: tuple[str, ...] | None
    signature: str
    id: str
    parameters: dict[str, Any]
    arrays: bytes = b""


class _Response(Struct):
    model: str
    version: int
    arrays: bytes
    names: tuple[str, ...]
    defaults: tuple[str, ...]
    contract: _Contract
    id: str = field(default="")


class _Kind(Struct):
    """One kind of ask: the structs it and its answer travel as, and the translations where those are not the same."""

    type: type
    question: Any
    answer: Any
    pack: Callable[[Any], Any] = lambda plain: plain
    unpack: Callable[[Any], Any] = lambda plain: plain
    pack_answer: Callable[[Any], Any] = lambda plain: plain
    unpack_answer: Callable[[Any], Any] = lambda plain: plain


def encode(ask: Asked) -> tuple[str, bytes]:
    """The kind of an ask, and its bytes. Raises KeyError for an ask that is nobody else's business."""
    name = type(ask).__name__
    return name, msgspec.msgpack.encode(_KINDS[name].pack(ask))


def decode(kind: str, data: bytes) -> Asked:
    """The inverse of `encode`. Raises KeyError or msgspec.DecodeError."""
    row = _KINDS[kind]
    asked: Asked = row.unpack(msgspec.msgpack.decode(data, type=row.question))
    return asked


def encode_answer(kind: str, answer: Any) -> bytes:
    return msgspec.msgpack.encode(_KINDS[kind].pack_answer(answer))


def decode_answer(kind: str, data: bytes) -> Any:
    row = _KINDS[kind]
    return row.unpack_answer(msgspec.msgpack.decode(data, type=row.answer))


def subject(ask: Asked) -> str:
    """What an ask that changes something is about: the model, or `model/version`; "" for all, and for no change."""
    if isinstance(ask, Register | Unregister | SetDefault | Scale):
        return ask.name if ask.version is None else f"{ask.name}/{ask.version}"
    return ask.name if isinstance(ask, Load | Unload | PutRoute) else ""


# -- the shapes that are not plain -----------------------------------------------------------------------------------


def _pack_metadata(meta: ModelMetadata) -> _Metadata:
    others = {name: _pack_metadata(other) for name, other in meta.others.items()}
    return _Metadata(meta.name, meta.version, meta.versions, _Contract.of(meta.signature), meta.framework,
                     meta.max_batch, dict(meta.example), others)  # fmt: skip


def _unpack_metadata(meta: _Metadata) -> ModelMetadata:
    others = {name: _unpack_metadata(other) for name, other in meta.others.items()}
    return ModelMetadata(meta.name, meta.version, meta.versions, meta.contract.signature(), meta.framework,
                         meta.max_batch, meta.example, others)  # fmt: skip


def _pack_request(request: Request) -> _Request:
    body, arrays = request.body, b""
    if isinstance(body, Digits):
        body = body.again()
    plain: Any
    if isinstance(body, Tensors):
        held = {t.name: t.data for t in body.tensors if isinstance(t.data, np.ndarray)}
        arrays = tensorfile.encode(held) if held else b""
        flags = (body.ignore_unknown, body.loose, body.any_name)
        plain = _Tensors([_pack_tensor(tensor) for tensor in body.tensors], *flags)
    else:
        plain = msgspec.to_builtins(body)
    return _Request(request.model, type(body).__name__, plain, request.outputs, request.signature, request.id,
                    dict(request.parameters), arrays)  # fmt: skip


def _pack_tensor(tensor: Tensor) -> _Tensor:
    dtype = tensor.dtype.name if tensor.dtype is not None else None
    array = isinstance(tensor.data, np.ndarray)
    return _Tensor(tensor.name, dtype, tensor.shape, None if array else tensor.data, array)


def _unpack_request(sent: _Request) -> Request:
    body: Body
    if sent.shape == "Tensors":
        arrays = tensorfile.decode(sent.arrays) if sent.arrays else {}
        told = msgspec.convert(sent.body, _Tensors)
        tensors = tuple([
            Tensor(t.name, arrays[t.name] if t.array else t.values, BY_NAME[t.dtype] if t.dtype else None, t.shape)
            for t in told.tensors
        ])  # fmt: skip
        body = Tensors(tensors, told.ignore_unknown, told.loose, told.any_name)
    else:
        body = msgspec.convert(sent.body, _BODIES[sent.shape])
    return Request(sent.model, body, sent.outputs, sent.signature, sent.id, sent.parameters)


def _pack_response(response: Response) -> _Response:
    return _Response(response.model, response.version, tensorfile.encode(response.outputs), tuple(response.outputs),
                     response.defaults, _Contract.of(response.signature), response.id)  # fmt: skip


def _unpack_response(sent: _Response) -> Response:
    arrays = tensorfile.decode(sent.arrays)
    outputs = {name: arrays[name] for name in sent.names}  # safetensors keeps an order of its own
    return Response(sent.model, sent.version, outputs, sent.defaults, sent.contract.signature(), sent.id)


_BODIES: Final[Mapping[str, Any]] = {"Rows": Rows, "Columns": Columns, "Cells": Cells}
_KINDS: Final[Mapping[str, _Kind]] = {
    row.type.__name__: row
    for row in (
        _Kind(IsLive, IsLive, bool),
        _Kind(IsReady, IsReady, bool),
        _Kind(Status, Status, tuple[VersionStatus, ...]),
        _Kind(Card, Card, tuple[tuple[str, tuple[str, ...]], ...]),
        _Kind(Index, Index, tuple[VersionStatus, ...]),
        _Kind(Statistics, Statistics, tuple[VersionStatistics, ...]),
        _Kind(Load, Load, None),
        _Kind(Unload, Unload, None),
        _Kind(Locate, Locate, Registered),
        _Kind(Register, Register, Registered),
        _Kind(Unregister, Unregister, bool),
        _Kind(SetDefault, SetDefault, None),
        _Kind(Scale, Scale, ModelDescription),
        _Kind(Describe, Describe, tuple[ModelDescription, ...]),
        _Kind(Configure, Configure, tuple[VersionStatus, ...]),
        _Kind(Routes, Routes, tuple[Routed, ...]),
        _Kind(PutRoute, PutRoute, Routed),
        _Kind(Feedback, Feedback, tuple[str, ...]),
        _Kind(Metadata, Metadata, _Metadata, pack_answer=_pack_metadata, unpack_answer=_unpack_metadata),
        _Kind(Request, _Request, _Response, _pack_request, _unpack_request, _pack_response, _unpack_response),
    )
}
