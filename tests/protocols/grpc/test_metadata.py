"""Live, ready, metadata and the configuration that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakehouse import FakeHouse, two

from setsail import __version__
from setsail.catalog import ModelMetadata
from setsail.errors import SetsailError
from setsail.protocols.grpc import metadata
from setsail.protocols.grpc.pool import message
from setsail.signature import Signature, TensorSpec
from setsail.tensors import DTYPES

Call = Callable[..., Any]
OIP = "/inference.GRPCInferenceService/"


def test_live_and_ready(call: Call) -> None:
    assert call(OIP + "ServerLive").live
    assert not call(OIP + "ServerReady").ready  # one model is still loading
    assert call(OIP + "ModelReady", name="iris").ready
    assert call(OIP + "ModelReady", name="iris", version="1").ready
    assert not call(OIP + "ModelReady", name="sleepy").ready


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "nobody"}, "model.unknown"),
        ({"name": "iris", "version": "7"}, "model.version"),
        ({"name": "iris", "version": "latest"}, "model.version"),
    ],
)
def test_models_that_are_not_there(call: Call, method: str, fields: dict[str, str], code: str) -> None:
    if method == "ModelReady" and code == "model.unknown":
        assert not call(OIP + method, **fields).ready  # as Triton says
        return
    with pytest.raises(SetsailError) as caught:
        call(OIP + method, **fields)
    assert caught.value.code == code


def test_the_server_says_who_it_is(call: Call) -> None:
    answer = call(OIP + "ServerMetadata")
    assert (answer.name, answer.version) == ("setsail", __version__)
    assert {"model_repository", "binary_tensor_data", "statistics", "model_configuration"} <= set(answer.extensions)


def test_metadata_is_the_signature(call: Call) -> None:
    answer = call(OIP + "ModelMetadata", name="iris")
    assert (answer.name, list(answer.versions), answer.platform) == ("iris", ["1"], "fake 1.0")
    assert [(t.name, t.datatype, list(t.shape)) for t in answer.inputs] == [("input", "FP64", [-1, 4])]
    assert [(t.name, t.datatype, list(t.shape)) for t in answer.outputs] == [
        ("label", "BYTES", [-1]), ("probabilities", "FP32", [-1, 3]),
    ]  # fmt: skip


def test_configuration_leaves_the_batch_out_of_the_shapes(call: Call) -> None:
    config = call(OIP + "ModelConfig", name="iris").config
    assert (config.name, config.backend, config.max_batch_size) == ("iris", "onnxruntime", 2**31 - 1)
    assert config.HasField("dynamic_batching")
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("input", 12, [4])]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [
        ("label", 13, []), ("probabilities", 11, [3]),
    ]  # fmt: skip


def test_the_signatures_of_a_model_are_parameters_of_its_configuration() -> None:
    exchange = metadata.model_config(message("inference.ModelConfigRequest")(name="two").SerializeToString())
    written = exchange.encode(two().metadata())
    parameters = message("inference.ModelConfigResponse").FromString(written).config.parameters
    assert parameters["signatures"].string_value == "serving_default,classify,prediction,serve,sort"
    assert parameters["signature.classify"].string_value == "(z:float32[N,2]) -> (scores:float32[N,2])"
    theirs = pytest.importorskip("tritonclient.grpc.service_pb2").ModelConfigResponse.FromString(written)
    assert {n: p.string_value for n, p in theirs.config.parameters.items()} == {
        n: p.string_value for n, p in parameters.items()
    }


def config(signature: Signature, max_batch: int | None) -> Any:
    exchange = metadata.model_config(message("inference.ModelConfigRequest")(name="m").SerializeToString())
    answer = exchange.encode(ModelMetadata("m", 1, (1,), signature, "x", max_batch, {}))
    return message("inference.ModelConfigResponse").FromString(answer).config


def test_a_model_without_batch_says_so() -> None:
    fixed = TensorSpec("x", DTYPES[0], (2, "d1"))
    found = config(Signature((fixed,), (fixed,), ("x",)), None)
    assert found.max_batch_size == 0
    assert not found.HasField("dynamic_batching")
    assert list(found.input[0].dims) == [2, -1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_has_its_number(dtype: Any) -> None:
    spec = TensorSpec("x", dtype, ("N", 2))
    found = config(Signature((spec,), (spec,), ("x",)), 8)
    assert found.max_batch_size == 8
    number = found.input[0].data_type
    name = (
        message("inference.ModelInput").DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[number].name
    )
    assert name == ("TYPE_STRING" if dtype.oip == "BYTES" else f"TYPE_{dtype.oip}")


def test_questions_that_are_no_messages(house: FakeHouse) -> None:
    for decode in (metadata.server_live, metadata.server_ready, metadata.server_metadata, metadata.model_metadata):
        with pytest.raises(SetsailError) as caught:
            decode(b"\x0a")
        assert caught.value.code == "request.malformed"
