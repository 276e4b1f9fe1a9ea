"""TorchServe's inference API, REST and gRPC, and GraphPipe: the default output (or all) of the rows that are sent."""

from __future__ import annotations

import json
from typing import Any

import flatbuffers
import numpy as np

from setsail.protocols.grpc.pool import message
from setsail.tensors import BY_NAME, Array
from speakers.http_wires import defaults
from speakers.oip import kind_of
from speakers.speaking import Ask, Heard, Said, Speaker, dumps, rows_of

__all__ = ["SPEAKERS"]

SERVICE = "org.pytorch.serve.grpc.inference"


def _path(ask: Ask) -> str:
    return f"/predictions/{ask.model}" + (f"/{ask.version}" if ask.version else "")


def _rest(ask: Ask) -> Said:
    return Said(_path(ask), dumps(rows_of(ask.inputs, null=True)), {"content-type": "application/json"})


def _rest_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    return defaults(ask, heard.json())


def _grpc(ask: Ask) -> Said:
    asked = message(f"{SERVICE}.PredictionsRequest")(model_name=ask.model, model_version=ask.version)
    asked.input["data"] = dumps(rows_of(ask.inputs, null=True))
    return Said(f"/{SERVICE}.InferenceAPIsService/Predictions", asked.SerializeToString(), grpc=True)


def _grpc_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    told = message(f"{SERVICE}.PredictionResponse").FromString(heard.body)
    return defaults(ask, json.loads(told.prediction))


# -- GraphPipe, by Google's own flatbuffers ----------------------------------------------------------------------------

TYPES = ("", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
         "string")  # fmt: skip


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _tensor(builder: Any, array: Array) -> int:
    name = "uint8" if array.dtype == bool else kind_of(array).name
    texts = data = None
    if name == "string":
        texts = _vector(builder, [builder.CreateString(text) for text in array.ravel().tolist()])
    else:
        data = builder.CreateByteVector(np.ascontiguousarray(array).tobytes())
    builder.StartVector(8, array.ndim, 8)
    for size in reversed(array.shape):
        builder.PrependInt64(size)
    shape = builder.EndVector()
    builder.StartObject(4)
    builder.PrependUint8Slot(0, TYPES.index(name), 0)
    builder.PrependUOffsetTRelativeSlot(1, shape, 0)
    for slot, offset in ((2, data), (3, texts)):
        if offset is not None:
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _graphpipe(ask: Ask) -> Said:
    builder = flatbuffers.Builder(1024)
    names = _vector(builder, [builder.CreateString(name) for name in ask.inputs])
    wanted = _vector(builder, [builder.CreateString(name) for name in ask.outputs or ()])
    tensors = _vector(builder, [_tensor(builder, array) for array in ask.inputs.values()])
    config = builder.CreateString(json.dumps({"version": int(ask.version)}) if ask.version else "")
    builder.StartObject(4)
    for slot, offset in enumerate((config, names, tensors, wanted)):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    infer = builder.EndObject()
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, infer, 0)
    builder.Finish(builder.EndObject())
    return Said(f"/graphpipe/{ask.model}", bytes(builder.Output()))


def _graphpipe_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    from flatbuffers import number_types as kinds
    from flatbuffers.table import Table

    def field(table: Any, slot: int) -> Any:
        return table.Offset(4 + 2 * slot)

    body = bytearray(heard.body)
    root = Table(body, flatbuffers.encode.Get(flatbuffers.packer.uoffset, body, 0))
    held, found = field(root, 0), {}
    names = ask.outputs or ask.signature.defaults
    assert root.VectorLen(held) == len(names)
    assert not (field(root, 1) and root.VectorLen(field(root, 1)))  # no errors
    for index, name in enumerate(names):
        table = Table(body, root.Indirect(root.Vector(held) + 4 * index))
        kind = TYPES[table.Get(kinds.Uint8Flags, field(table, 0) + table.Pos)]
        shape = table.GetVectorAsNumpy(kinds.Int64Flags, field(table, 1)).tolist()
        if kind == "string":
            start, count = table.Vector(field(table, 3)), table.VectorLen(field(table, 3))
            texts = np.empty(count, object)
            texts[:] = [table.String(start + 4 * i).decode() for i in range(count)]
            found[name] = texts.reshape(shape)
            continue
        raw = table.GetVectorAsNumpy(kinds.Uint8Flags, field(table, 2)).tobytes()
        array = np.frombuffer(raw, BY_NAME[kind].numpy).reshape(shape)
        found[name] = array.astype(ask.signature.output(name).dtype.numpy) if kind == "uint8" else array
    return found


_TORCHSERVE: dict[str, Any] = {"page": "torchserve", "outputs": "default"}

SPEAKERS = (
    Speaker(name="TorchServe REST", wire="torchserve", client="curl -T, requests 2.34", say=_rest, hear=_rest_answer,
            error=lambda heard: str(heard.json()["message"]), **_TORCHSERVE),
    Speaker(name="TorchServe gRPC", wire="torchserve-grpc", client="grpcio 1.85 stubs", say=_grpc, hear=_grpc_answer,
            error=lambda heard: heard.headers["grpc-message"], faulty=frozenset((13,)), **_TORCHSERVE),
    Speaker(name="GraphPipe", wire="graphpipe", page="graphpipe", client="graphpipe 1.0.4", say=_graphpipe,
            hear=_graphpipe_answer, error=lambda heard: heard.body.decode(), outputs="default", filters=True,
            missing_text=False, carried_as={"bool": "as uint8"},
            odd={"range": "input.dtype"}),
)  # fmt: skip
