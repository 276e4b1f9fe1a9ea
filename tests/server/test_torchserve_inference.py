"""TorchServe's inference clients against a live server: `requests`, and gRPC stubs as generated code has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fakehouse import iris, people, review
from furnished import furnish

from setsail.protocols.grpc.pool import message
from setsail.server.run import Server
from setsail.server.settings import Settings

grpc = pytest.importorskip("grpc")
PACKAGE = "org.pytorch.serve.grpc.inference"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(Settings(port=0, admin_port=-1))
    furnish(made.house, iris(), people(), review())
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(server.url.removeprefix("http://")) as made:
        yield made


def asked(model: str, **parameters: bytes) -> bytes:
    told: bytes = message(f"{PACKAGE}.PredictionsRequest")(model_name=model, input=parameters).SerializeToString()
    return told


def answered(raw: bytes) -> Any:
    return json.loads(message(f"{PACKAGE}.PredictionResponse").FromString(raw).prediction)


def path(name: str) -> str:
    return f"/{PACKAGE}.InferenceAPIsService/{name}"


def test_rest(server: Server) -> None:
    row = {"age": 42, "city": "Rome", "children": 2, "member": True}
    ways = [
        {"json": [row]},
        {"json": {"data": [row]}},
        {"data": {name: str(value).lower() if value is True else value for name, value in row.items()}},
        {"files": {"data": ("rows.csv", b"age,city,children,member\n42,Rome,2,true\n")}},
        {"data": json.dumps([row])},
    ]
    for way in ways:
        reply = requests.post(f"{server.url}/predictions/people", timeout=20, **way)  # type: ignore[arg-type]
        assert reply.json() == [46.0], way
        assert reply.headers["pragma"] == "no-cache"
    assert requests.put(f"{server.url}/predictions/review", data=b"bad", timeout=20).status_code == 200
    assert requests.get(f"{server.url}/ping", timeout=20).json() == {"status": "Healthy"}
    told = requests.post(f"{server.url}/predictions/nobody", json=[row], timeout=20)
    assert (told.status_code, told.json()["type"]) == (404, "ModelNotFoundException")


def test_a_fault_has_an_id_as_an_answer_has(server: Server) -> None:
    sent = {"x-request-id": "mine"}
    for name, status in (("people", 400), ("nobody", 404)):
        told = requests.post(f"{server.url}/predictions/{name}", json=["no row"], headers=sent, timeout=20)
        assert (told.status_code, told.headers["x-request-id"]) == (status, "mine")
    own = {requests.post(f"{server.url}/predictions/nobody", json=[1], timeout=20).headers["x-request-id"]
           for _ in range(3)}  # fmt: skip
    assert len(own) == 3


def test_options_describes_the_model(server: Server) -> None:
    told = requests.options(f"{server.url}/predictions/people", timeout=20)
    assert told.status_code == 200
    operation = told.json()["paths"]["/predictions/{model}"]["post"]
    assert "city" in json.dumps(operation["requestBody"]["content"]["application/json"])
    assert "application/json" in operation["responses"]["200"]["content"]
    assert "OPTIONS" not in json.dumps(told.json())
    page = {"origin": "https://example.org", "access-control-request-method": "POST"}
    assert requests.options(f"{server.url}/predictions/people", headers=page, timeout=20).status_code == 204
    assert requests.options(f"{server.url}/predictions/nobody", timeout=20).status_code == 404
    assert requests.options(f"{server.url}/v1/models/people", timeout=20).status_code == 200  # TensorFlow Serving's


def test_grpc(channel: Any) -> None:
    rows = b"[[9.0, 1, 1, 1]]"
    unary = channel.unary_unary(path("Predictions"))(asked("iris", data=rows), timeout=20)
    stream = list(channel.unary_stream(path("StreamPredictions"))(asked("iris", data=rows), timeout=20))
    assert [answered(part) for part in stream] == [answered(unary)]
    health = channel.unary_unary(path("Ping"))(b"", timeout=20)
    assert json.loads(message(f"{PACKAGE}.TorchServeHealthResponse").FromString(health).health) == {"status": "Healthy"}


def test_faults_of_grpc(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path("Predictions"))(asked("nobody", data=b"[[1]]"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details().startswith("Model not found: nobody\n")
    for name in ("Predictions", "StreamPredictions"):
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.unary_stream(path(name))(asked("iris", data=b"[[1]]"), timeout=20))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.stream_stream(path("StreamPredictions2"))(iter([asked("iris")]), timeout=20))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "StreamPredictions2" in caught.value.details()
