"""Whose request `POST /invocations` of the data port is: the rule, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols import invocations, mlflow
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA

HOUSE = gallery()
ROW = [5.1, 3.5, 1.4, 0.2]
HEADER = b"sepal_length,sepal_width,petal_length,petal_width"
FIRST = b"5.1,3.5,1.4,0.2"


def whose(model: str, body: Any, content_type: str = "application/json", accept: str = "*/*") -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": content_type, "accept": accept}
    exchange = DATA.route(HttpRequest("POST", "/invocations", f"model_name={model}", headers, raw))
    reply = exchange.encode(HOUSE.answer(exchange.ask))
    assert reply.status == 200
    return "mlflow" if reply.body.startswith(b'{"predictions":') else "sagemaker"


@pytest.mark.parametrize(
    ("body", "owner"),
    [
        ({"instances": [ROW]}, "mlflow"),
        ({"inputs": [ROW]}, "mlflow"),
        ({"dataframe_split": {"data": [ROW]}}, "mlflow"),
        ({"inputs": [ROW], "comment": "more keys"}, "mlflow"),
        ([ROW], "sagemaker"),
        ({"input": [ROW]}, "sagemaker"),
        (dict(zip(HEADER.decode().split(","), ROW, strict=True)), "sagemaker"),
        ({"input": [ROW] * 400}, "sagemaker"),
        ([ROW] * 400, "sagemaker"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "", "application/x-www-form-urlencoded"])
def test_json_is_mlflows_by_its_keys(body: Any, owner: str, content_type: str) -> None:
    assert whose("iris", body, content_type) == owner


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "owner"),
    [
        (HEADER + b"\n" + FIRST, "text/csv", "*/*", "mlflow"),
        (b"," + HEADER + b"\n0," + FIRST, "text/csv", "*/*", "mlflow"),
        (b"\xef\xbb\xbf" + HEADER + b"\r\n" + FIRST, "text/csv; charset=utf-8", "application/json", "mlflow"),
        (FIRST, "text/csv", "*/*", "sagemaker"),
        (FIRST + b"\n" + FIRST, "text/csv", "*/*", "sagemaker"),
        (HEADER + b"\n" + FIRST, "text/csv", "text/csv", "sagemaker"),
        (HEADER + b"\n" + FIRST, "text/csv; label_size=0", "*/*", "sagemaker"),
    ],
)
def test_a_csv_is_mlflows_by_its_header(body: bytes, content_type: str, accept: str, owner: str) -> None:
    assert whose("iris", body, content_type, accept) == owner


def test_parquet_is_mlflows_and_numpy_sagemakers() -> None:
    with pytest.raises(SetsailError) as caught:
        whose("iris", b"no such file", mlflow.PARQUET)
    assert caught.value.code == "request.binary"
    with pytest.raises(SetsailError) as caught:
        whose("iris", b"no such file", "application/x-npy")
    assert caught.value.code == "request.binary"


def test_there_are_mlflows_paths_besides() -> None:
    assert {route.pattern for route in invocations.ROUTES} == {"/invocations", "/health", "/version"}
