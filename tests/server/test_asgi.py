"""The data port as an ASGI application: limits, encodings, methods, faults, keys, mounting."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fakehouse import FakeHouse, gallery, iris

from setsail.catalog import IsLive
from setsail.errors import SetsailError
from setsail.server.asgi import Application, application

ROW = {"instances": [[5.1, 3.5, 1.4, 0.2]]}


def send(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


@pytest.fixture
def app() -> Application:
    return application(gallery(), max_body=10_000)


def test_a_prediction_over_each_wire(app: Application) -> None:
    assert send(app, "POST", "/predict/iris", json=[[9, 1, 1, 1]]).json()["outputs"]["label"] == ["setosa"]
    assert len(send(app, "POST", "/v1/models/iris:predict", json=ROW).json()["predictions"]) == 1
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}
    assert send(app, "POST", "/v2/models/iris/infer", json={"inputs": [tensor]}).json()["model_name"] == "iris"


def test_errors_carry_their_code(app: Application) -> None:
    reply = send(app, "POST", "/v1/models/nobody:predict", json=ROW)
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (404, "model.unknown")
    assert reply.json()["error"].startswith("[model.unknown]")


# -- methods and paths -------------------------------------------------------------------------------------------------


def test_head_has_the_headers_of_get_and_no_body(app: Application) -> None:
    get, head = send(app, "GET", "/v2/health/live"), send(app, "HEAD", "/v2/health/live")
    assert head.status_code == 200
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert head.content == b""


def test_options_and_wrong_methods_list_what_is_allowed(app: Application) -> None:
    options = send(app, "OPTIONS", "/predict/iris")
    assert (options.status_code, options.headers["allow"]) == (204, "POST, OPTIONS")
    wrong = send(app, "DELETE", "/v2/models/iris")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert wrong.headers["x-setsail-error"] == "request.method"
    assert send(app, "OPTIONS", "/nowhere").status_code == 404


def test_percent_encoded_paths(app: Application) -> None:
    assert send(app, "POST", "/v1/models/ir%69s%3Apredict", json=ROW).status_code == 200


def test_mounted_below_a_prefix(app: Application) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/models/here", app)])
    assert send(outer, "GET", "/models/here/v2/health/live").json() == {"live": True}
    assert send(outer, "GET", "/models/here/").json() == {"status": "alive"}


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "squeeze"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("x-gzip", gzip.compress)],
)
def test_compressed_bodies(app: Application, coding: str, squeeze: Any) -> None:
    body = squeeze(json.dumps(ROW).encode())
    reply = send(app, "POST", "/v1/models/iris:predict", content=body, headers={"content-encoding": coding})
    assert reply.status_code == 200


def test_two_gzip_members_are_one_body(app: Application) -> None:
    text = json.dumps(ROW).encode()
    body = gzip.compress(text[:9]) + gzip.compress(text[9:])
    assert send(app, "POST", "/v1/models/iris:predict", content=body, headers={"content-encoding": "gzip"}).is_success


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("br", b"x", 501, "request.encoding"),
        ("gzip", b"plain", 400, "request.compressed"),
        ("gzip", gzip.compress(b"[" * 100, mtime=0)[:-9], 400, "request.compressed"),
        ("gzip", gzip.compress(b" " * 10_001, mtime=0), 413, "request.too_large"),
        ("deflate", zlib.compress(b" " * 5_000_000), 413, "request.too_large"),
    ],
)
def test_bad_compression(app: Application, coding: str, body: bytes, status: int, code: str) -> None:
    reply = send(app, "POST", "/predict/iris", content=body, headers={"content-encoding": coding})
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (status, code)
    if code == "request.encoding":
        assert reply.headers["accept-encoding"] == "gzip, deflate"


def test_a_length_over_the_limit_is_refused_before_reading() -> None:
    app = application(gallery(), max_body=10)
    events: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def collect(event: Any) -> None:
        events.append(event)

    scope = {"type": "http", "method": "POST", "path": "/v2/models/iris/infer", "headers": [(b"content-length", b"11")]}
    asyncio.run(app(scope, receive, collect))
    assert events[0]["status"] == 413
    assert (b"x-setsail-error", b"request.too_large") in events[0]["headers"]
    assert (b"connection", b"close") in events[0]["headers"]


def test_a_chunked_body_is_counted(app: Application) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 1000

    reply = send(app, "POST", "/predict/iris", content=chunks())
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (413, "request.too_large")


def test_a_client_that_went_away_gets_nothing(app: Application) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def collect(event: Any) -> None:
        raise AssertionError("sent to nobody")

    asyncio.run(app({"type": "http", "method": "POST", "path": "/predict/iris", "headers": []}, receive, collect))


# -- faults ------------------------------------------------------------------------------------------------------------


def test_an_unexpected_exception_gives_an_id_and_the_log_has_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    model = iris()
    model.run = lambda inputs: 1 // 0  # type: ignore[assignment,return-value]
    app = application(FakeHouse(model))
    with caplog.at_level(logging.ERROR, "setsail.server"):
        reply = send(app, "POST", "/predict/iris", json=[[1, 2, 3, 4]])
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (500, "server.fault")
    error_id = reply.headers["x-setsail-error-id"]
    assert error_id in reply.json()["error"]
    assert "ZeroDivision" not in reply.text
    assert error_id in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert send(app, "GET", "/v2/health/live").status_code == 200


def test_a_runtime_fault_keeps_its_code_and_gets_an_id(caplog: pytest.LogCaptureFixture) -> None:
    def run(inputs: Any) -> Any:
        raise SetsailError("model.run", "the runtime failed")

    model = iris()
    model.run = run
    reply = send(application(FakeHouse(model)), "POST", "/v1/models/iris:predict", json=ROW)
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (500, "model.run")
    assert reply.headers["x-setsail-error-id"] in caplog.text


# -- control and keys --------------------------------------------------------------------------------------------------


def test_load_and_unload_only_with_control() -> None:
    path = "/v2/repository/models/iris/unload"
    assert send(application(gallery()), "POST", path).headers["x-setsail-error"] == "control.refused"
    house = gallery()
    assert send(application(house, control=True), "POST", path).status_code == 200
    assert house.models["iris"].state == "gone"


def test_a_page_in_a_browser_cannot_unload() -> None:
    path, headers = "/v2/repository/models/iris/unload", {"origin": "http://evil.example"}
    refused = send(application(gallery(), control=True), "POST", path, headers=headers)
    assert (refused.status_code, refused.headers["x-setsail-error"]) == (403, "control.refused")
    with_key = {"authorization": "Bearer k"} | headers
    assert send(application(gallery(), control=True, api_keys=["k"]), "POST", path, headers=with_key).status_code == 200


def test_api_keys() -> None:
    app = application(gallery(), api_keys=["one", "two"])
    assert send(app, "GET", "/v2/health/live").status_code == 200
    refused = send(app, "GET", "/v2/models/iris")
    assert (refused.status_code, refused.headers["x-setsail-error"]) == (401, "request.key")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert send(app, "GET", "/v2/models/iris", headers={"authorization": "Bearer three"}).status_code == 401
    assert send(app, "GET", "/v2/models/iris", headers={"authorization": "Basic two"}).status_code == 401
    assert send(app, "GET", "/v2/models/iris", headers={"authorization": "bearer two"}).status_code == 200


# -- the only model ----------------------------------------------------------------------------------------------------


def test_predict_without_a_name() -> None:
    assert send(application(FakeHouse(iris())), "POST", "/predict", json=[[1, 2, 3, 4]]).json()["model"] == "iris"
    several = send(application(gallery()), "POST", "/predict", json=[[1, 2, 3, 4]])
    assert (several.status_code, several.headers["x-setsail-error"]) == (404, "model.unknown")
    assert "the name of echo-bool or " in several.json()["error"]
    assert "/predict/NAME" in several.json()["error"]


def test_invocations_without_a_name() -> None:
    rows = {"instances": [[1, 2, 3, 4]]}
    assert send(application(FakeHouse(iris())), "POST", "/invocations", json=rows).status_code == 200
    several = send(application(gallery()), "POST", "/invocations", json=rows)
    assert (several.status_code, several.headers["x-setsail-error"]) == (404, "model.unknown")
    assert "?model_name=NAME" in several.json()["message"]


# -- liveness ----------------------------------------------------------------------------------------------------------


def test_health_answers_while_every_thread_is_busy() -> None:
    release, entered = threading.Event(), threading.Semaphore(0)
    model = iris()
    usual = model.run

    def slow(inputs: Any) -> Any:
        entered.release()
        assert release.wait(20)
        return usual(inputs)

    model.run = slow
    app = application(FakeHouse(model), threads=2)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
            busy = [asyncio.create_task(client.post("/predict/iris", json=[[1, 2, 3, 4]])) for _ in range(4)]
            await asyncio.to_thread(entered.acquire)
            await asyncio.to_thread(entered.acquire)
            assert (await client.get("/v2/health/ready")).status_code == 200
            assert (await client.get("/v2/models/iris")).status_code == 200
            assert not any(task.done() for task in busy)
            release.set()
            assert [r.status_code for r in await asyncio.gather(*busy)] == [200] * 4

    asyncio.run(run())


def test_lifespan_closes_what_it_was_given() -> None:
    closed: list[bool] = []
    app = application(gallery(), close=lambda: closed.append(True))
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def collect(event: Any) -> None:
        sent.append(event["type"])

    asyncio.run(app({"type": "lifespan"}, receive, collect))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert closed == [True]


def test_websockets_are_closed(app: Application) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def collect(event: Any) -> None:
        sent.append(event["type"])

    asyncio.run(app({"type": "websocket", "path": "/", "headers": []}, receive, collect))
    assert sent == ["websocket.close"]


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_traffic_counts_by_model_version_wire_and_code(app: Application) -> None:
    send(app, "POST", "/predict/iris", json=[[1, 2, 3, 4], [1, 2, 3, 4]])
    send(app, "POST", "/predict/iris", content=b"{")
    send(app, "POST", "/predict/scanned-name", content=b"{")
    send(app, "GET", "/v2/health/live")
    counts = app.meter.snapshot()
    assert counts.requests == {
        ("iris", 1, "plain", "ok"): 1, ("iris", 0, "plain", "request.json"): 1, ("", 0, "plain", "request.json"): 1
    }  # fmt: skip
    assert counts.rows == {("iris", 1): 2}
    assert sum(counts.latencies["iris", 1, "plain"].counts) == 1


def test_the_house_is_asked_what_the_path_says(app: Application) -> None:
    send(app, "GET", "/v2/health/live")
    assert app.house.asks == [IsLive()]  # type: ignore[attr-defined]


def test_the_data_port_imports_no_web_framework() -> None:
    heavy = "('starlette', 'jinja2', 'prometheus_client')"
    code = f"import sys, setsail.server.asgi; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
