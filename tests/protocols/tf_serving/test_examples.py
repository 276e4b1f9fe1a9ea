"""`:classify` and `:regress`: recorded bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel, gallery

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array

FLOWER = {"sepal_length": 9, "sepal_width": 1, "petal_length": 1, "petal_width": 1.0}
PERSON = {"age": 42.0, "city": "Rome", "children": 2, "member": True}


def send(path: str, body: Any, house: FakeHouse | None = None) -> HttpReply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = DATA.route(HttpRequest("POST", "/v1/models/" + path, body=data))
    return exchange.encode((house or gallery()).answer(exchange.ask))


def code_of(path: str, body: Any, house: FakeHouse | None = None) -> str:
    with pytest.raises(SetsailError) as caught:
        send(path, body, house)
    return caught.value.code


def model(**outputs: Array) -> FakeHouse:
    """One input `x`, and outputs that are always the same."""
    specs = tuple(
        TensorSpec(name, BY_NAME["string" if a.dtype == object else a.dtype.name], ("N", *a.shape[1:]))
        for name, a in outputs.items()
    )
    signature = Signature((TensorSpec("x", BY_NAME["float64"], ("N",)),), specs, (specs[0].name,))
    return FakeHouse(FakeModel("m", signature, lambda _: outputs))


ONE = {"examples": [{"x": 1.0}]}


def test_classes_and_their_scores() -> None:
    reply = send("iris:classify", {"examples": [FLOWER, FLOWER | {"sepal_width": 9, "sepal_length": 1}]})
    assert reply.status == 200
    rows = json.loads(reply.body)["results"]
    assert [[label for label, _ in row] for row in rows] == [["setosa", "versicolor", "virginica"]] * 2
    assert [max(row, key=lambda pair: pair[1])[0] for row in rows] == ["setosa", "versicolor"]


def test_results_by_the_byte() -> None:
    two = model(probabilities=np.float32([[0.1, 0.9]]))
    assert send("m:classify", ONE, two).body == b'{"results":[[["",0.1],["",0.9]]]}'
    text = model(scores=np.float64([[1, np.nan]]), classes=np.array([["neg", "pos"]], object))
    assert send("m:classify", ONE, text).body == b'{"results":[[["neg",1.0],["pos",NaN]]]}'
    assert send("m:classify", ONE, model(label=np.int64([7]))).body == b'{"results":[[["7",0.0]]]}'
    assert send("m:classify", ONE, model(logits=np.float32([[2]]))).body == b'{"results":[[["",2.0]]]}'
    assert send("m:regress", ONE, model(prediction=np.float64([0.1]))).body == b'{"results":[0.1]}'
    assert send("m:regress", ONE, model(y=np.float32([[0.1]]))).body == b'{"results":[0.1]}'
    assert send("people:regress", {"examples": [PERSON, PERSON]}).body == b'{"results":[46.0,46.0]}'


def test_a_signature_is_one_output() -> None:
    both = model(label=np.array(["a"], object), probabilities=np.float32([[1]]))
    body = ONE | {"signature_name": "label"}
    assert send("m:classify", body, both).body == b'{"results":[[["a",0.0]]]}'
    assert code_of("m:classify", ONE | {"signature_name": "nobody"}, both) == "model.signature"


def test_a_model_that_is_neither() -> None:
    assert code_of("m:regress", ONE, model(label=np.array(["a"], object))) == "model.signature"
    assert code_of("m:regress", ONE, model(probabilities=np.float32([[1, 0]]))) == "model.signature"
    assert code_of("people:classify", {"examples": [PERSON]}) == "model.signature"


def test_a_context_holds_for_every_example_that_does_not_say_otherwise() -> None:
    body = {"context": {"city": "Rome", "age": 1.0, "member": False}, "examples": [
        {"age": 2.5, "children": 1}, {"children": [0], "unknown": "ignored"},
    ]}  # fmt: skip
    assert send("people:regress", body).body == b'{"results":[4.5,2.0]}'


def test_a_feature_that_only_others_have_is_missing() -> None:
    rows = [PERSON, {k: v for k, v in PERSON.items() if k != "age"}]
    assert send("people:regress", {"examples": rows}).body == b'{"results":[46.0,4.0]}'
    rows = [PERSON, {k: v for k, v in PERSON.items() if k != "children"}]
    assert code_of("people:regress", {"examples": rows}) == "input.null"


def test_lists_bytes_and_whole_tables() -> None:
    assert code_of("iris:classify", {"examples": [{"input": [1, 2, 3]}]}) == "input.shape"
    reply = send("iris:classify", {"examples": [{"input": [9.0, 1.0, 1.0, 1.0]}]})
    assert reply.body == send("iris:classify", {"examples": [FLOWER]}).body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "request.json"),
        ([], "request.form"),
        ({}, "request.form"),
        ({"examples": {"x": 1}}, "request.form"),
        ({"examples": []}, "input.empty"),
        ({"examples": [3]}, "request.form"),
        ({"examples": [{"x": None}]}, "request.form"),
        ({"examples": [{"x": [[1]]}]}, "request.form"),
        ({"examples": [{"x": [1, "a"]}]}, "request.form"),
        ({"examples": [{"x": [1, 2.5]}]}, "request.form"),
        ({"examples": [{"x": {"b64": "?"}}]}, "request.form"),
        ({"examples": [{"x": 1}], "context": 3}, "request.form"),
        ({"examples": [{"x": 1}], "signature_name": 3}, "request.form"),
        ({"examples": [{}]}, "input.missing"),
        ({"examples": [{"x": "a"}]}, "input.dtype"),
    ],
)
def test_refusals(body: Any, code: str) -> None:
    assert code_of("m:regress", body, model(prediction=np.float64([0.1]))) == code


def test_versions_and_labels() -> None:
    for path in ("people/versions/1:regress", "people/labels/stable:regress"):
        assert send(path, {"examples": [PERSON]}).body == b'{"results":[46.0]}'
    assert code_of("people/labels/canary:regress", {"examples": [PERSON]}) == "model.label"
