"""What hand-written clients send, on the plain wire and on a port that takes every path."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from fakehouse import FakeHouse, FakeModel, gallery

from setsail.errors import SetsailError
from setsail.protocols import flask
from setsail.protocols.http import HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.table import DATA, Table
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

ANYWHERE = Table.of(*flask.ROUTES)
PERSON = {"age": 42, "city": "Rome", "children": 2, "member": True}


def ask(model: str, body: Any = None, house: FakeHouse | None = None, **form: Any) -> Any:
    """POST to the plain wire as `requests` would."""
    made = requests.Request("POST", "http://h/", json=body, **form).prepare()
    raw = made.body if isinstance(made.body, bytes) else str(made.body).encode()
    headers = {name.lower(): value for name, value in made.headers.items()}
    exchange = DATA.route(HttpRequest("POST", f"/predict/{model}", "", headers, raw))
    return json.loads(exchange.encode((house or gallery()).answer(exchange.ask)).body)


@pytest.mark.parametrize(
    "sent",
    [
        {"body": {"data": PERSON}},
        {"body": {"instances": [PERSON]}},
        {"body": {"features": [42, "Rome", 2, True]}},
        {"body": {"input": {name: [value] for name, value in PERSON.items()}}},
        {"data": {"age": "42", "city": "Rome", "children": "2", "member": "true"}},
        {"data": {"data": json.dumps([PERSON])}},
        {"files": {"file": ("people.csv", b"city,age,children,member\nRome,42,2,true\n")}},
        {"files": {"anything": ("people.json", json.dumps([PERSON]))}},
    ],
    ids=lambda sent: next(iter(sent)),
)
def test_one_row_in_every_manner(sent: dict[str, Any]) -> None:
    assert ask("people", **sent) == {
        "model": "people", "version": 1, "outputs": {"prediction": [46.0]}, "prediction": [46.0],
    }  # fmt: skip


def test_only_such_requests_are_answered_so() -> None:
    for body in (PERSON, [PERSON], {name: [value] for name, value in PERSON.items()}):
        assert set(ask("people", body)) == {"model", "version", "outputs"}


def test_the_default_output_is_the_prediction() -> None:
    iris = ask("iris", {"data": [[9.0, 1, 1, 1]]})
    assert iris["prediction"] in iris["outputs"].values()
    review = ask("review", {"data": ["bad", "fine"]})
    assert [set(row) for row in review["prediction"]] == [{"scores", "classes"}] * 2


def test_outputs_without_rows_are_one_object() -> None:
    spec = TensorSpec("x", BY_NAME["float64"], ("N",))
    outs = tuple(TensorSpec(name, BY_NAME["float64"], ()) for name in ("least", "most"))
    model = FakeModel("span", Signature((spec,), outs, ("least", "most")),
                      lambda inputs: {"least": inputs["x"].min(), "most": inputs["x"].max()})  # fmt: skip
    assert ask("span", {"data": [1, 2, 3]}, FakeHouse(model))["prediction"] == {"least": 1.0, "most": 3.0}


# -- every path --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/predict", "/api/v1/classify", "/predict/iris"])
@pytest.mark.parametrize("body", [[9, 1, 1, 1], [[9, 1, 1, 1]], {"data": [9, 1, 1, 1]}])
def test_a_post_anywhere_is_a_prediction_of_the_only_model(path: str, body: Any) -> None:
    exchange = ANYWHERE.route(HttpRequest("POST", path, "", {}, json.dumps(body).encode()))
    assert exchange.ask.model.name == ONLY_MODEL  # type: ignore[union-attr]
    house = FakeHouse(gallery().models["iris"])
    house.models[ONLY_MODEL] = house.models["iris"]
    assert len(json.loads(exchange.encode(house.answer(exchange.ask)).body)["prediction"]) == 1


def test_health() -> None:
    house = gallery()
    for status in (503, 200):
        for path in ("/", "/health", "/ping"):
            exchange = ANYWHERE.route(HttpRequest("GET", path))
            assert exchange.encode(house.answer(exchange.ask)).status == status
        house.models.pop("sleepy", None)


def test_other_verbs_are_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        ANYWHERE.route(HttpRequest("PUT", "/predict"))
    assert (caught.value.code, caught.value.facts["allow"]) == ("request.method", "POST, OPTIONS")
