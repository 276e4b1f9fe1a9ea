"""`ModelInfer` and `ModelStreamInfer`: tensors as raw bytes or as typed contents in, raw bytes out.

The bytes are those of the REST wire's binary extension. A stream's messages are requests of their own: a fault is the
answer to the one message it is about, and the stream goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Request, Tensor, Tensors
from setsail.protocols import binary
from setsail.protocols.grpc.answers import FINAL, Answer
from setsail.protocols.grpc.method import Exchange, model_ref, status_of
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.templates import Templates, Typed
from setsail.protocols.open_inference import classification, content_types
from setsail.protocols.open_inference.refusals import LAST_RESPONSE, refuse_parameters, signature_of
from setsail.protocols.open_inference.tensors import BF16, datatype, from_bytes, shape

__all__ = ["model_infer", "request", "stream_fault", "stream_infer"]

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
_TYPED: Final = Typed()
_NOTHING: Final[Mapping[str, Any]] = {}


class _Asked(NamedTuple):
    """A message as protobuf and the protocol's parameters have it.

    Attributes:
        classes: outputs that are asked for as so many classes.
        typed: outputs say their content types (MLServer).
        regular: everything of the request but its id and the tensors' bytes follows from its other fields, and those
            bytes are the tensors'.
    """

    request: Request
    classes: Mapping[str, int] = _NOTHING
    typed: bool = False
    regular: bool = True


def model_infer(data: bytes | memoryview) -> Exchange:
    return _exchange(data, False)


def stream_infer(data: bytes | memoryview) -> Exchange:
    return _exchange(data, True)


def _exchange(data: bytes | memoryview, stream: bool) -> Exchange:
    known = _TYPED.request(data) or _TEMPLATES.request(data)
    if known is not None:
        return Exchange(known, Answer(known.id, known.outputs, stream).encode)
    asked = _read(data)  # what no template knows is read by protobuf; the next message like it is one that is known
    found = asked.request
    if asked.regular:
        _TEMPLATES.learn(data, found)
        _TYPED.learn(data, found)
    return Exchange(found, Answer(found.id, found.outputs, stream, asked.classes, asked.typed).encode)


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
    return _read(data).request


def _read(data: bytes | memoryview) -> _Asked:
    asked = parse(message("inference.ModelInferRequest"), data)
    ref = model_ref(asked.model_name, asked.model_version)
    parameters = _parameters(asked.parameters)
    inputs = [_parameters(item.parameters) for item in asked.inputs]
    outputs = [(item.name, _parameters(item.parameters)) for item in asked.outputs]
    named = [(item.name, own) for item, own in zip(asked.inputs, inputs, strict=True)]
    refuse_parameters([*named, *outputs], parameters, allowed=LAST_RESPONSE)
    classes = {name: k for name, own in outputs if own and (k := classification.count(name, own))}
    for name, own in outputs:
        content_types.of_output(name, own.get(content_types.KEY))
    tensors, typed = _tensors(asked), any(content_types.KEY in own for own in (parameters, *inputs))
    if typed:
        kinds = [own.get(content_types.KEY) for own in inputs]
        whole = parameters.get(content_types.KEY)
        tensors = tuple(content_types.decoded(t, kind, whole) for t, kind in zip(tensors, kinds, strict=True))
    wanted = tuple(item.name for item in asked.outputs) or None
    regular = not (classes or typed or any(item.datatype == BF16 for item in asked.inputs))
    found = Request(ref, Tensors(tensors), wanted, signature_of(parameters), asked.id, parameters)
    return _Asked(found, classes, typed, regular)


def _parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    chosen = ((name, parameter, parameter.WhichOneof("parameter_choice")) for name, parameter in found.items())
    return {name: getattr(parameter, choice) for name, parameter, choice in chosen if choice is not None}


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
    return from_bytes(item.name, item.datatype, item.shape, memoryview(contents))


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
    return Tensor(item.name, binary.narrowed(item.name, dtype, array, dtype.oip), dtype, sizes)
