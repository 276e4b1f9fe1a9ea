"""A model of several signatures behind a real server: every wire that has a word for them, and a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from several_signatures import ALIASES, ANSWERS, NAMES, shared

import setsail
from setsail.errors import SetsailError
from setsail.protocols.grpc.pool import message
from setsail.server.run import Server
from setsail.server.settings import Settings

grpc = pytest.importorskip("grpc")
SERVICE = "/tensorflow.serving.PredictionService/"
X = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.5, 0.0, -1.0]]
Z = [[1.0, 2.0], [3.0, 4.0], [0.25, -8.0]]
ROWS = {"serving_default": ("x", X), "classify": ("z", Z), "prediction": ("x", X), "single": ("x", X)}


def expected(name: str, rows: Any = None) -> Any:
    (answer,) = ANSWERS[name](np.array(ROWS[name][1] if rows is None else rows, np.float32)).values()
    return answer.tolist()


@pytest.fixture(scope="module")
def file() -> Path:
    return shared()


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Server]:
    with Server(Settings(port=0, admin_port=-1)) as made:
        made.open(file)
        made.start()
        yield made


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_target) as made:
        yield made


def post(server: Server, path: str, body: Any) -> requests.Response:
    return requests.post(server.url + path, data=json.dumps(body).encode(), timeout=30)


def call(channel: Any, method: str, kind: str, **fields: Any) -> Any:
    asked = message(f"tensorflow.serving.{kind}Request")(**fields).SerializeToString()
    return message(f"tensorflow.serving.{kind}Response").FromString(
        channel.unary_unary(SERVICE + method)(asked, timeout=30)
    )


# -- TensorFlow Serving, REST ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_rest_answers_the_signature_that_is_named(name: str, server: Server) -> None:
    for _ in range(2):  # the second request is like one that was read before
        told = post(server, "/v1/models/two:predict", {"signature_name": name, "instances": ROWS[name][1]})
        assert told.json() == {"predictions": expected(name)}
    columns = {"signature_name": name, "inputs": dict([ROWS[name]])}
    assert post(server, "/v1/models/two:predict", columns).json() == {"outputs": expected(name)}


def test_a_signature_comes_before_an_output_of_its_name(server: Server) -> None:
    told = post(server, "/v1/models/two:predict", {"signature_name": "prediction", "instances": X}).json()
    assert told == {"predictions": [-v for v in expected("serving_default")]}


@pytest.mark.parametrize("name", ALIASES)
def test_a_further_name_is_answered_alike(name: str, server: Server) -> None:
    meant = ALIASES[name]
    for body in ({"instances": ROWS[meant][1]}, {"inputs": dict([ROWS[meant]])}):
        told = post(server, "/v1/models/two:predict", {"signature_name": name, **body}).json()
        assert list(told.values()) == [expected(meant)]


def test_an_unknown_one_is_told_which_there_are(server: Server) -> None:
    told = post(server, "/v1/models/two:predict", {"signature_name": "regress", "instances": X})
    assert told.status_code == 400
    assert "model.signature" in told.headers["x-setsail-error"]
    for name in (*NAMES, *ALIASES):
        assert name in told.json()["error"]


def test_rows_are_held_against_the_signature_that_is_named(server: Server) -> None:
    told = post(server, "/v1/models/two:predict", {"signature_name": "classify", "instances": X})
    assert (told.status_code, told.headers["x-setsail-error"]) == (400, "input.shape")


def test_both_metadata_list_every_signature(server: Server, channel: Any) -> None:
    told = requests.get(server.url + "/v1/models/two/metadata", timeout=30).json()
    rest = told["metadata"]["signature_def"]["signature_def"]
    assert sorted(rest) == sorted((*NAMES, *ALIASES))  # the output `prediction` is a signature of that name here
    assert list(rest["classify"]["inputs"]) == ["z"]
    assert list(rest["classify"]["outputs"]) == ["scores"]
    assert rest["single"]["outputs"]["twice"]["tensor_shape"]["dim"][1]["size"] == "3"
    answer = call(channel, "GetModelMetadata", "GetModelMetadata", model_spec={"name": "two"},
                  metadata_field=["signature_def"])  # fmt: skip
    found = message("tensorflow.serving.SignatureDefMap")()
    answer.metadata["signature_def"].Unpack(found)
    assert {name: (sorted(d.inputs), sorted(d.outputs)) for name, d in found.signature_def.items()} == {
        name: (sorted(d["inputs"]), sorted(d["outputs"])) for name, d in rest.items()
    }


# -- TensorFlow Serving, gRPC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_grpc_answers_the_signature_that_is_named(name: str, channel: Any) -> None:
    given, rows = ROWS[name]
    for scale in (1.0, 2.0):  # the second message is like the first
        array = np.array(rows, np.float32) * np.float32(scale)
        tensor = {
            "dtype": 1, "tensor_shape": {"dim": [{"size": n} for n in array.shape]}, "tensor_content": array.tobytes()
        }  # fmt: skip
        told = call(channel, "Predict", "Predict", model_spec={"name": "two", "signature_name": name},
                    inputs={given: tensor})  # fmt: skip
        ((_, found),) = told.outputs.items()
        assert list(found.float_val) == np.ravel(expected(name, array)).tolist()
        assert told.model_spec.signature_name == name


def example(**features: list[float]) -> dict[str, Any]:
    return {"features": {"feature": {name: {"float_list": {"value": v}} for name, v in features.items()}}}


def test_classify_and_regress_by_name(channel: Any) -> None:
    told = call(channel, "Classify", "Classification", model_spec={"name": "two", "signature_name": "classify"},
                input={"example_list": {"examples": [example(z=z) for z in Z]}})  # fmt: skip
    assert [[(c.label, c.score) for c in row.classes] for row in told.result.classifications] == [
        [("cat", a / 2), ("dog", b / 2)] for a, b in Z
    ]
    told = call(channel, "Regress", "Regression", model_spec={"name": "two", "signature_name": "prediction"},
                input={"example_list": {"examples": [example(x=x) for x in X]}})  # fmt: skip
    assert [r.value for r in told.result.regressions] == expected("prediction")


def task(name: str, kind: str) -> dict[str, Any]:
    return {"model_spec": {"name": "two", "signature_name": name}, "method_name": f"tensorflow/serving/{kind}"}


def test_tasks_of_one_run_and_signatures_of_their_own(channel: Any) -> None:
    rows = {"example_list": {"examples": [example(z=z) for z in Z]}}
    told = call(channel, "MultiInference", "MultiInference", tasks=[task("classify", "classify")], input=rows)
    assert [c.score for c in told.results[0].classification_result.classifications[0].classes] == [0.5, 1.0]
    tasks = [task("serving_default", "regress"), task("prediction", "regress")]
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "MultiInference", "MultiInference", tasks=tasks, input=rows)
    assert dict(caught.value.trailing_metadata())["x-setsail-error"] == "model.signature"
    assert "run of its own" in caught.value.details()


# -- Open Inference Protocol: a parameter, because it has no word for signatures ---------------------------------------


def test_the_open_inference_protocol_has_a_parameter(server: Server) -> None:
    for scale in (1, 2):
        body = {"parameters": {"signature": "classify"}, "inputs": [
            {"name": "z", "shape": [1, 2], "datatype": "FP32", "data": [2.0 * scale, 4.0]}
        ]}  # fmt: skip
        (output,) = post(server, "/v2/models/two/infer", body).json()["outputs"]
        assert (output["name"], output["data"]) == ("scores", [scale, 2])
    body["parameters"] = {"signature": 3}
    assert post(server, "/v2/models/two/infer", body).headers["x-setsail-error"] == "request.form"


def test_its_binary_form_and_grpc_too(server: Server, channel: Any) -> None:
    import tritonclient.grpc as triton_grpc
    import tritonclient.http as triton_http

    for module, target in ((triton_http, server.url.removeprefix("http://")), (triton_grpc, server.grpc_target)):
        client = module.InferenceServerClient(target)
        for scale in (1.0, 2.0, 3.0):  # those after the first are read by what was learnt of it
            array = np.array(Z, np.float32) * np.float32(scale)
            tensor = module.InferInput("z", list(array.shape), "FP32")
            tensor.set_data_from_numpy(array)
            told = client.infer("two", [tensor], parameters={"signature": "classify"})
            np.testing.assert_array_equal(told.as_numpy("scores"), array / 2)
        tensor = module.InferInput("x", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.array(X[:1], np.float32))
        assert client.infer("two", [tensor]).as_numpy("prediction").tolist() == expected("serving_default")[:1]
        client.close()


def test_its_metadata_has_the_names_beside_the_default_ones_tensors(server: Server) -> None:
    import tritonclient.grpc as triton_grpc
    import tritonclient.http as triton_http

    client = triton_http.InferenceServerClient(server.url.removeprefix("http://"))
    about = client.get_model_metadata("two")
    assert [tensor["name"] for tensor in about["inputs"]] == ["x"]
    assert set(about["properties"]["signatures"].split(",")) == {*NAMES, *ALIASES}
    assert about["properties"]["signature.classify"] == "(z:float32[N,2]) -> (scores:float32[N,2])"
    assert client.get_model_config("two")["parameters"]["signatures"]["string_value"]
    client.close()
    with triton_grpc.InferenceServerClient(server.grpc_target) as grpc_client:
        assert [tensor.name for tensor in grpc_client.get_model_metadata("two").inputs] == ["x"]
        config = grpc_client.get_model_config("two").config
    assert config.parameters["signatures"].string_value == about["properties"]["signatures"]


# -- in a notebook -----------------------------------------------------------------------------------------------------


def test_a_loaded_model_answers_by_signature(file: Path) -> None:
    with setsail.load(file) as model:
        assert sorted(model.signatures) == sorted((*NAMES, *ALIASES))
        assert model.signatures["serve"] == model.signature
        for name in NAMES:
            np.testing.assert_allclose(model.predict(np.array(ROWS[name][1]), signature=name), expected(name))
        np.testing.assert_allclose(model.predict({"z": Z}, "classify")["scores"], expected("classify"))
        with pytest.raises(SetsailError) as caught:
            model.predict(X, "regress")
        assert caught.value.code == "model.signature"


def test_a_server_in_this_process_too(server: Server) -> None:
    np.testing.assert_allclose(server.predict({"z": Z}, signature="sort")["scores"], expected("classify"))
    (told,) = server.describe()["models"]
    assert told["signature"] == "(x:float32[N,3]) -> (prediction:float32[N])"
    assert told["others"]["sort"] == told["others"]["classify"] == "(z:float32[N,2]) -> (scores:float32[N,2])"
