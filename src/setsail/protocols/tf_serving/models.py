"""Status and metadata of a model, as TensorFlow Serving writes them and, where paths are shared, as KServe does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setsail.catalog import STATES, Index, IsLive, Metadata, ModelMetadata, Status, VersionStatus
from setsail.messages import ModelRef
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.tf_serving.wire import answered
from setsail.protocols.values import dump
from setsail.signature import DEFAULT, Signature, TensorSpec

__all__ = ["METHOD_NAME", "alive", "metadata", "metadata_json", "names", "signatures_of", "status", "union"]

METHOD_NAME = "tensorflow/serving/predict"


def status(request: HttpRequest, params: Params) -> Exchange:
    """The original's body. A label in the path is not looked at: it shows all versions, as there."""
    return Exchange(Status(_asked(params)), lambda answer: answered(dump(_states(answer))))


def union(request: HttpRequest, params: Params) -> Exchange:
    """The bodies of both servers in one; 503 while no version is ready, as KServe has it."""
    name = params["model"]

    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        ready = any(s.ready for s in answer)
        return HttpReply(200 if ready else 503, dump({"name": name, "ready": ready, **_states(answer)}), JSON_HEADERS)

    return Exchange(Status(_asked(params)), encode)


def _asked(params: Params) -> ModelRef:
    return model_ref({name: value for name, value in params.items() if name != "label"})


def _states(found: tuple[VersionStatus, ...]) -> dict[str, Any]:
    return {"model_version_status": [_state(version) for version in found]}


def _state(version: VersionStatus) -> dict[str, Any]:
    """One entry; int64 is text, as protobuf's JSON has it."""
    code = "INTERNAL" if version.state == "failed" else "OK"
    return {
        "version": str(version.version),
        "state": STATES[version.state].tf,
        "status": {"error_code": code, "error_message": version.reason},
    }


def metadata(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Metadata(model_ref(params)), lambda answer: answered(dump(metadata_json(answer))))


def metadata_json(meta: ModelMetadata) -> dict[str, Any]:
    """`signature_def` is nested twice, as the original's is."""
    signatures = {
        name: _signature_def(
            {s.name: _tensor_info(s) for s in signature.inputs}, {s.name: _tensor_info(s) for s in outputs}
        )
        for name, (signature, outputs) in signatures_of(meta).items()
    }
    return {
        "model_spec": {"name": meta.name, "signature_name": "", "version": str(meta.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def signatures_of(meta: ModelMetadata) -> dict[str, tuple[Signature, tuple[TensorSpec, ...]]]:
    """The signatures a model has here, and what each answers: one for every output of the default one, that one, and
    the model's others, whose names come before outputs'."""
    found = {spec.name: (meta.signature, (spec,)) for spec in meta.signature.outputs}
    whole = {DEFAULT: meta, **meta.others}
    return found | {
        name: (one.signature, tuple(one.signature.output(n) for n in one.signature.defaults))
        for name, one in whole.items()
    }


def _signature_def(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "method_name": METHOD_NAME, "defaults": {}}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(d), "name": ""} for d in spec.oip_shape()]
    return {"dtype": spec.dtype.tf, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": f"{spec.name}:0"}


def names(request: HttpRequest, params: Params) -> Exchange:
    """KServe's list."""

    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return answered(dump({"models": list(dict.fromkeys(s.name for s in answer))}))

    return Exchange(Index(), encode)


def alive(request: HttpRequest, params: Params) -> Exchange:
    """KServe's liveness."""
    return Exchange(IsLive(), lambda yes: answered(b'{"status":"alive"}'))
