"""What the server and its models are: metadata, configuration, statistics, names."""

from __future__ import annotations

from typing import Any, Final

from setsail.catalog import Index, Metadata, ModelMetadata, ServerInfo, Statistics, VersionStatistics, VersionStatus
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.open_inference.configuration import configuration, properties
from setsail.protocols.open_inference.figures import figures
from setsail.protocols.open_inference.server import EXTENSIONS, SERVER_NAME, server_version
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.values import dump
from setsail.signature import TensorSpec

__all__ = ["config", "metadata", "metadata_json", "names", "server", "statistics"]

# What Triton prints beside the fields that gRPC has here too: a client that walks over all of them finds them.
_OF_INPUT: Final = {"format": "FORMAT_NONE", "is_shape_tensor": False, "allow_ragged_batch": False, "optional": False}
_OF_OUTPUT: Final = {"label_filename": "", "is_shape_tensor": False}


def _ok(value: Any) -> HttpReply:
    return HttpReply(200, dump(value), JSON_HEADERS)


def server(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: object) -> HttpReply:
        return _ok({"name": SERVER_NAME, "version": server_version(), "extensions": EXTENSIONS})

    return Exchange(ServerInfo(), encode)


def metadata(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Metadata(model_ref(params)), lambda answer: _ok(metadata_json(answer)))


def metadata_json(meta: ModelMetadata) -> dict[str, Any]:
    """A model's metadata; -1 stands for a free dimension."""

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": s.name, "datatype": s.dtype.oip, "shape": s.oip_shape()} for s in specs]

    return {
        "name": meta.name,
        "versions": [str(v) for v in meta.versions],
        "platform": meta.framework,
        "inputs": tensors(meta.signature.inputs),
        "outputs": tensors(meta.signature.outputs),
        **({"properties": properties(meta)} if meta.others else {}),
    }


def config(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Metadata(model_ref(params)), lambda answer: _ok(_config_json(answer)))


def _config_json(meta: ModelMetadata) -> dict[str, Any]:
    found = configuration(meta)
    return {
        **found,
        "version_policy": {"all": {}},
        "input": [item | _OF_INPUT for item in found["input"]],
        "output": [item | _OF_OUTPUT for item in found["output"]],
    }


def statistics(request: HttpRequest, params: Params) -> Exchange:
    """Of the version in the path, of all ready ones of a name, or without a name of everything."""

    def encode(answer: tuple[VersionStatistics, ...]) -> HttpReply:
        return _ok({"model_stats": [figures(row) for row in answer]})

    return Exchange(Statistics(model_ref(params) if "model" in params else None), encode)


def names(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return _ok({"models": list(dict.fromkeys(s.name for s in answer))})

    return Exchange(Index(), encode)
