"""What Triton has and setsail has not: refused by name, never ignored and never a bare 404."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from setsail.protocols.http import HttpReply

Ask = Callable[..., HttpReply]
MEMORY = ("/v2/systemsharedmemory", "/v2/cudasharedmemory")


def refused(reply: HttpReply, status: int = 501, code: str = "request.unsupported") -> str:
    assert (reply.status, dict(reply.headers)["x-setsail-error"]) == (status, code)
    text: str = json.loads(reply.body)["error"]
    return text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"{m}{r}/status") for m in MEMORY for r in ("", "/region/r")),
        *(("POST", f"{m}{r}/unregister") for m in MEMORY for r in ("", "/region/r")),
        *(("POST", f"{m}/region/r/register") for m in MEMORY),
        *((m, p) for m in ("GET", "POST")
          for p in ("/v2/logging", "/v2/trace/setting", "/v2/models/iris/trace/setting")),
        *(("POST", f"/v2/models/iris{v}/{verb}") for v in ("", "/versions/1")
          for verb in ("generate", "generate_stream", "infer_stream")),
    ],
)  # fmt: skip
def test_operations(ask: Ask, method: str, path: str) -> None:
    for flavour in ("", "triton"):
        assert path in refused(ask(method, path, b"{}", flavour=flavour))


X: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"])
def test_tensors_in_shared_memory(ask: Ask, key: str) -> None:
    for body in (
        {"inputs": [X | {"parameters": {key: "r"}}]},
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {key: "r"}}]},
    ):
        assert key in refused(ask("POST", "/v2/models/echo-float32/infer", body))


@pytest.mark.parametrize("parameter", [{"sequence_id": 3}, {"sequence_id": "a"}, {"sequence_start": True}])
def test_sequences(ask: Ask, parameter: dict[str, Any]) -> None:
    body = {"inputs": [X], "parameters": parameter}
    assert "sequence" in refused(ask("POST", "/v2/models/echo-float32/infer", body))
    none = {"sequence_id": 0, "sequence_start": False, "sequence_end": False, "priority": 1, "mine": "x"}
    assert ask("POST", "/v2/models/echo-float32/infer", {"inputs": [X], "parameters": none}).status == 200


@pytest.mark.parametrize("name", ["triton_enable_empty_final_response", "triton_other"])
def test_reserved_names(ask: Ask, name: str) -> None:
    body = {"inputs": [X], "parameters": {name: True}}
    assert name in refused(ask("POST", "/v2/models/echo-float32/infer", body), 400, "request.form")


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"config": '{"name":"iris"}'}, 501, "request.unsupported"),
        ({"file:1/model.onnx": "AAAA"}, 501, "request.unsupported"),
        ({"other": 1}, 400, "request.form"),
    ],
)
def test_a_load_brings_nothing_along(ask: Ask, parameters: dict[str, Any], status: int, code: str) -> None:
    reply = ask("POST", "/v2/repository/models/iris/load", {"parameters": parameters}, control=True)
    refused(reply, status, code)


def test_no_repository_has_a_name(ask: Ask) -> None:
    refused(ask("POST", "/v2/repository/mine/index"))


def test_unloading_takes_its_parameter(ask: Ask) -> None:
    for body in (b"", b"{}", {"parameters": {"unload_dependents": True}}):
        assert ask("POST", "/v2/repository/models/iris/unload", body, control=True).status == 200
