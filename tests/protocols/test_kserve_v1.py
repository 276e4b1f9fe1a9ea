"""KServe's V1 on a port of its own: its own bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols.flavours import FLAVOURS
from setsail.protocols.http import HttpReply, HttpRequest

TABLE = FLAVOURS["kserve"].data.table()


def send(method: str, path: str, body: Any = b"") -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        exchange = TABLE.route(HttpRequest(method, path, body=raw))
        return exchange.encode(gallery().answer(exchange.ask))
    except SetsailError as fault:
        return TABLE.wire_of(path).render_error(fault)


def code(reply: HttpReply) -> tuple[int, str]:
    assert isinstance(json.loads(reply.body)["error"], str)
    return reply.status, dict(reply.headers)["x-setsail-error"]


def predictions(model: str, body: Any) -> Any:
    reply = send("POST", f"/v1/models/{model}:predict", body)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["predictions"]


def test_whether_it_is_there() -> None:
    assert send("GET", "/").body == b'{"status":"alive"}'
    assert {"iris", "sleepy"} <= set(json.loads(send("GET", "/v1/models").body)["models"])
    assert send("GET", "/v1/models/iris").body == b'{"name":"iris","ready":true}'
    assert code(send("GET", "/v1/models/sleepy")) == (503, "model.not_ready")
    assert code(send("GET", "/v1/models/nobody")) == (404, "model.unknown")


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_rows_are_answered_with_predictions(key: str) -> None:
    assert predictions("image", {key: [[[1, 2, 3], [4, 5, 6]]]}) == [21.0]
    assert predictions("people", {key: [{"age": 1, "city": "Rome", "children": 2, "member": True}]}) == [5.0]
    assert predictions("echo-float32", {key: [[1, 2]] * 3000}) == [[1.0, 2.0]] * 3000


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_row_may_be_a_little_table(key: str) -> None:
    table = {"age": {"0": 1, "1": 2}, "city": {"0": "Rome", "1": None}, "children": {"0": 1, "1": 3},
             "member": {"0": True, "1": False}}  # fmt: skip
    one = {"age": {"x": 7}, "city": {"x": "Oslo"}, "children": {"x": 0}, "member": {"x": False}}
    assert predictions("people", {key: [table, one]}) == [4.0, 5.0, 8.0]


def test_columns_stay_columns() -> None:
    reply = send("POST", "/v1/models/image:predict", {"inputs": {"pixels": [[[1, 2, 3], [4, 5, 6]]]}})
    assert reply.body == b'{"outputs":[21.0]}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "request.json")),
        ({}, (400, "request.form")),
        ({"instances": 1}, (400, "request.form")),
        ({"inputs": 1}, (400, "request.form")),
        ({"instances": [{"age": {"0": 1}, "city": {"1": "Rome"}}]}, (400, "input.ragged")),
        ({"instances": [{"age": {"0": 1}, "city": "Rome"}]}, (400, "input.ragged")),
        ({"instances": [{"age": {"0": 1}}, 7]}, (400, "input.ragged")),
        ({"instances": []}, (400, "input.empty")),
    ],
)
def test_what_is_no_request(body: Any, expected: tuple[int, str]) -> None:
    assert code(send("POST", "/v1/models/people:predict", body)) == expected


def test_explanations_are_refused() -> None:
    reply = send("POST", "/v1/models/iris:explain", {"instances": [[1, 2, 3, 4]]})
    assert code(reply) == (501, "request.unsupported")


def test_other_paths_are_told_in_its_shape() -> None:
    assert code(send("GET", "/v1/models/iris/metadata")) == (404, "request.path")
    assert code(send("GET", "/v1/models/iris:predict")) == (405, "request.method")
