"""What models there are, and the list of them a client may send."""

from __future__ import annotations

from typing import Any

import pytest
from fakehouse import gallery

from setsail.catalog import Configure, ModelConfig, Policy, VersionStatus
from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message

PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
MAP = message("tensorflow.serving.SignatureDefMap")


def exchange(path: str, request: str, **fields: Any) -> Any:
    return METHODS[path].decode(message("tensorflow.serving." + request)(**fields).SerializeToString())


def metadata(**fields: Any) -> Any:
    asked = exchange(PREDICTION + "GetModelMetadata", "GetModelMetadataRequest", **fields)
    told = asked.encode(gallery().answer(asked.ask))
    return message("tensorflow.serving.GetModelMetadataResponse").FromString(told)


def status(**spec: Any) -> Any:
    asked = exchange(MODEL + "GetModelStatus", "GetModelStatusRequest", model_spec=spec)
    told = asked.encode(gallery().answer(asked.ask))
    return message("tensorflow.serving.GetModelStatusResponse").FromString(told).model_version_status


def test_signatures_are_packed_in_an_any() -> None:
    told = metadata(model_spec={"name": "iris"}, metadata_field=["signature_def"])
    assert (told.model_spec.name, told.model_spec.version.value) == ("iris", 1)
    packed = told.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = MAP.FromString(packed.value).signature_def
    assert set(signatures) == {"serving_default", "label", "probabilities"}
    default = signatures["serving_default"]
    assert (default.inputs["input"].dtype, default.method_name) == (2, "tensorflow/serving/predict")
    assert [d.size for d in default.inputs["input"].tensor_shape.dim] == [-1, 4]
    assert set(default.outputs) == {"probabilities"}


@pytest.mark.parametrize("fields", [[], ["other"], ["signature_def", "other"]])
def test_other_metadata_there_is_none(fields: list[str]) -> None:
    with pytest.raises(SetsailError) as caught:
        metadata(model_spec={"name": "iris"}, metadata_field=fields)
    assert caught.value.code == "request.form"


def test_states() -> None:
    (ready,) = status(name="iris")
    assert (ready.version, ready.state, ready.status.error_code) == (1, 30, 0)
    assert status(name="iris", version_label="not looked at")[0].state == 30
    assert status(name="iris", version={"value": 1})[0].state == 30
    assert status(name="sleepy")[0].state == 20
    with pytest.raises(SetsailError) as caught:
        status(name="nobody")
    assert caught.value.code == "model.unknown"


def reloaded(*models: Any) -> Any:
    config = {"model_config_list": {"config": models}}
    return exchange(MODEL + "HandleReloadConfigRequest", "ReloadConfigRequest", config=config)


def test_a_list_of_models_is_the_whole_of_it() -> None:
    found = reloaded({"name": "m", "base_path": "/models/m", "version_labels": {"stable": 1}})
    assert found.ask == Configure((ModelConfig("m", "/models/m", Policy(latest=1), {"stable": 1}),))
    told = message("tensorflow.serving.ReloadConfigResponse").FromString(
        found.encode((VersionStatus("m", 1, "ready"),))
    )
    assert told.status.error_code == 0
    with pytest.raises(SetsailError) as caught:
        found.encode((VersionStatus("m", 1, "ready"), VersionStatus("m", 2, "failed", "[artifact.seal] no")))
    assert caught.value.code == "model.failed"
    assert "m/2 could not be loaded: [artifact.seal] no" in str(caught.value)


def test_sessions_are_refused_by_name() -> None:
    with pytest.raises(SetsailError) as caught:
        METHODS["/tensorflow.serving.SessionService/SessionRun"].decode(b"")
    assert caught.value.code == "request.unsupported"
    assert METHODS["/tensorflow.serving.SessionService/SessionRun"].status(caught.value)[0] == 12
