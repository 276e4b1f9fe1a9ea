"""`:predict`: recorded bytes."""

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
        (b'{"instances": [[1, 2, 3, 4]]', "request.json"),
    ],
)
def test_refusals(body: Any, code: str) -> None:
    assert code_of(predict("iris", body)) == code


def test_what_follows_the_first_document_is_not_read() -> None:
    whole = ask(predict("people", b'{"inputs":{"age":[1.0],"city":["Rome"],"children":[0],"member":[false]}}'))
    tail = ask(predict("people", b'{"inputs":{"age":[1.0],"city":["Rome"],"children":[0],"member":[false]}} {"more"'))
    assert whole.body == tail.body == b'{"outputs":[2.0]}'
    assert code_of(predict("people", b'  garbage {"inputs": 1}')) == "request.json"


def test_an_integer_with_a_point_is_none_and_halfs_are_welcome() -> None:
    assert code_of(predict("echo-int64", b'{"instances":[[1.0,2]]}')) == "input.dtype"
    assert code_of(predict("echo-bool", b'{"instances":[[1,0]]}')) == "input.dtype"
    assert ask(predict("echo-float16", b'{"instances":[[1,0.5]]}')).body == b'{"predictions":[[1.0,0.5]]}'
    assert ask(predict("echo-uint16", b'{"instances":[[1,65535]]}')).body == b'{"predictions":[[1,65535]]}'


def test_paths_come_in_any_case_and_names_of_models_do_not() -> None:
    row = b'{"instances":[[1,2]]}'
    shouted = HttpRequest("POST", "/V1/Models/echo-int64/VERSIONS/1:Predict", body=row)
    assert ask(shouted).body == b'{"predictions":[[1,2]]}'
    assert code_of(HttpRequest("POST", "/v1/models/ECHO-int64:predict", body=row)) == "model.unknown"
