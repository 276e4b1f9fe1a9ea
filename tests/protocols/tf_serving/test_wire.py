"""How faults are told: recorded bytes, on the shared port and on the original's own."""

from __future__ import annotations

import json

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols.flavours import FLAVOURS
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA, Table

ORIGINAL = FLAVOURS["tfserving"].data.table()
both = pytest.mark.parametrize("table", [DATA, ORIGINAL], ids=["shared", "original"])


def asked(table: Table, request: HttpRequest) -> HttpReply:
    exchange = table.route(request)
    return exchange.encode(gallery().answer(exchange.ask))


def fault(table: Table, method: str, path: str, body: bytes = b'{"instances": [[1, 2, 3, 4]]}') -> HttpReply:
    """What a client is told, as the desk has it told."""
    with pytest.raises(SetsailError) as caught:
        asked(table, HttpRequest(method, path, body=body))
    return table.wire_of(path).render_error(caught.value)


@both
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/models/iris:other"), ("GET", "/v1/models/iris:predict"), ("DELETE", "/v1/models/iris"),
     ("POST", "/V1/nowhere"), ("POST", "/v1/models/a/b:predict"), ("PUT", "/v1/models/iris/versions/1")],
)  # fmt: skip
def test_what_is_unmatched_is_a_malformed_request(table: Table, method: str, path: str) -> None:
    reply = fault(table, method, path)
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith(f"Malformed request: {method} {path} [request.")


def test_outside_there_is_nothing() -> None:
    assert fault(ORIGINAL, "GET", "/v2/health/ready").status == 404
    assert fault(ORIGINAL, "GET", "/").status == 404


@both
def test_an_unknown_model_ends_with_what_was_looked_for(table: Table) -> None:
    reply = fault(table, "POST", "/v1/models/nobody:predict")
    assert reply.status == 404
    assert json.loads(reply.body)["error"].endswith("Servable not found for request: Latest(nobody)")
    reply = fault(table, "GET", "/v1/models/iris/versions/7")
    assert reply.status == 404
    assert json.loads(reply.body)["error"].endswith("Servable not found for request: Specific(iris, 7)")
    assert dict(reply.headers) == {"content-type": "application/json", "x-setsail-error": "model.version"}


def test_a_model_that_is_loading_is_not_there_yet_for_the_original() -> None:
    path = "/v1/models/sleepy:predict"
    assert (fault(DATA, "POST", path).status, fault(ORIGINAL, "POST", path).status) == (503, 404)


@both
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/models/iris/labels/canary:predict", 400, "model.label"),
        ("/v1/models/iris:regress", 400, "request.form"),
        ("/v1/models/review:predict", 400, "input.dtype"),
    ],
)
def test_other_faults(table: Table, path: str, status: int, code: str) -> None:
    reply = fault(table, "POST", path)
    assert (reply.status, dict(reply.headers)["x-setsail-error"]) == (status, code)
    assert json.loads(reply.body).keys() == {"error"}


def test_an_unknown_signature_is_400() -> None:
    reply = fault(ORIGINAL, "POST", "/v1/models/iris:predict", b'{"signature_name": "x", "instances": [[1, 2, 3, 4]]}')
    assert (reply.status, dict(reply.headers)["x-setsail-error"]) == (400, "model.signature")


def test_explanations_are_refused_by_name() -> None:
    reply = fault(DATA, "POST", "/v1/models/iris:explain")
    assert (reply.status, dict(reply.headers)["x-setsail-error"]) == (501, "request.unsupported")
