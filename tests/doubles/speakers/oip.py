"""Open Inference Protocol, REST and gRPC."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from setsail.protocols import binary
from setsail.protocols.grpc.pool import message
from setsail.tensors import BY_OIP, Array, DType, dtype_of
from speakers.speaking import Ask, Heard, Said, Speaker, back, dumps, lists

__all__ = ["SPEAKERS"]

INFER = "/inference.GRPCInferenceService/ModelInfer"
FIELDS = {
    "bool": "bool_contents", "uint8": "uint_contents", "uint16": "uint_contents", "uint32": "uint_contents",
    "uint64": "uint64_contents", "int8": "int_contents", "int16": "int_contents", "int32": "int_contents",
    "int64": "int64_contents", "float32": "fp32_contents", "float64": "fp64_contents", "string": "bytes_contents",
}  # fmt: skip


def kind_of(array: Array) -> DType:
    found = dtype_of(array)
    assert found is not None
    return found


def _path(ask: Ask) -> str:
    return f"/v2/models/{ask.model}" + (f"/versions/{ask.version}" if ask.version else "") + "/infer"


def _wanted(ask: Ask) -> dict[str, Any]:
    return {"outputs": [{"name": name} for name in ask.outputs]} if ask.outputs else {}


def _tensor(name: str, array: Array, **rest: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": kind_of(array).oip, **rest}


def _json(ask: Ask) -> Said:
    tensors = [_tensor(name, array, data=lists(array)) for name, array in ask.inputs.items()]
    return Said(_path(ask), dumps({"inputs": tensors} | _wanted(ask)))


def _json_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    return {o["name"]: back(ask.signature.output(o["name"]), o["data"], o["shape"]) for o in heard.json()["outputs"]}


def _binary(ask: Ask) -> Said:
    blobs = [bytes(binary.pack(array)) for array in ask.inputs.values()]
    tensors = [
        _tensor(name, array, parameters={"binary_data_size": len(blob)})
        for (name, array), blob in zip(ask.inputs.items(), blobs, strict=True)
    ]
    head = dumps({"inputs": tensors, "parameters": {"binary_data_output": True}} | _wanted(ask))
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return Said(_path(ask), head + b"".join(blobs), headers)


def _binary_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    at = int(heard.headers["inference-header-content-length"])
    found = {}
    for output in json.loads(heard.body[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = unpacked(output["datatype"], output["shape"], heard.body[at : at + size])
        at += size
    assert at == len(heard.body)
    return found


def unpacked(datatype: str, shape: Any, data: bytes) -> Array:
    dtype = BY_OIP[datatype]
    array = binary.unpack("y", dtype, tuple(shape), memoryview(data))
    if dtype.kind != "string":
        return array
    texts = np.empty(array.size, object)
    texts[:] = [v.decode() if isinstance(v, bytes) else v for v in array.ravel()]
    return texts.reshape(array.shape)


def _request(ask: Ask) -> Any:
    asked = message("inference.ModelInferRequest")(model_name=ask.model, model_version=ask.version)
    for name in ask.outputs or ():
        asked.outputs.add(name=name)
    return asked


def _raw(ask: Ask) -> Said:
    asked = _request(ask)
    for name, array in ask.inputs.items():
        asked.inputs.add(name=name, datatype=kind_of(array).oip, shape=array.shape)
        asked.raw_input_contents.append(bytes(binary.pack(array)))
    return Said(INFER, asked.SerializeToString(), grpc=True)


def _typed(ask: Ask) -> Said:
    asked = _request(ask)
    for name, array in ask.inputs.items():
        made = asked.inputs.add(name=name, datatype=kind_of(array).oip, shape=array.shape)
        values = [v.encode() for v in array.ravel()] if array.dtype == object else array.ravel().tolist()
        if field := FIELDS.get(kind_of(array).name):
            getattr(made.contents, field).extend(values)
    return Said(INFER, asked.SerializeToString(), grpc=True)


def _grpc_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    told = message("inference.ModelInferResponse").FromString(heard.body)
    pairs = zip(told.outputs, told.raw_output_contents, strict=True)
    return {output.name: unpacked(output.datatype, output.shape, raw) for output, raw in pairs}


_ODD = {"range": "input.dtype"}  # INT64 is declared, whatever the value
_REST: dict[str, Any] = {"wire": "open-inference", "page": "open-inference", "filters": True, "odd": _ODD}
_GRPC: dict[str, Any] = {
    "wire": "open-inference-grpc", "page": "open-inference-grpc", "filters": True, "odd": _ODD, "hear": _grpc_answer,
    "error": lambda heard: heard.headers["grpc-message"], "missing_text": False,
}  # fmt: skip

SPEAKERS = (
    Speaker(name="OIP REST, JSON", client="kserve 0.21 InferenceRESTClient", say=_json, hear=_json_answer, **_REST),
    Speaker(name="OIP REST, binary", client="tritonclient 2.73 http", say=_binary, hear=_binary_answer,
            missing_text=False, **_REST),
    Speaker(name="OIP gRPC, raw", client="tritonclient 2.73 grpc", say=_raw, **_GRPC),
    Speaker(name="OIP gRPC, typed", client="grpcio 1.85 stubs", say=_typed,
            lacks={"float16": "request.form"}, **_GRPC),
)  # fmt: skip
