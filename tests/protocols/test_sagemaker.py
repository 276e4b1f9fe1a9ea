"""SageMaker's container contract: bodies by type, answers by Accept, the paths of multi-model endpoints."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, gallery

from setsail.catalog import Describe, IsLive, IsReady, ModelDescription, Register, Registered, Unregister
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.protocols import sagemaker
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.routes import Exchange
from setsail.protocols.table import Table

HOUSE = gallery()
ONE = Table(sagemaker.ROUTES, (), sagemaker.WIRE)
MANY = Table(sagemaker.MULTI_MODEL, (), sagemaker.WIRE)
ROW = [5.1, 3.5, 1.4, 0.2]
PROBABILITIES = [0.81524837, 0.16459581, 0.020155815]


def exchange(method: str, path: str, body: Any = b"", *, table: Table = MANY, **headers: str) -> Exchange:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return table.find(method, path).decode(HttpRequest(method, path, query, named, raw))


def invoke(model: str, body: Any, house: FakeHouse = HOUSE, **headers: str) -> HttpReply:
    asked = exchange("POST", f"/models/{model}/invoke", body, **headers)
    return asked.encode(house.answer(asked.ask))


def code_of(model: str, body: Any, **headers: str) -> str:
    with pytest.raises(SetsailError) as caught:
        invoke(model, body, **headers)
    return caught.value.code


def npy(array: Any) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", [ROW, ROW]),
        ("application/json", {"input": [ROW, ROW]}),
        ("application/json", [{"features": ROW}] * 2),
        ("application/jsonlines", b"[5.1,3.5,1.4,0.2]\n[5.1, 3.5, 1.4, 0.2]\n"),
        ("application/jsonlines", b'{"features": [5.1,3.5,1.4,0.2]}\n{"features": [5.1,3.5,1.4,0.2]}'),
        ("text/csv", b"5.1,3.5,1.4,0.2\n5.1,3.5,1.4,0.2"),
        ("text/csv", b"petal_width,sepal_length,sepal_width,petal_length\n0.2,5.1,3.5,1.4\n0.2,5.1,3.5,1.4\n"),
        ("text/csv; charset=utf-8", b"5.1,3.5,1.4,0.2\r\n5.1,3.5,1.4,0.2\r\n"),
        ("application/x-npy", npy(np.array([ROW, ROW]))),
        ("application/x-npy", npy(np.array([ROW, ROW], dtype=">f8"))),
    ],
)
def test_a_body_is_what_its_type_says(content_type: str, body: Any) -> None:
    reply = invoke("iris", body, content_type=content_type)
    assert json.loads(reply.body) == [pytest.approx(PROBABILITIES)] * 2


def test_instances_are_answered_with_predictions() -> None:
    for rows in ([ROW], [{"features": ROW}]):
        reply = invoke("iris", {"instances": rows}, content_type="application/json")
        assert json.loads(reply.body) == {"predictions": [pytest.approx(PROBABILITIES)]}


def test_columns_of_a_csv_without_a_header_are_in_the_signatures_order() -> None:
    reply = invoke("people", b"42,Rome,2,true\n,Oslo,0,false\n", content_type="text/csv")
    assert json.loads(reply.body) == [46.0, 1.0]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_what_accept_says() -> None:
    def answer(accept: str) -> tuple[str, bytes]:
        reply = invoke("iris", [ROW, ROW], accept=accept)
        return dict(reply.headers)["content-type"], reply.body

    row = b"0.81524837,0.16459581,0.020155815"
    assert answer("text/csv") == ("text/csv", row + b"\n" + row + b"\n")
    assert answer("application/jsonlines") == ("application/jsonlines", b"[" + row + b"]\n[" + row + b"]\n")
    assert answer("application/json") == ("application/json", b"[[" + row + b"],[" + row + b"]]")
    kind, body = answer("application/x-npy")
    loaded = np.load(BytesIO(body), allow_pickle=False)
    assert (kind, loaded.dtype, loaded.shape) == ("application/x-npy", np.float32, (2, 3))


@pytest.mark.parametrize("accept", ["", "*/*"])
def test_without_accept_the_container_s_variable_says(accept: str) -> None:
    terms = sagemaker.terms({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"})
    table = Table(sagemaker.multi_model(terms), (), sagemaker.WIRE)
    asked = exchange("POST", "/models/people/invoke", b"42,Rome,2,true", table=table, content_type="text/csv",
                     accept=accept)  # fmt: skip
    assert asked.encode(HOUSE.answer(asked.ask)).body == b"46.0\n"


def test_a_record_a_row_where_there_are_several_outputs() -> None:
    body = ["a good film", "a film"]
    lines = invoke("review", body, accept="application/jsonlines").body.splitlines()
    assert [json.loads(line)["classes"] for line in lines] == [["neg", "pos"]] * 2
    assert invoke("review", body, accept="text/csv").body == b"0.099999964,0.90000004,neg,pos\n0.9,0.1,neg,pos\n"
    assert code_of("review", body, accept="application/x-npy") == "request.media_type"


def test_custom_attributes_come_back_and_an_inference_has_an_id() -> None:
    named = {"x_amzn_sagemaker_custom_attributes": "trace=7", "x_amzn_sagemaker_inference_id": "abc"}
    reply = invoke("iris", [ROW], **named)
    assert dict(reply.headers)["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7"
    ask = exchange("POST", "/models/iris/invoke", [ROW], **named).ask
    assert isinstance(ask, Request)
    assert ask.id == "abc"


# -- faults ------------------------------------------------------------------------------------------------------------


def test_faults() -> None:
    assert code_of("iris", [ROW], content_type="image/png") == "request.media_type"
    assert code_of("iris", [ROW], accept="image/png") == "request.media_type"
    assert code_of("iris", b"{", content_type="application/json") == "request.json"
    assert code_of("iris", [[1, 2]]) == "input.shape"
    reply = sagemaker.render_error(SetsailError("model.unknown", "no such model"))
    assert reply.status == 404
    assert json.loads(reply.body)["code"] == "model.unknown"


# -- one model ---------------------------------------------------------------------------------------------------------


def test_ping_is_empty_and_true() -> None:
    asked = exchange("GET", "/ping", table=ONE)
    assert asked.ask == IsReady()
    assert (asked.encode(True), asked.encode(False).status) == (HttpReply(200), 503)


@pytest.mark.parametrize(
    ("path", "headers", "model"),
    [
        ("/invocations", {}, ModelRef("")),
        ("/invocations?model_name=iris", {}, ModelRef("iris")),
        ("/invocations?model_name=iris&model_version=3", {}, ModelRef("iris", 3)),
        ("/invocations", {"x_amzn_sagemaker_target_model": "iris.tar.gz"}, ModelRef("iris")),
    ],
)
def test_which_model_is_meant(path: str, headers: dict[str, str], model: ModelRef) -> None:
    ask = exchange("POST", path, [ROW], table=ONE, **headers).ask
    assert isinstance(ask, Request)
    assert ask.model == model


def test_what_a_batch_transform_should_send() -> None:
    given = {"SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "3", "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
             "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20"}  # fmt: skip
    table = Table(sagemaker.routes(sagemaker.terms(given)), (), sagemaker.WIRE)
    reply = exchange("GET", "/execution-parameters", table=table).encode(None)
    told = {"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 20}
    assert json.loads(reply.body) == told


# -- many models -------------------------------------------------------------------------------------------------------


def test_ping_does_not_wait_for_models() -> None:
    assert exchange("GET", "/ping").ask == IsLive()


def test_a_model_is_loaded_by_name_and_place() -> None:
    asked = exchange("POST", "/models", {"model_name": "a1b2", "url": "/opt/ml/models/a1b2/model"})
    assert asked.ask == Register("/opt/ml/models/a1b2/model", "a1b2", 1)
    assert asked.encode(Registered("a1b2", 1, "/opt/ml/models/a1b2/model/credit.setsail")).status == 200
    with pytest.raises(SetsailError) as caught:
        exchange("POST", "/models", {"model_name": "a1b2"})
    assert caught.value.code == "request.form"


def test_a_model_is_unloaded() -> None:
    asked = exchange("DELETE", "/models/a1b2")
    assert asked.ask == Unregister("a1b2")
    assert asked.encode(None) == HttpReply(200)


def test_models_are_listed_by_pages() -> None:
    known = tuple(ModelDescription(f"m{i:03}", 1, f"/opt/ml/models/m{i:03}/model", "ready") for i in range(150))

    def page(path: str) -> Any:
        asked = exchange("GET", path)
        assert asked.ask == Describe()
        return json.loads(asked.encode(known).body)

    first = page("/models")
    assert first["models"][0] == {"modelName": "m000", "modelUrl": "/opt/ml/models/m000/model"}
    second = page(f"/models?next_page_token={first['nextPageToken']}")
    assert [model["modelName"] for model in first["models"] + second["models"]] == [one.name for one in known]
    assert "nextPageToken" not in second
    for token in ("x", "-1", "0"):
        with pytest.raises(SetsailError) as caught:
            exchange("GET", f"/models?next_page_token={token}")
        assert caught.value.code == "request.form"


def test_one_model_is_described() -> None:
    asked = exchange("GET", "/models/a1b2")
    assert asked.ask == Describe("a1b2")
    told = json.loads(asked.encode((ModelDescription("a1b2", 1, "/opt/ml/models/a1b2/model", "ready"),)).body)
    assert told == {"modelName": "a1b2", "modelUrl": "/opt/ml/models/a1b2/model"}


@pytest.mark.parametrize(
    ("code", "status"),
    [("model.exists", 409), ("model.unknown", 404), ("model.memory", 507)],
)
def test_faults_have_the_contract_s_statuses(code: str, status: int) -> None:
    assert sagemaker.render_error(SetsailError(code, "it is so")).status == status
