"""`InferenceAPIsService` with the messages of TorchServe's own files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message

PACKAGE = "org.pytorch.serve.grpc.inference"
SERVICE = f"/{PACKAGE}.InferenceAPIsService/"
PERSON = {"age": b"42", "city": b"Rome", "children": b"2", "member": b"true"}


def ask(name: str, asked: bytes, house: FakeHouse | None = None) -> bytes:
    exchange = METHODS[SERVICE + name].decode(asked)
    return exchange.encode((house or gallery()).answer(exchange.ask))


def request(model: str, parameters: dict[str, bytes], version: str = "") -> bytes:
    kind = message(f"{PACKAGE}.PredictionsRequest")
    told: bytes = kind(model_name=model, model_version=version, input=parameters).SerializeToString()
    return told


def predicted(*args: Any, name: str = "Predictions") -> Any:
    return json.loads(message(f"{PACKAGE}.PredictionResponse").FromString(ask(name, request(*args))).prediction)


@pytest.mark.parametrize("name", ["Predictions", "StreamPredictions"])
def test_predictions(name: str) -> None:
    iris = predicted("iris", {"data": b"[[1, 2, 3, 4]]"}, name=name)
    assert predicted("iris", {"body": b'{"instances": [[1, 2, 3, 4]]}'}, "1.0", name=name) == iris
    assert predicted("people", PERSON, name=name) == [46.0]
    assert predicted("people", {n: b"[" + (b'"Rome"' if n == "city" else v) + b"]" for n, v in PERSON.items()}) == [
        46.0
    ]
    assert predicted("review", {"data": b"bad"}) == predicted("review", {"data": b'["bad"]'})


def test_an_answer_is_that_of_the_rest_paths() -> None:
    told = message(f"{PACKAGE}.PredictionResponse").FromString(ask("Predictions", request("people", PERSON)))
    assert told.prediction == b"[\n  46.0\n]"


def test_ping() -> None:
    house = gallery()
    del house.models["sleepy"]
    for served, told in ((house, "Healthy"), (gallery(), "Unhealthy")):
        health = message(f"{PACKAGE}.TorchServeHealthResponse").FromString(ask("Ping", b"", served)).health
        assert health == f'{{\n  "status": "{told}"\n}}'


@pytest.mark.parametrize(
    ("model", "version", "code", "status", "text"),
    [
        ("nobody", "", "model.unknown", 13,
         "Model not found: nobody\norg.pytorch.serve.archive.model.ModelNotFoundException"),
        ("iris", "3.0", "model.version", 13, "ModelVersionNotFoundException"),
        ("", "", "model.name", 13, "Parameter model_name is required.\nBadRequestException.()"),
        ("sleepy", "", "model.not_ready", 13, "InternalServerException.()"),
        ("iris", "", "input.shape", 3, "input 'input'"),
    ],
)  # fmt: skip
def test_faults_end_a_call_as_in_the_original(model: str, version: str, code: str, status: int, text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        ask("Predictions", request(model, {"data": b"[[1, 2]]"}, version))
    assert caught.value.code == code
    number, told = METHODS[SERVICE + "Predictions"].status(caught.value)
    assert number == status
    assert text in told


def test_sequences_are_refused_by_name() -> None:
    with pytest.raises(SetsailError, match="StreamPredictions2") as caught:
        ask("StreamPredictions2", request("iris", {}))
    assert caught.value.code == "request.unsupported"
    with pytest.raises(SetsailError) as caught:
        ask("Predictions", b"\xff")
    assert caught.value.code == "request.malformed"
