"""Every gRPC method, by its path: the one table that the engines, reflection and documentation read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from setsail.protocols.grpc import health, inference, metadata, reflection, repository, statistics, unsupported
from setsail.protocols.grpc.method import EACH, UNARY, WATCH, WIRE, Exchange, Method, fault_metadata, status_of
from setsail.protocols.grpc.templates import named
from setsail.protocols.grpc.tf_serving.methods import ROWS as TF_SERVING
from setsail.protocols.grpc.torchserve.inference import METHODS as TORCHSERVE
from setsail.protocols.grpc.torchserve.management import METHODS as TORCHSERVE_MANAGEMENT

__all__ = ["METHODS", "WIRE", "Exchange", "Method", "fault_metadata", "status_of"]

Decode = Callable[[bytes | memoryview], Exchange]

_OIP: Final[Mapping[str, Decode]] = {
    "ModelReady": metadata.model_ready,
    "ServerMetadata": metadata.server_metadata,
    "ModelMetadata": metadata.model_metadata,
    "ModelConfig": metadata.model_config,
    "ModelStatistics": statistics.model_statistics,
    "RepositoryIndex": repository.index,
    "RepositoryModelLoad": repository.load,
    "RepositoryModelUnload": repository.unload,
    **{name: unsupported.refuse(name) for name in unsupported.REFUSED},
}


def _table() -> dict[str, Method]:
    oip, health_path = "/inference.GRPCInferenceService/", "/grpc.health.v1.Health/"
    rows = [Method(oip + name, UNARY, decode) for name, decode in _OIP.items()]
    rows += [
        Method(oip + "ServerLive", UNARY, metadata.server_live, keyless=True),
        Method(oip + "ServerReady", UNARY, metadata.server_ready, keyless=True),
        Method(oip + "ModelInfer", UNARY, inference.model_infer, model=named),
        Method(oip + "ModelStreamInfer", EACH, inference.stream_infer, inference.stream_fault, model=named),
        Method(health_path + "Check", UNARY, health.check, keyless=True),
        Method(health_path + "List", UNARY, health.listing, keyless=True),
        Method(health_path + "Watch", WATCH, health.watch, keyless=True),
    ]
    for version in reflection.VERSIONS:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        rows.append(Method(path, EACH, reflection.info(version), reflection.fault_renderer(version)))
    rows += TF_SERVING
    rows += TORCHSERVE
    rows += TORCHSERVE_MANAGEMENT
    return {row.path: row for row in rows}


METHODS: Final[Mapping[str, Method]] = _table()
