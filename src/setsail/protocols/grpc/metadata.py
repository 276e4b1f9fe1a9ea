"""What the server and its models are: live, ready, metadata, and the configuration that follows from a signature."""

from __future__ import annotations

from typing import Any

from setsail.catalog import IsLive, IsReady, Metadata, ModelMetadata, ServerInfo
from setsail.protocols.grpc.method import Exchange, model_ref
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.open_inference.configuration import configuration
from setsail.protocols.open_inference.server import EXTENSIONS, SERVER_NAME, server_version
from setsail.signature import TensorSpec

__all__ = ["model_config", "model_metadata", "model_ready", "server_live", "server_metadata", "server_ready"]


def server_live(data: bytes | memoryview) -> Exchange:
    parse(message("inference.ServerLiveRequest"), data)
    answer = message("inference.ServerLiveResponse")
    return Exchange(IsLive(), lambda live: answer(live=live).SerializeToString())


def server_ready(data: bytes | memoryview) -> Exchange:
    parse(message("inference.ServerReadyRequest"), data)
    answer = message("inference.ServerReadyResponse")
    return Exchange(IsReady(), lambda ready: answer(ready=ready).SerializeToString())


def model_ready(data: bytes | memoryview) -> Exchange:
    asked = parse(message("inference.ModelReadyRequest"), data)
    answer = message("inference.ModelReadyResponse")
    ask = IsReady(model_ref(asked.name, asked.version), lenient=True)
    return Exchange(ask, lambda ready: answer(ready=ready).SerializeToString())


def server_metadata(data: bytes | memoryview) -> Exchange:
    parse(message("inference.ServerMetadataRequest"), data)
    answer = message("inference.ServerMetadataResponse")

    def encode(_: object) -> bytes:
        told: bytes = answer(name=SERVER_NAME, version=server_version(), extensions=EXTENSIONS).SerializeToString()
        return told

    return Exchange(ServerInfo(), encode)


def model_metadata(data: bytes | memoryview) -> Exchange:
    asked = parse(message("inference.ModelMetadataRequest"), data)
    return Exchange(Metadata(model_ref(asked.name, asked.version)), _metadata)


def _metadata(meta: ModelMetadata) -> bytes:
    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": s.name, "datatype": s.dtype.oip, "shape": s.oip_shape()} for s in specs]

    told: bytes = message("inference.ModelMetadataResponse")(
        name=meta.name, versions=[str(v) for v in meta.versions], platform=meta.framework,
        inputs=tensors(meta.signature.inputs), outputs=tensors(meta.signature.outputs),
    ).SerializeToString()  # fmt: skip
    return told


def model_config(data: bytes | memoryview) -> Exchange:
    asked = parse(message("inference.ModelConfigRequest"), data)
    return Exchange(Metadata(model_ref(asked.name, asked.version)), _config)


def _config(meta: ModelMetadata) -> bytes:
    found = configuration(meta)
    parameters = found.pop("parameters", {})
    told = message("inference.ModelConfigResponse")(config=found)
    for name, value in parameters.items():
        told.config.parameters[name].string_value = value["string_value"]
    written: bytes = told.SerializeToString()
    return written
