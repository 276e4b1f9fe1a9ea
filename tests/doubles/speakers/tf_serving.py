"""TensorFlow Serving and KServe V1."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.protocols.grpc.pool import message
from setsail.tensors import DTYPES, Array
from speakers.http_wires import defaults
from speakers.oip import kind_of
from speakers.speaking import Ask, Heard, Said, Speaker, back, dumps, lists, rows_of

__all__ = ["SPEAKERS"]


def _path(ask: Ask) -> str:
    return f"/v1/models/{ask.model}" + (f"/versions/{ask.version}" if ask.version else "") + ":predict"


def _body(ask: Ask, **body: Any) -> Said:
    return Said(_path(ask), dumps(({"signature_name": ask.name} if ask.name else {}) | body))


def _rows(ask: Ask) -> Said:
    return _body(ask, instances=rows_of(ask.inputs, null=True))


def _columns(ask: Ask) -> Said:
    return _body(ask, inputs={name: lists(array) for name, array in ask.inputs.items()})


def _rows_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    return defaults(ask, heard.json()["predictions"])


def _columns_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    told, names = heard.json()["outputs"], ask.signature.defaults
    named = {names[0]: told} if len(names) == 1 else told
    return {name: back(ask.signature.output(name), data) for name, data in named.items()}


# -- gRPC --------------------------------------------------------------------------------------------------------------

PREDICT = "/tensorflow.serving.PredictionService/Predict"
FIELDS = {
    "bool": "bool_val", "uint8": "int_val", "uint16": "int_val", "int8": "int_val", "int16": "int_val",
    "int32": "int_val", "uint32": "uint32_val", "int64": "int64_val", "uint64": "uint64_val", "float16": "half_val",
    "float32": "float_val", "float64": "double_val", "string": "string_val",
}  # fmt: skip


def _request(ask: Ask, content: bool) -> Said:
    asked = message("tensorflow.serving.PredictRequest")()
    asked.model_spec.name, asked.model_spec.signature_name = ask.model, ask.name
    if ask.version:
        asked.model_spec.version.value = int(ask.version)
    asked.output_filter.extend(ask.outputs or ())
    for name, array in ask.inputs.items():
        tensor, dtype = asked.inputs[name], kind_of(array)
        tensor.dtype = dtype.tf_number
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        if content:
            tensor.tensor_content = _content(array)
        else:
            getattr(tensor, FIELDS[dtype.name]).extend(_values(array))
    return Said(PREDICT, asked.SerializeToString(), grpc=True)


def _values(array: Array) -> list[Any]:
    if array.dtype == object:
        return [text.encode() for text in array.ravel()]
    values: list[Any] = (array.view(np.uint16) if array.dtype == np.float16 else array).ravel().tolist()
    return values


def _content(array: Array) -> bytes:
    """Texts are all their lengths as varints, then all their bytes."""
    if array.dtype != object:
        return array.tobytes()
    texts = [text.encode() for text in array.ravel()]
    assert all(len(text) < 128 for text in texts)
    return bytes(map(len, texts)) + b"".join(texts)


def _tensors(ask: Ask, heard: Heard) -> dict[str, Array]:
    told = message("tensorflow.serving.PredictResponse").FromString(heard.body)
    order = [spec.name for spec in ask.signature.outputs if spec.name in told.outputs]
    return {name: _array(told.outputs[name]) for name in order}


def _array(tensor: Any) -> Array:
    dtype = next(d for d in DTYPES if d.tf_number == tensor.dtype)
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype.numpy).reshape(shape)
    values = list(getattr(tensor, FIELDS[dtype.name]))
    if dtype.kind == "string":
        made = np.empty(len(values), object)
        made[:] = [value.decode() for value in values]
        return made.reshape(shape)
    if dtype.name == "float16":
        return np.array(values, np.uint16).view(np.float16).reshape(shape)
    return np.array(values, dtype.numpy).reshape(shape)


_REST: dict[str, Any] = {"wire": "tf-serving", "page": "tf-serving", "outputs": "default", "signatures": True}
_GRPC: dict[str, Any] = {
    "wire": "tf-serving-grpc", "page": "tf-serving-grpc", "hear": _tensors, "signatures": True, "filters": True,
    "client": "tensorflow-serving-api 2.20", "error": lambda heard: heard.headers["grpc-message"],
    "missing_text": False, "outputs": "default", "odd": {"range": "input.dtype"},
}  # fmt: skip

SPEAKERS = (
    Speaker(name="TF Serving REST, instances", client="requests 2.34", say=_rows, hear=_rows_answer, **_REST),
    Speaker(name="TF Serving REST, inputs", client="requests 2.34", say=_columns, hear=_columns_answer,
            odd={"extra": ""}, **_REST),
    Speaker(name="TF Serving gRPC, typed", say=lambda ask: _request(ask, False), **_GRPC),
    Speaker(name="TF Serving gRPC, content", say=lambda ask: _request(ask, True), **_GRPC),
)  # fmt: skip
