"""TensorFlow Serving and KServe V1 over REST: recorded bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel, gallery

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME


def ask(request: HttpRequest, house: FakeHouse | None = None) -> HttpReply:
    exchange = DATA.route(request)
    return exchange.encode((house or gallery()).answer(exchange.ask))


def predict(model: str, body: Any) -> HttpRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpRequest("POST", f"/v1/models/{model}:predict", body=data)


def code_of(request: HttpRequest) -> str:
    with pytest.raises(SetsailError) as caught:
        ask(request)
    return caught.value.code


# -- predict -----------------------------------------------------------------------------------------------------------


def test_the_slides_text_classifier() -> None:
    reply = ask(predict("review", b'{"instances": ["some review text"]}'))
    assert reply.status == 200
    assert reply.body == b'{"predictions":[{"scores":[0.9,0.1],"classes":["neg","pos"]}]}'
    assert reply.headers == (("content-type", "application/json"),)


def test_rows_of_one_default_output_are_bare_values() -> None:
    rows = [{"age": 42, "city": "Rome", "children": 2, "member": True}, {"age": None, "city": None, "children": 0,
            "member": False}]  # fmt: skip
    assert ask(predict("people", {"instances": rows})).body == b'{"predictions":[46.0,0.0]}'


def test_columns_answer_outputs_and_ignore_extra_keys() -> None:
    columns = {"age": [42.0], "city": ["Rome"], "children": [2], "member": [True], "shoe_size": [46]}
    assert ask(predict("people", {"inputs": columns})).body == b'{"outputs":[46.0]}'
    two = ask(predict("review", {"inputs": ["bad", "good"]}))
    assert json.loads(two.body)["outputs"]["classes"] == [["neg", "pos"], ["neg", "pos"]]


def test_a_table_takes_lists_names_and_its_own_name() -> None:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    row = [5.1, 3.5, 1.4, 0.2]
    replies = {
        ask(predict("iris", {"instances": [row]})).body,
        ask(predict("iris", {"instances": [dict(zip(names, row, strict=True))]})).body,
        ask(predict("iris", {"instances": [{"input": row}]})).body,
    }
    assert len(replies) == 1


def test_signature_name_chooses_an_output() -> None:
    body = {"signature_name": "label", "instances": [[9, 1, 1, 1]]}
    assert ask(predict("iris", body)).body == b'{"predictions":["setosa"]}'
    assert code_of(predict("iris", body | {"signature_name": "logits"})) == "model.signature"


def test_versions_and_labels() -> None:
    assert DATA.route(predict("iris/versions/3", {"instances": []})).ask.model == ModelRef("iris", 3)  # type: ignore[union-attr]
    labelled = DATA.route(predict("iris/labels/stable", {"instances": [[1, 2, 3, 4]]})).ask
    assert labelled.model == ModelRef("iris", label="stable")  # type: ignore[union-attr]
    assert code_of(predict("iris/labels/canary", {"instances": [[1, 2, 3, 4]]})) == "model.label"
    assert code_of(predict("iris/versions/9", {"instances": [[1, 2, 3, 4]]})) == "model.version"


def test_b64_in_and_out() -> None:
    body = {"instances": [{"x": [{"b64": "aMOp"}, "b"]}]}
    assert ask(predict("echo-string", body)).body == '{"predictions":[["hé","b"]]}'.encode()
    assert code_of(predict("echo-string", {"instances": [[{"b64": "?"}, "b"]]})) == "request.form"
    spec = TensorSpec("x", BY_NAME["string"], ("N",))
    outputs = (TensorSpec("image_bytes", BY_NAME["string"], ("N",)), TensorSpec("n", BY_NAME["int64"], ("N",)))
    model = FakeModel("m", Signature((spec,), outputs, ("image_bytes", "n")),
                      lambda x: {"image_bytes": x["x"], "n": np.arange(len(x["x"]))})  # fmt: skip
    reply = ask(predict("m", {"instances": ["hé"]}), FakeHouse(model))
    assert reply.body == b'{"predictions":[{"image_bytes":{"b64":"aMOp"},"n":0}]}'
    reply = ask(predict("m", {"signature_name": "image_bytes", "inputs": ["hé"]}), FakeHouse(model))
    assert reply.body == b'{"outputs":[{"b64":"aMOp"}]}'


def test_numbers_have_the_digits_of_their_own_dtype() -> None:
    row = b'{"instances":[[0.1,1e-7]]}'
    assert ask(predict("echo-float32", row)).body == b'{"predictions":[[0.1,1e-7]]}'
    nan = b'{"instances":[[NaN,-Infinity]]}'
    assert ask(predict("echo-float64", nan)).body == b'{"predictions":[[NaN,-Infinity]]}'


def test_non_finite_numbers_in_records() -> None:
    outputs = (TensorSpec("a", BY_NAME["float32"], ("N", 2)), TensorSpec("b", BY_NAME["float32"], ("N",)))
    model = FakeModel("m", Signature((TensorSpec("x", BY_NAME["float32"], ("N",)),), outputs, ("a", "b")),
                      lambda x: {"a": np.float32([[np.nan, 0.1]]), "b": np.float32([np.inf])})  # fmt: skip
    reply = ask(predict("m", {"instances": [1.0]}), FakeHouse(model))
    assert reply.body == b'{"predictions":[{"a":[NaN,0.1],"b":Infinity}]}'


def test_outputs_without_rows_need_the_column_form() -> None:
    model = FakeModel("m", Signature((TensorSpec("x", BY_NAME["float32"], ("N",)),),
                                     (TensorSpec("y", BY_NAME["float32"], ()),), ("y",)),
                      lambda x: {"y": np.float32(0.1).reshape(())})  # fmt: skip
    house = FakeHouse(model)
    assert ask(predict("m", {"inputs": [1.0]}), house).body == b'{"outputs":0.1}'
    with pytest.raises(SetsailError) as caught:
        ask(predict("m", {"instances": [1.0]}), house)
    assert caught.value.code == "request.form"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "request.form"),
        ([1], "request.form"),
        ({"instances": [[1]], "inputs": [[1]]}, "request.form"),
        ({"instances": {"a": 1}}, "request.form"),
        ({"instances": [[1]], "signature_name": 3}, "request.form"),
        ({"instances": []}, "input.empty"),
        ({"instances": [[1, 2], [1]]}, "input.ragged"),
        ({"instances": [[1.5, 2, 3, "a"]]}, "input.dtype"),
        ({"instances": [{"sepal_length": 1}]}, "input.missing"),
        (b"{'instances': 1}", "request.json"),
    ],
)
def test_refusals(body: Any, code: str) -> None:
    assert code_of(predict("iris", body)) == code


@pytest.mark.parametrize("verb", ["classify", "regress", "explain", "other"])
def test_other_verbs_are_refused_clearly(verb: str) -> None:
    assert code_of(HttpRequest("POST", f"/v1/models/iris:{verb}", body=b"{}")) == "request.unsupported"


# -- status and metadata -----------------------------------------------------------------------------------------------


def test_status_is_the_union_of_both_servers_bodies() -> None:
    reply = ask(HttpRequest("GET", "/v1/models/iris"))
    assert reply.status == 200
    assert json.loads(reply.body) == {
        "name": "iris",
        "ready": True,
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ],
    }
    assert ask(HttpRequest("GET", "/v1/models/iris/versions/1")).status == 200
    loading = ask(HttpRequest("GET", "/v1/models/sleepy"))
    assert (loading.status, json.loads(loading.body)["ready"]) == (503, False)
    assert code_of(HttpRequest("GET", "/v1/models/nobody")) == "model.unknown"


def test_a_failed_version_says_why() -> None:
    house = gallery()
    house.models["iris"].state, house.models["iris"].reason = "failed", "the file was changed"
    (entry,) = json.loads(ask(HttpRequest("GET", "/v1/models/iris"), house).body)["model_version_status"]
    assert entry["state"] == "END"
    assert entry["status"] == {"error_code": "INTERNAL", "error_message": "the file was changed"}


def test_metadata_nests_signature_def_twice() -> None:
    body = json.loads(ask(HttpRequest("GET", "/v1/models/iris/metadata")).body)
    assert body["model_spec"] == {"name": "iris", "signature_name": "", "version": "1"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "label", "probabilities"}
    assert signatures["serving_default"]["inputs"]["input"] == {
        "dtype": "DT_DOUBLE",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknown_rank": False},
        "name": "input:0",
    }
    assert signatures["serving_default"]["outputs"].keys() == {"probabilities"}


def test_list_and_liveness() -> None:
    assert "review" in json.loads(ask(HttpRequest("GET", "/v1/models")).body)["models"]
    assert ask(HttpRequest("GET", "/")).body == b'{"status":"alive"}'
