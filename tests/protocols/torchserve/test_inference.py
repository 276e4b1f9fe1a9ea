"""TorchServe's inference API as its clients see it: paths, bodies, headers, texts of errors."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import requests
from fakehouse import FakeHouse, FakeModel, gallery

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.table import DATA, Table
from setsail.protocols.torchserve.inference import OLDER, ROUTES
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

FLAVOUR = Table.of(*ROUTES, *OLDER)
PERSON = {"age": 42, "city": "Rome", "children": 2, "member": True}


def ask(
    path: str, body: Any = b"", kind: str = "", *, method: str = "POST", house: FakeHouse | None = None, **headers: str
) -> HttpReply:
    """What a server answers, faults included."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    bare, _, query = path.partition("?")
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"content-type": kind} if kind else {})
    try:
        exchange = FLAVOUR.route(HttpRequest(method, bare, query, sent, raw))
        return exchange.encode((house or gallery()).answer(exchange.ask))
    except SetsailError as fault:
        return FLAVOUR.wire_of(bare).render_error(fault)


def answer(*args: Any, **options: Any) -> Any:
    reply = ask(*args, **options)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


# -- predictions -------------------------------------------------------------------------------------------------------


def test_an_answer_is_laid_out_as_the_originals() -> None:
    assert ask("/predictions/people", [PERSON, PERSON]).body == b"[\n  46.0,\n  46.0\n]"
    probabilities = json.loads(ask("/predictions/iris", {"data": [5.1, 3.5, 1.4, 0.2]}).body)
    assert ask("/predictions/iris", [[5.1, 3.5, 1.4, 0.2]]).body == json.dumps(probabilities, indent=2).encode()


def test_an_output_of_several_is_an_object_a_row() -> None:
    first = {"scores": [0.9, 0.1], "classes": ["neg", "pos"]}
    told = answer("/predictions/review", b"bad", "text/plain")
    assert [set(row) for row in told] == [set(first)]


def test_what_is_not_finite_is_as_python_writes_it() -> None:
    spec = TensorSpec("x", BY_NAME["float32"], ("N", 2), nullable=True)
    out = TensorSpec("y", BY_NAME["float32"], ("N", 2))
    house = FakeHouse(FakeModel("odd", Signature((spec,), (out,), ("y",)), lambda inputs: {"y": inputs["x"] * 2}))
    reply = ask("/predictions/odd", b"[[1.05, NaN]]", house=house)
    assert reply.body == b"[\n  [\n    2.1,\n    NaN\n  ]\n]"


def test_headers_of_every_reply() -> None:
    reply = ask("/predictions/people", PERSON)
    headers = dict(reply.fields)
    assert headers["pragma"] == "no-cache"
    assert headers["cache-control"] == "no-cache; no-store, must-revalidate, private"
    assert headers["expires"] == "Thu, 01 Jan 1970 00:00:00 UTC"
    assert len(headers["x-request-id"]) == 36
    assert headers["x-request-id"] != dict(ask("/predictions/people", PERSON).fields)["x-request-id"]
    assert dict(ask("/predictions/people", PERSON, x_request_id="mine").fields)["x-request-id"] == "mine"


def form(**options: Any) -> tuple[bytes, str]:
    request = requests.Request("POST", "http://h/", **options).prepare()
    raw = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    kind, _, chance = request.headers["content-type"].partition("boundary=")
    if not chance:
        return raw, kind
    return raw.replace(chance.encode(), b"boundary"), f"{kind}boundary=boundary"  # the same in every process


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"data": [[1, 2, 3, 4]]}', "application/json"),
        (b'{"instances": [[1, 2, 3, 4]]}', ""),
        (b"[[1, 2, 3, 4]]", "text/plain"),
        (b" [[1, 2, 3, 4]]", "application/octet-stream"),
        (npy([[1.0, 2, 3, 4]]), ""),
        (npy([[1.0, 2, 3, 4]]), "application/x-npy"),
        form(data={"data": "[[1, 2, 3, 4]]"}),
        form(files={"data": b"[[1, 2, 3, 4]]"}),
        form(files={"data": ("rows.json", b"[[1, 2, 3, 4]]")}),
        form(files={"body": ("rows.npy", npy([[1, 2, 3, 4]]))}),
    ],
)
def test_bodies_of_the_same_row(raw: bytes, kind: str) -> None:
    assert answer("/predictions/iris", raw, kind) == answer("/predictions/iris", [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"bad", ""),
        (b"bad", "text/plain; charset=utf-8"),
        (b"bad", "application/octet-stream"),
        form(files={"data": ("review.txt", b"bad")}),
        form(data={"data": "bad"}),
        (b'"bad"', "application/json"),
    ],
)
def test_a_text_sent_as_it_is(raw: bytes, kind: str) -> None:
    assert answer("/predictions/review", raw, kind) == answer("/predictions/review", ["bad"])


