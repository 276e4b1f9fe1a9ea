"""The curl lines of docs pages, taken apart as a shell would and sent."""

from __future__ import annotations

import shlex

import pytest
from fakehouse import gallery

from setsail.protocols.curl import CURL, curl_lines
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import WIRES, route

HOUSE = gallery()


def test_every_wire_has_a_line() -> None:
    assert set(CURL) == {w.name for w in WIRES}


@pytest.mark.parametrize("model", [n for n, m in HOUSE.models.items() if m.state == "ready"])
@pytest.mark.parametrize("wire", list(CURL))
@pytest.mark.parametrize("pinned", [False, True])
def test_the_line_answers(model: str, wire: str, pinned: bool) -> None:
    line = curl_lines(HOUSE.models[model].metadata(), "http://127.0.0.1:8080", pinned=pinned)[wire]
    curl, url, flag, body = shlex.split(line)
    assert (curl, flag) == ("curl", "-d")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    exchange = route(
        HttpRequest("POST", url.removeprefix("http://127.0.0.1:8080"), headers=headers, body=body.encode())
    )
    assert exchange.ask.model.version == (1 if pinned else None)  # type: ignore[union-attr]
    assert exchange.encode(HOUSE.answer(exchange.ask)).status == 200


def test_names_of_columns_are_in_the_plain_line() -> None:
    line = curl_lines(HOUSE.models["iris"].metadata(), "http://h")["plain"]
    row = '{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    assert line == f"curl http://h/predict/iris -d '{row}'"
