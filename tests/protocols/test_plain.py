"""The wire for people: JSON rows, columns or one row, CSV; answers in JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel, gallery

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols import packed, payload, values
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME


def ask(request: HttpRequest, house: FakeHouse | None = None) -> HttpReply:
    exchange = DATA.route(request)
    return exchange.encode((house or gallery()).answer(exchange.ask))


def post(model: str, body: Any, kind: str = "application/json", query: str = "", accept: str = "*/*") -> HttpRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpRequest("POST", f"/predict/{model}", query, {"content-type": kind, "accept": accept}, data)


def outputs(request: HttpRequest) -> Any:
    return json.loads(ask(request).body)["outputs"]


def code_of(request: HttpRequest) -> str:
    with pytest.raises(SetsailError) as caught:
        ask(request)
    return caught.value.code


PERSON = {"age": 42, "city": "Rome", "children": 2, "member": True}


def test_one_row_by_name() -> None:
    reply = ask(post("people", PERSON))
    assert reply.body == b'{"model":"people","version":1,"outputs":{"prediction":[46.0]}}'


@pytest.mark.parametrize(
    "body",
    [
        [PERSON, PERSON],
        [[42, "Rome", 2, True], [42, "Rome", 2, True]],
        {k: [v, v] for k, v in PERSON.items()},
        b"age,city,children,member\n42,Rome,2,true\r\n42.0,Rome,2,TRUE\n",
        b"\xef\xbb\xbfmember,age,city,children\ntrue,42,Rome,2\n\ntrue,42,Rome,2",
    ],
    ids=["objects", "lists", "columns", "csv", "csv with BOM and other order"],
)
def test_forms_of_the_same_two_rows(body: Any) -> None:
    kind = "text/csv; charset=utf-8" if isinstance(body, bytes) else "application/json"
    assert outputs(post("people", body, kind)) == {"prediction": [46.0, 46.0]}


def test_empty_cells_and_null_are_missing_values() -> None:
    assert outputs(post("people", b"age,city,children,member\n,,2,false\n", "text/csv")) == {"prediction": [2.0]}
    assert outputs(post("people", PERSON | {"age": None, "city": None})) == {"prediction": [3.0]}
    assert code_of(post("people", PERSON | {"children": None})) == "input.null"
    assert code_of(post("people", PERSON | {"city": "Paris"})) == "input.category"


def test_a_bare_text_is_one_row() -> None:
    assert outputs(post("review", "bad"))["scores"] == [[0.9, 0.1]]
    assert code_of(post("review", None)) == "request.form"


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain", "application/ld+json"])
def test_what_curl_and_browsers_send_by_default_is_json(kind: str) -> None:
    assert outputs(post("people", PERSON, kind)) == {"prediction": [46.0]}


def test_csv_without_its_type_is_told_what_to_say() -> None:
    with pytest.raises(SetsailError, match=r"\[?request.json") as caught:
        ask(post("people", b"age,city\n1,Rome\n", "application/x-www-form-urlencoded"))
    assert "Content-Type: text/csv" in caught.value.message


def test_other_types_are_refused() -> None:
    assert code_of(post("people", PERSON, "application/octet-stream")) == "request.media_type"


@pytest.mark.parametrize("body", [b"", b"\n\n", b'a,"b', b"a\xff"])
def test_what_is_not_csv(body: bytes) -> None:
    assert code_of(post("people", body, "text/csv")) == "request.csv"


def test_csv_faults_name_the_row() -> None:
    assert code_of(post("people", b"age,shoe\n1,2\n", "text/csv")) == "input.unknown"
    assert code_of(post("people", b"age,city,children,member\n1,Rome\n", "text/csv")) == "input.ragged"
    assert code_of(post("people", b"age,city,children,member\nold,Rome,1,true\n", "text/csv")) == "input.dtype"


def test_csv_answers() -> None:
    reply = ask(post("iris", [[9, 1, 1, 1]], accept="text/csv"))
    header, row = reply.body.decode().splitlines()
    assert dict(reply.headers)["content-type"] == "text/csv; charset=utf-8"
    assert header == "label,probabilities.setosa,probabilities.versicolor,probabilities.virginica"
    label, *scores = row.split(",")
    assert label == "setosa"
    assert np.float32(scores[0]) + np.float32(scores[1]) + np.float32(scores[2]) == pytest.approx(1)
    json_first = ask(post("iris", [[9, 1, 1, 1]], accept="application/json, text/csv"))
    assert dict(json_first.headers)["content-type"] == "application/json"


def test_csv_cells() -> None:
    rows = ask(post("echo-bool", [[True, False]], accept="text/csv")).body
    assert rows == b"y.0,y.1\ntrue,false\n"
    assert ask(post("echo-string", [["a,b", None]], accept="text/csv")).body == b'y.0,y.1\n"a,b",\n'
    assert ask(post("echo-float32", [[0.1, None]], accept="text/csv")).body == b"y.0,y.1\n0.1,nan\n"


def test_tensors_are_no_csv_table() -> None:
    spec = TensorSpec("x", BY_NAME["float32"], ("N", 1, 1))
    model = FakeModel("m", Signature((spec,), (spec,), ("x",)), dict)
    with pytest.raises(SetsailError) as caught:
        ask(post("m", [[[1.0]]], accept="text/csv"), FakeHouse(model))
    assert caught.value.code == "request.media_type"
    uneven = Signature((spec,), (TensorSpec("a", BY_NAME["int64"], ("N",)), TensorSpec("b", BY_NAME["int64"], ("M",))),
                       ("a",))  # fmt: skip
    model = FakeModel("m", uneven, lambda x: {"a": np.arange(2), "b": np.arange(3)})
    with pytest.raises(SetsailError) as caught:
        ask(post("m", [[[1.0]]], accept="text/csv"), FakeHouse(model))
    assert caught.value.code == "request.media_type"


def test_outputs_may_be_chosen() -> None:
    assert outputs(post("iris", [[9, 1, 1, 1]], query="outputs=label")) == {"label": ["setosa"]}
    assert outputs(post("iris", [[9, 1, 1, 1]], query="outputs=label,probabilities")).keys() == {
        "label", "probabilities"
    }  # fmt: skip
    assert code_of(post("iris", [[9, 1, 1, 1]], query="outputs=logits")) == "output.unknown"


def test_non_finite_answers_stay_json() -> None:
    reply = ask(post("echo-float32", b"[[NaN, -Infinity]]"))
    assert json.loads(reply.body)["outputs"] == {"y": [[None, "-Infinity"]]}


def test_paths() -> None:
    assert DATA.route(HttpRequest("POST", "/predict", body=b"[1]")).ask.model == ModelRef(ONLY_MODEL)  # type: ignore[union-attr]
    versioned = DATA.route(HttpRequest("POST", "/predict/m/versions/2", body=b"[1]")).ask
    assert versioned.model == ModelRef("m", 2)  # type: ignore[union-attr]


# -- long bodies -------------------------------------------------------------------------------------------------------

_LONG = ",".join(["[1.5,-2,3e2]"] * 500)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"x":[{_LONG}]}}',
        f'\n{{ "x" : [ {_LONG} ] }} \n',
        f'{{"x":[{_LONG},[1.5,2]]}}',
        f'{{"x":[{_LONG},[1.5,null,2]]}}',
        f'{{"x":[{_LONG},[1.5,"2",2]]}}',
        f'{{"x":[{_LONG}],"y":[1]}}',
        f'{{"x":[{_LONG}],"x":[[1,2,3]]}}',
        f'{{"y":[{_LONG}]}}',
        f'{{"\\u0078":[{_LONG}]}}',
        f'{{"x":[{_LONG}]}}}}',
        f'{{"x":[{_LONG}]',
        f'{{"x":[{_LONG}],}}',
        '{"x":[' + ",".join(["[1,2,3]"] * 700) + "]}",
    ],
)
def test_a_long_named_list_means_what_the_general_reader_says(body: str) -> None:
    spec = TensorSpec("x", BY_NAME["float32"], ("N", 3))
    signature = Signature((spec,), (TensorSpec("z", BY_NAME["float32"], ("N",)),), ("z",))

    def meaning(read: Callable[[bytes], Any]) -> Any:
        try:
            return {name: array.tolist() for name, array in bind(signature, read(body.encode())).items()}
        except SetsailError as fault:
            return fault.code

    def general(raw: bytes) -> Any:
        return payload.json_value(values.parse(raw))

    assert len(body) > packed.LONG
    assert meaning(lambda raw: payload.read(raw, "")) == meaning(general)
