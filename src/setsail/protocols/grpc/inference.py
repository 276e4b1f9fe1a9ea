"""`ModelInfer` and `ModelStreamInfer`: tensors as raw bytes or as typed contents in, raw bytes out.

The bytes are those of the REST wire's binary extension. A stream's messages are requests of their own: a fault is the
answer to the one message it is about, and the stream goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Request, Tensor, Tensors
from setsail.protocols import binary
from setsail.protocols.grpc.answers import FINAL, Answer
from setsail.protocols.grpc.method import Exchange, model_ref, status_of
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.templates import Templates
from setsail.protocols.oip import datatype, refuse_extensions, shape
from setsail.tensors import Array, DType

__all__ = ["model_infer", "request", "stream_fault", "stream_infer"]

ALLOWED: Final = "triton_enable_empty_final_response"  # every answer here is a request's only and last one
_RESERVED: Final = "triton_"
_FIELDS: Final[Mapping[str, tuple[str, str]]] = {  # datatype -> its contents field, and the dtype the field holds
    "BOOL": ("bool_contents", "bool"),
    **dict.fromkeys(("INT8", "INT16", "INT32"), ("int_contents", "int32")),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), ("uint_contents", "uint32")),
    "INT64": ("int64_contents", "int64"),
    "UINT64": ("uint64_contents", "uint64"),
    "FP32": ("fp32_contents", "float32"),
    "FP64": ("fp64_contents", "float64"),
    "BYTES": ("bytes_contents", "object"),
}


_TEMPLATES: Final = Templates()


def model_infer(data: bytes | memoryview) -> Exchange:
    asked = _TEMPLATES.request(data) or _read(data)
    return Exchange(asked, Answer(asked.id, asked.outputs, False).encode)


def stream_infer(data: bytes | memoryview) -> Exchange:
    asked = _TEMPLATES.request(data) or _read(data)
    return Exchange(asked, Answer(asked.id, asked.outputs, True).encode)


def _read(data: bytes | memoryview) -> Request:
    """What no template knows, read by protobuf; the next message like it is."""
    asked = request(data)
    _TEMPLATES.learn(data, asked)
    return asked


def stream_fault(fault: SetsailError, data: bytes | memoryview) -> bytes:
    """A fault as the answer to one message of a stream; what can be read of the message says which one."""
    answer = message("inference.ModelStreamInferResponse")(error_message=status_of(fault)[1])
    try:
        asked = parse(message("inference.ModelInferRequest"), data)
    except SetsailError:
        asked = message("inference.ModelInferRequest")()
    inner = answer.infer_response
    inner.id, inner.model_name, inner.model_version = asked.id, asked.model_name, asked.model_version
    inner.parameters[FINAL].bool_param = True
    told: bytes = answer.SerializeToString(deterministic=True)
    return told


# -- the request -------------------------------------------------------------------------------------------------------


def request(data: bytes | memoryview) -> Request:
    """A message of any form as a request.

    Raises:
        SetsailError: `request.malformed`, `request.form`, `request.binary`, `request.unsupported`, `model.version`,
            `input.dtype`, `input.shape` or `input.range`.
    """
    asked = parse(message("inference.ModelInferRequest"), data)
    ref = model_ref(asked.model_name, asked.model_version)
    parameters = _parameters(asked.parameters)
    items = [(item.name, item.parameters) for item in (*asked.inputs, *asked.outputs)]
    refuse_extensions(items, parameters)
    wanted = tuple(item.name for item in asked.outputs) or None
    return Request(ref, Tensors(_tensors(asked)), wanted, id=asked.id, parameters=parameters)


def _parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in found.items():
        choice = parameter.WhichOneof("parameter_choice")
        if name.startswith(_RESERVED) and name != ALLOWED:
            raise SetsailError(
                "request.form", f"parameter {name!r} is reserved", field=f"parameters.{name}",
                expected=f"no parameter that begins with {_RESERVED}, but {ALLOWED}",
            )  # fmt: skip
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def _tensors(asked: Any) -> tuple[Tensor, ...]:
    inputs, raw = asked.inputs, asked.raw_input_contents
    if not raw:
        return tuple(_typed(item) for item in inputs)
    if len(raw) != len(inputs):
        raise SetsailError(
            "request.binary",
            f"{len(raw)} raw_input_contents came for {len(inputs)} inputs",
            field="raw_input_contents",
            value=len(raw),
            expected=f"{len(inputs)}: one an input, in their order",
        )
    return tuple(_raw(item, contents) for item, contents in zip(inputs, raw, strict=True))


def _raw(item: Any, contents: bytes) -> Tensor:
    if item.HasField("contents"):
        raise SetsailError(
            "request.form",
            f"input {item.name!r} has contents, and the request raw_input_contents",
            field=f"{item.name}.contents",
            expected="one of them, for all inputs",
        )
    dtype, sizes = datatype(item.name, item.datatype), shape(item.name, item.shape)
    return Tensor(item.name, binary.unpack(item.name, dtype, sizes, memoryview(contents)), dtype, sizes)


def _typed(item: Any) -> Tensor:
    """A tensor whose values are in `contents`, in the field of its datatype and in no other."""
    dtype, sizes = datatype(item.name, item.datatype), shape(item.name, item.shape)
    field, held = _FIELDS.get(dtype.oip, ("", ""))
    for found, _ in item.contents.ListFields():
        if found.name != field:
            raise SetsailError(
                "request.form",
                f"input {item.name!r} is {dtype.oip}, and has {found.name}",
                field=f"{item.name}.contents.{found.name}",
                expected=field or "raw_input_contents",
            )
    if not field:
        raise SetsailError(
            "request.form", f"input {item.name!r} is {dtype.oip}, which no field of contents holds",
            field=f"{item.name}.contents", expected="raw_input_contents",
        )  # fmt: skip
    values = list(getattr(item.contents, field))
    array = np.empty(len(values), dtype=held)
    array[:] = values
    return Tensor(item.name, _narrowed(item.name, dtype, array), dtype, sizes)


def _narrowed(name: str, dtype: DType, array: Array) -> Array:
    """The small integers travel as 32 bits."""
    if dtype.kind == "string" or array.dtype == dtype.numpy:
        return array
    cast = array.astype(dtype.numpy)
    if not np.array_equal(cast, array):
        raise SetsailError(
            "input.range", f"input {name!r} is declared {dtype.oip} and has values outside it", field=name,
            value=array[cast != array][0].item(), expected=f"values of {dtype.oip}",
        )  # fmt: skip
    return cast
