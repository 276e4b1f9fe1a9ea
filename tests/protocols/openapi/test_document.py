"""The OpenAPI document says what the server does: its examples are answered, and answers are what it says they are."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from fakehouse import FakeHouse, gallery, two
from jsonschema import Draft202012Validator

from setsail.catalog import ModelMetadata
from setsail.protocols.openapi import document
from setsail.protocols.openapi.answers import answer
from setsail.protocols.openapi.predictions import prediction
from setsail.protocols.table import DATA
from setsail.server.asgi import Application, application

HOUSE = FakeHouse(*gallery().models.values(), two())
MODELS = {m.name: m.metadata() for m in HOUSE.models.values() if m.state == "ready"}
WITHOUT_ANSWER = ("refused",)


def made(*names: str, only: bool = False, **more: Any) -> dict[str, Any]:
    models = [MODELS[name] for name in names or MODELS]
    return document(DATA.routes, models, url="http://h", version="1.2.3", only=only, **more)


ALL = made()
EACH = {name: made(name, only=True) for name in MODELS}
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    served = application(HOUSE, max_body=20_000)
    yield served
    served.close()


def send(app: Application, method: str, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def operations(doc: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(doc: Any, part: Any) -> Any:
    while "$ref" in part:
        found = doc
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        part = found
    return part


def conforms(doc: dict[str, Any], operation: Mapping[str, Any], reply: httpx.Response) -> None:
    """The status is one that is said, and the body what is said of it."""
    said = resolved(doc, operation["responses"][str(reply.status_code)])
    if "content" not in said:
        return
    media = reply.headers["content-type"].partition(";")[0]
    schema = said["content"][media]["schema"]
    if media == "application/json":
        Draft202012Validator({"components": doc["components"], **schema}).validate(reply.json())
    if reply.status_code >= 400 and "headers" in said:
        assert reply.headers["x-setsail-error"] in said["headers"]["x-setsail-error"]["schema"]["enum"]


def schemas(part: Any) -> Iterator[Any]:
    """Every JSON Schema of a document."""
    if isinstance(part, dict):
        yield from ([part["schema"]] if "schema" in part else [])
        for value in part.values():
            yield from schemas(value)
    elif isinstance(part, list):
        for value in part:
            yield from schemas(value)


# -- the form of the document ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doc", [ALL, *EACH.values()], ids=["all", *EACH])
def test_schemas_are_schemas_and_references_lead_somewhere(doc: dict[str, Any]) -> None:
    assert doc["openapi"] == "3.1.0"
    for schema in [*schemas(doc), *doc["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)
    for ref in re.findall(r'"\$ref": "([^"]+)"', json.dumps(doc)):
        assert resolved(doc, {"$ref": ref}) is not None
    for key in (*doc["components"]["schemas"], *doc["components"]["responses"]):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", key)  # OpenAPI 3.1 §4.8.7
    ids = [operation["operationId"] for _, _, operation in operations(doc)]
    assert len(set(ids)) == len(ids)


def test_every_route_is_in_it() -> None:
    assert {(m, p) for m, p, _ in operations(ALL)} == {(route.method, route.pattern) for route in DATA.routes}
    for _, path, operation in operations(ALL):
        named = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path)


@pytest.mark.parametrize("route", DATA.routes, ids=lambda route: f"{route.method} {route.pattern}")
def test_every_route_says_what_it_takes_and_gives(route: Any) -> None:
    """A wire that is added needs a row in `predictions.py`, or rows in `answers.py`."""
    if route.predicts:
        assert prediction(route.wire.name, route.pattern) is not None
    elif not route.summary.startswith(WITHOUT_ANSWER):
        assert answer(route.wire.name, route.method, route.pattern) is not None


def test_of_one_model() -> None:
    doc = EACH["iris"]
    assert doc["info"] == {"title": "iris", "version": "1.2.3", "description": "Model `iris`, version 1."}
    assert doc["servers"] == [{"url": "http://h"}]
    assert "/v2/models/iris/infer" in doc["paths"]
    assert not any("{model}" in path for path in doc["paths"])
    assert all(key.startswith("iris.") for key in doc["components"]["schemas"])
    (version,) = doc["paths"]["/v2/models/iris/versions/{version}/infer"]["post"]["parameters"]
    assert version["schema"] == {"type": "integer", "enum": [1]}


def test_names_columns_categories_and_limits_are_in_it() -> None:
    request = EACH["people"]["components"]["schemas"]["people.plain.request"]
    (row,) = [s for s in request["anyOf"] if s.get("properties", {}).get("age", {}).get("type") == ["number", "null"]]
    assert row["required"] == ["age", "city", "children", "member"]
    assert row["properties"]["city"]["enum"] == ["Rome", "Oslo", None]
    assert row["properties"]["children"]["maximum"] == 2**63 - 1
    assert row["properties"]["member"]["type"] == "boolean"
    table = json.dumps(EACH["iris"]["components"]["schemas"]["iris.plain.request"])
    assert "columns sepal_length, sepal_width" in table
    assert "versicolor" in json.dumps(EACH["iris"]["components"]["schemas"]["iris.plain.answer"])


def test_each_signature_has_a_schema_where_the_wire_can_name_it() -> None:
    found = EACH["two"]["components"]["schemas"]
    assert {key for key in found if key.startswith("two.classify.")} == {
        "two.classify.tf-serving.predict.request", "two.classify.tf-serving.predict.answer",
        "two.classify.open-inference.infer.request", "two.classify.open-inference.infer.answer",
    }  # fmt: skip
    assert not any(key.startswith("two.prediction.") for key in found)  # it takes and gives what the default one does
    rows, _ = found["two.classify.tf-serving.predict.request"]["oneOf"]
    assert rows["properties"]["signature_name"] == {"enum": ["classify", "sort"]}
    assert rows["required"] == ["instances", "signature_name"]
    rows, _ = found["two.tf-serving.predict.request"]["oneOf"]
    assert rows["properties"]["signature_name"] == {"enum": ["serving_default", "prediction", "serve"]}
    assert rows["required"] == ["instances"]
    oip = found["two.classify.open-inference.infer.request"]
    assert oip["properties"]["parameters"]["properties"] == {"signature": {"enum": ["classify", "sort"]}}
    assert "parameters" in oip["required"]
    assert "signature" not in json.dumps(EACH["iris"]["components"]["schemas"]["iris.open-inference.infer.request"])


def test_a_key_where_one_is_asked_for() -> None:
    doc = made("iris", keyed=True)
    assert doc["security"] == [{"key": []}]
    assert doc["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert doc["paths"]["/v2/health/live"]["get"]["security"] == []
    assert "security" not in doc["paths"]["/v2"]["get"]
    assert "security" not in made("iris")


def test_without_models() -> None:
    doc = document(DATA.routes, [], url="http://h", version="1")
    assert doc["components"]["schemas"] == {}
    for schema in schemas(doc):
        Draft202012Validator.check_schema(schema)


# -- what the server does ----------------------------------------------------------------------------------------------


def examples(meta: ModelMetadata) -> Iterator[tuple[str, str, str, Any, dict[str, Any]]]:
    for method, path, operation in operations(EACH[meta.name]):
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values():
                path = path.replace("{version}", "1").replace("{label}", "stable")
                yield method, path, media, example["value"], operation


@every_model
def test_examples_are_answered_as_is_said(app: Application, name: str) -> None:
    doc = EACH[name]
    count = 0
    for method, path, media, value, operation in examples(MODELS[name]):
        schema = operation["requestBody"]["content"][media]["schema"]
        if media == "application/json":
            Draft202012Validator({"components": doc["components"], **schema}).validate(value)
        body = value if isinstance(value, str) else json.dumps(value)
        reply = send(app, method, path, content=body, headers={"content-type": media})
        assert reply.status_code == 200, (method, path, media, reply.text)
        conforms(doc, operation, reply)
        count += 1
    assert count >= 10


@pytest.mark.parametrize("name", ["iris", "people", "sleepy", "nobody"])
def test_answers_of_every_other_route_are_as_is_said(app: Application, name: str) -> None:
    for method, path, operation in operations(ALL):
        if method != "GET":
            continue
        for version in ("1", "7", "x"):
            path_ = path.format(model=name, version=version, label="stable" if version == "1" else "other", region="a")
            conforms(ALL, operation, send(app, "GET", path_))


@every_model
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"{}", b'{"instances": 1}', b'{"inputs": []}', b"[[1]]"])
def test_faults_are_as_is_said(app: Application, name: str, body: bytes) -> None:
    doc = EACH[name]
    for method, path, operation in operations(doc):
        if method == "POST":
            path = path.replace("{version}", "1").replace("{label}", "stable").replace("{verb}", "explain")
            path = path.replace("{region}", "a")
            reply = send(app, "POST", path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code != 500, (path, reply.text)
            conforms(doc, operation, reply)
