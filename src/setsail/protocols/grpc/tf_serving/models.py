"""What models there are: `GetModelMetadata`, `GetModelStatus`, and the list of them that a client may send."""

from __future__ import annotations

from typing import Any, Final

from setsail.catalog import STATES, Configure, Metadata, ModelMetadata, Status, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols.grpc.method import Exchange
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.tf_serving.configuration import configured
from setsail.protocols.grpc.tf_serving.spec import model_ref
from setsail.protocols.tf_serving.models import METHOD_NAME, signatures_of
from setsail.signature import TensorSpec

__all__ = ["metadata", "reload_config", "session_run", "status"]

_SIGNATURES: Final = "signature_def"  # the only field of metadata there is


def metadata(data: bytes | memoryview) -> Exchange:
    asked = parse(message("tensorflow.serving.GetModelMetadataRequest"), data)
    if not asked.metadata_field or set(asked.metadata_field) != {_SIGNATURES}:
        raise SetsailError(
            "request.form", "the request does not ask for metadata that there is", field="metadata_field",
            value=list(asked.metadata_field), expected=_SIGNATURES,
        )  # fmt: skip
    return Exchange(Metadata(model_ref(asked.model_spec)), _metadata)


def _metadata(meta: ModelMetadata) -> bytes:
    signatures = message("tensorflow.serving.SignatureDefMap")(signature_def={
        name: {"inputs": _infos(signature.inputs), "outputs": _infos(outputs), "method_name": METHOD_NAME}
        for name, (signature, outputs) in signatures_of(meta).items()
    })  # fmt: skip
    answer = message("tensorflow.serving.GetModelMetadataResponse")(
        model_spec={"name": meta.name, "version": {"value": meta.version}}
    )
    answer.metadata[_SIGNATURES].Pack(signatures, deterministic=True)
    told: bytes = answer.SerializeToString(deterministic=True)
    return told


def _infos(specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    return {
        spec.name: {
            "name": f"{spec.name}:0",
            "dtype": spec.dtype.tf_number,
            "tensor_shape": {"dim": [{"size": size} for size in spec.oip_shape()]},
        }
        for spec in specs
    }


def status(data: bytes | memoryview) -> Exchange:
    """A label in the request is not looked at: it shows all versions, as over REST."""
    asked = parse(message("tensorflow.serving.GetModelStatusRequest"), data)
    ref = model_ref(asked.model_spec)
    return Exchange(Status(ref if ref.label is None else ModelRef(ref.name)), _status)


def _status(found: tuple[VersionStatus, ...]) -> bytes:
    told: bytes = message("tensorflow.serving.GetModelStatusResponse")(
        model_version_status=[
            {
                "version": version.version,
                "state": STATES[version.state].tf,
                "status": {
                    "error_code": "INTERNAL" if version.state == "failed" else "OK",
                    "error_message": version.reason,
                },
            }
            for version in found
        ]
    ).SerializeToString()
    return told


def reload_config(data: bytes | memoryview) -> Exchange:
    """The whole list of models. `metric_names` are taken and answered with nothing: metrics have a page."""
    asked = parse(message("tensorflow.serving.ReloadConfigRequest"), data)
    return Exchange(Configure(configured(asked.config).models), _reloaded)


def _reloaded(found: tuple[VersionStatus, ...]) -> bytes:
    """Raises `model.failed` with what could not be loaded; the others are there all the same."""
    failed = {f"{version.name}/{version.version}": version.reason for version in found if version.state == "failed"}
    if failed:
        name, reason = next(iter(failed.items()))
        raise SetsailError("model.failed", f"{name} could not be loaded: {reason}", field="config", value=list(failed))
    told: bytes = message("tensorflow.serving.ReloadConfigResponse")(status={"error_code": "OK"}).SerializeToString()
    return told


def session_run(data: bytes | memoryview) -> Exchange:
    raise SetsailError(
        "request.unsupported", "SessionRun: there is no TensorFlow session here", field="method",
        todo="send the same tensors to PredictionService/Predict",
    )  # fmt: skip