def test_fields_and_table_files() -> None:
    fields, kind = form(data={"age": "42", "city": "Rome", "children": "2", "member": "true"})
    assert answer("/predictions/people", fields, kind) == [46.0]
    table, kind = form(files={"data": ("p.csv", b"age,city,children,member\n42,Rome,2,true\n", "text/csv")})
    assert answer("/predictions/people", table, kind) == [46.0]
    assert answer("/predictions/people", b"age,city,children,member\n42,Rome,2,true\n", "text/csv") == [46.0]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE"])
def test_any_verb_and_any_way_to_write_a_version(method: str) -> None:
    for path in ("/predictions/people", "/predictions/people/1", "/predictions/people/1.0"):
        assert answer(path, PERSON, method=method) == [46.0]


@pytest.mark.parametrize(
    "path",
    [
        "/invocations?model_name=people", "/invocations?model_name=people&model_version=1.0", "/models/people/invoke",
        "/people/predict", "/people/1.0/predict",
    ],
)  # fmt: skip
def test_older_paths(path: str) -> None:
    assert answer(path, PERSON) == [46.0]


def test_inputs_in_the_query_of_older_paths() -> None:
    assert answer("/people/predict?age=42&city=Rome&children=2&member=true", method="GET") == [46.0]
    exchange = FLAVOUR.route(HttpRequest("POST", "/invocations", body=b"[1]"))
    assert exchange.ask.model.name == ONLY_MODEL  # type: ignore[union-attr]


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/predictions/nobody", [[1]], 404, "ModelNotFoundException", "Model not found: nobody"),
        ("/predictions/iris/2.0", [[1]], 404, "ModelVersionNotFoundException", None),
        ("/predictions/iris", [[1]], 400, "BadRequestException", None),
        ("/predictions/iris", b"", 400, "BadRequestException", None),
        ("/predictions/iris", b"\xff\xd8", 400, "BadRequestException", None),
        ("/predictions/sleepy", [[1, 2]], 503, "ServiceUnavailableException", None),
        ("/explanations/iris", [[1]], 501, "UnsupportedOperationException", None),
        ("/predictions", b"", 404, "ResourceNotFoundException",
         "Requested resource is not found, please refer to API document."),
    ],
)  # fmt: skip
def test_errors(path: str, body: Any, status: int, kind: str, message: str | None) -> None:
    reply = ask(path, body)
    told = json.loads(reply.body)
    assert reply.status == status
    assert list(told) == ["code", "type", "message"]
    assert (told["code"], told["type"]) == (status, kind)
    assert message in (None, told["message"])
    assert reply.body.startswith(b'{\n  "code": ')


def test_codes_of_ours_are_a_header() -> None:
    assert dict(ask("/explanations/iris").headers)["x-setsail-error"] == "request.unsupported"
    assert dict(ask("/predictions/iris", b"\xff\xd8").headers)["x-setsail-error"] == "request.media_type"


# -- health and description ------------------------------------------------------------------------------------------


def test_ping() -> None:
    house = gallery()
    assert (ask("/ping", method="GET", house=house).status, ask("/ping", method="GET", house=house).body) == (
        500, b'{\n  "status": "Unhealthy"\n}\n',
    )  # fmt: skip
    del house.models["sleepy"]
    reply = ask("/ping", method="GET", house=house)
    assert (reply.status, reply.body) == (200, b'{\n  "status": "Healthy"\n}\n')


def test_the_description_names_every_path() -> None:
    told = answer("/api-description", method="GET")
    assert told["openapi"] == "3.0.1"
    assert set(told["paths"]) == {route.pattern for route in (*ROUTES, *OLDER)}


def test_the_data_port_has_the_paths_that_are_nobody_elses() -> None:
    assert set(ROUTES) <= set(DATA.routes)
    assert {route.pattern for route in OLDER} & {route.pattern for route in DATA.routes} <= {"/invocations"}
