"""TorchServe's management as its documentation shows it, sent by `requests` and by grpc to real servers."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
import requests
from scaled import artifact, program
from sklearn.linear_model import LinearRegression

from setsail.protocols.grpc import pool
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor

spawning = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
PROTOS = Path(pool.__file__).with_name("proto")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Curl(Protocol):
    def __call__(self, line: str, **how: Any) -> requests.Response: ...


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model store with `noop` 1 and 2, which multiply by 1 and 2."""
    folder = tmp_path_factory.mktemp("managed") / "model_store"
    for version in (1, 2):
        artifact(folder / f"noop_{version}.setsail", float(version), name="noop", version=version).close()
    artifact(folder / "wrong.setsail", 2.0, name="wrong", stored=5.0).close()
    artifact(folder.parent / "outside.setsail", name="outside").close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder


def settings(store: Path, **more: Any) -> Settings:
    return Settings(**({"port": 0, "admin_port": -1, "as_": "torchserve", "model_store": str(store)} | more))


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=spawning)], ids=["one process", "two"])
def server(store: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    made: Any = Server(settings(store)) if request.param == 1 else Supervisor(settings(store), request.param)
    with made:
        made.start()
        yield made


def curl_of(server: Any, port: int = 8081) -> Curl:
    """`POST /models?url=x` as a request to the port that is 8081 in the original."""
    number = next(n for door, n in zip(server.doors, server._ports, strict=True) if door.row.number == port)

    def curl(line: str, **how: Any) -> requests.Response:
        method, path = line.split(" ", 1)
        return requests.request(method, f"http://127.0.0.1:{number}{path}", timeout=60, **how)

    return curl


@pytest.fixture
def curl(server: Any) -> Iterator[Curl]:
    """Requests to the management port; whatever is registered goes when a test ends."""
    ask = curl_of(server)
    yield ask
    for model in ask("GET /models").json()["models"]:
        for one in reversed(ask(f"GET /models/{model['modelName']}/all").json()):
            if not ask(f"DELETE /models/{one['modelName']}/{one['modelVersion']}").ok:
                ask(f"PUT /models/{one['modelName']}/1.0/set-default")
                ask(f"DELETE /models/{one['modelName']}/{one['modelVersion']}")
        ask(f"DELETE /models/{model['modelName']}")


def told(reply: requests.Response) -> tuple[int, Any]:
    return reply.status_code, reply.json()


def predicted(server: Any, path: str = "noop") -> tuple[int, Any]:
    reply = curl_of(server, 8080)(f"POST /predictions/{path}", json=[[1, 2]])
    return reply.status_code, reply.json()


def test_a_model_is_registered_scaled_described_and_unregistered(server: Any, curl: Curl) -> None:
    assert told(curl("POST /models?url=noop_1.setsail")) == (200, {
        "status": 'Model "noop" Version: 1.0 registered with 0 initial workers. '
        "Use scale workers API to add workers for the model."
    })  # fmt: skip
    code, fault = predicted(server)
    assert (code, fault["type"]) == (503, "ServiceUnavailableException")
    assert fault["message"].startswith(
        'Model "noop" has no worker to serve inference request. Please use scale workers'
    )
    assert told(curl("PUT /models/noop?min_worker=3&synchronous=true")) == (
        200, {"status": "Workers scaled to 3 for model: noop"},
    )  # fmt: skip
    assert predicted(server) == (200, [[1.0, 2.0]])
    (noop,) = curl("GET /models/noop").json()
    assert (noop["modelName"], noop["modelVersion"], noop["modelUrl"]) == ("noop", "1.0", "noop_1.setsail")
    assert (noop["minWorkers"], noop["maxWorkers"], noop["loadedAtStartup"]) == (3, 3, False)
    assert {worker["status"] for worker in noop["workers"]} == {"READY"}
    assert told(curl("DELETE /models/noop")) == (200, {"status": 'Model "noop" unregistered'})
    assert told(curl("GET /models/noop")) == (
        404, {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: noop"},
    )  # fmt: skip
    assert predicted(server)[0] == 404


def test_a_description_has_the_documented_keys_in_their_order_and_is_true(server: Any, curl: Curl) -> None:
    line = "POST /models?initial_workers=1&url=noop_1.setsail&batch_size=8&max_batch_delay=50&response_timeout=30"
    assert curl(line).json()["status"] == 'Model "noop" Version: 1.0 registered with 1 initial workers'
    (noop,) = curl("GET /models/noop").json()
    documented = ["modelName", "modelVersion", "modelUrl", "engine", "runtime", "minWorkers", "maxWorkers", "batchSize",
                  "maxBatchDelay", "responseTimeout", "startupTimeout"]  # fmt: skip
    assert list(noop)[:11] == documented
    assert list(noop)[-3:] == ["loadedAtStartup", "workers", "jobQueueStatus"]
    assert (noop["batchSize"], noop["maxBatchDelay"], noop["responseTimeout"]) == (8, 50, 30)
    assert (noop["engine"], noop["runtime"]) == ("onnx 1.0", "python")
    pids = server.crew.pids if isinstance(server, Supervisor) else [os.getpid()]
    assert sorted(worker["pid"] for worker in noop["workers"]) == sorted(pids)
    for worker in noop["workers"]:
        assert list(worker) == ["id", "startTime", "status", "memoryUsage", "pid", "gpu", "gpuUsage"]
        assert STAMP.fullmatch(worker["startTime"])
        assert worker["memoryUsage"] > 1 << 20
        assert worker["gpu"] is False
    assert noop["jobQueueStatus"] == {"remainingCapacity": 1000 * len(pids), "pendingRequests": 0}
    (customized,) = curl("GET /models/noop/1.0?customized=true").json()
    assert customized["customizedMetadata"] == {"framework": "onnx 1.0", "labels": []}


def test_versions_are_told_apart_and_the_first_stays_the_default(server: Any, curl: Curl) -> None:
    for version in (1, 2):
        curl(f"POST /models?url=noop_{version}.setsail&initial_workers=1&synchronous=true")
    assert predicted(server) == (200, [[1.0, 2.0]])
    assert predicted(server, "noop/2.0") == (200, [[2.0, 4.0]])
    assert [one["modelVersion"] for one in curl("GET /models/noop/all").json()] == ["1.0", "2.0"]
    assert [one["modelVersion"] for one in curl("GET /models/noop/2.0").json()] == ["2.0"]
    assert told(curl("DELETE /models/noop")) == told(curl("DELETE /models/noop/1.0")) == (400, {
        "code": 400, "type": "InvalidModelVersionException", "message": "Cannot remove default version for model noop",
    })  # fmt: skip
    assert told(curl("PUT /models/noop/2.0/set-default")) == (
        200, {"status": 'Default version successfully updated for model "noop" to "2.0"'},
    )  # fmt: skip
    assert predicted(server) == (200, [[2.0, 4.0]])
    assert curl("PUT /models/noop/2.0?min_worker=2&synchronous=true").json() == {
        "status": "Workers scaled to 2 for model: noop, version: 2.0"
    }
    assert curl("DELETE /models/noop/1.0").ok
    assert told(curl("GET /models/noop/1.0")) == (404, {
        "code": 404, "type": "ModelVersionNotFoundException",
        "message": "Model version: 1.0 does not exist for model: noop",
    })  # fmt: skip
    assert curl("DELETE /models/noop").ok


def test_what_is_asked_without_waiting_is_done_soon(server: Any, curl: Curl) -> None:
    later = (202, {"status": "Processing worker updates..."})
    assert told(curl("POST /models?initial_workers=1&synchronous=false&url=noop_1.setsail")) == later
    _until(lambda: predicted(server) == (200, [[1.0, 2.0]]))
    assert told(curl("PUT /models/noop?min_worker=0&max_worker=0")) == later
    _until(lambda: predicted(server)[0] == 503)
    _until(lambda: curl("GET /models/noop").json()[0]["workers"] == [])
    assert told(curl("PUT /models/noop?min_worker=2")) == later
    _until(lambda: predicted(server) == (200, [[1.0, 2.0]]))
    body = {"url": "noop_2.setsail", "initial_workers": 1}
    assert told(curl("POST /models", json=body)) == later  # a body does not wait by default, a query does


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_models_are_listed_page_by_page(curl: Curl) -> None:
    for name in "cab":
        assert curl("POST /models", params={"url": "noop_1.setsail", "model_name": name}).ok
    row = {name: {"modelName": name, "modelUrl": "noop_1.setsail"} for name in "abc"}
    assert curl("GET /models").json() == {"models": [row["a"], row["b"], row["c"]]}
    assert curl("GET /models?limit=2").json() == {"nextPageToken": "2", "models": [row["a"], row["b"]]}
    assert curl("GET /models?limit=2&next_page_token=2").json() == {"models": [row["c"]]}
    assert list(curl("GET /models?limit=3").json()) == ["nextPageToken", "models"]  # and then an empty page
    assert len(curl("GET /models?limit=-1&next_page_token=-9").json()["models"]) == 3


@pytest.mark.parametrize(
    ("line", "status", "kind", "message"),
    [
        ("POST /models", 400, "BadRequestException", "Parameter url is required."),
        ("POST /models?url=none.mar", 404, "ModelNotFoundException", "Model not found in model store: none.mar"),
        ("POST /models?url=../outside.setsail", 404, "ModelNotFoundException",
         "Relative path is not allowed in url: ../outside.setsail"),
        ("POST /models?url=https://models.example/a.mar", 404, "ModelNotFoundException",
         "Given URL https://models.example/a.mar does not match any allowed URL(s)"),
        ("POST /models?url=noop_1.setsail&handler=h.py", 501, "UnsupportedOperationException", None),
        ("POST /models?url=noop_1.setsail&runtime=perl", 400, "BadRequestException", "Invalid RuntimeType value: perl"),
        ("PUT /models/none", 404, "ModelNotFoundException", "Model not found: none"),
        ("PUT /models/none?min_worker=2&max_worker=1", 400, "BadRequestException",
         "max_worker cannot be less than min_worker."),
        ("PUT /models/none/1.0/set-default", 404, "ModelNotFoundException", "Model not found: none"),
        ("DELETE /models/none", 404, "ModelNotFoundException", "Model not found: none"),
        ("GET /models/none/x", 404, "ModelVersionNotFoundException",
         "Model version: x does not exist for model: none"),
        ("GET /nothing/here", 404, "ResourceNotFoundException",
         "Requested resource is not found, please refer to API document."),
        ("DELETE /models", 405, "MethodNotAllowedException",
         "Requested method is not allowed, please refer to API document."),
    ],
)  # fmt: skip
def test_faults_have_the_originals_status_type_and_text(
    curl: Curl, line: str, status: int, kind: str, message: str | None
) -> None:
    code, body = told(curl(line))
    assert list(body) == ["code", "type", "message"]
    assert (code, body["code"], body["type"]) == (status, status, kind)
    if message is not None:
        assert body["message"] == message


def test_a_version_is_registered_once_and_a_broken_one_not_at_all(curl: Curl) -> None:
    curl("POST /models?url=noop_1.setsail")
    assert told(curl("POST /models?url=noop_1.setsail")) == (409, {
        "code": 409, "type": "ConflictStatusException",
        "message": "Model version 1.0 is already registered for model noop",
    })  # fmt: skip
    assert not curl("POST /models?url=wrong.setsail&initial_workers=1").ok
    assert [model["modelName"] for model in curl("GET /models").json()["models"]] == ["noop"]


def test_a_model_that_is_no_artifact_is_packed_unless_loading_it_runs_code(
    server: Any, curl: Curl, store: Path
) -> None:
    (store / "scale.onnx").write_bytes(program(5.0))
    (store / "forest.pkl").write_bytes(pickle.dumps(LinearRegression()))
    reply = curl("POST /models?url=scale.onnx&model_name=scale&initial_workers=1")
    assert told(reply) == (200, {"status": 'Model "scale" Version: 1.0 registered with 1 initial workers'})
    assert predicted(server, "scale")[0] == 200
    code, body = told(curl("POST /models?url=forest.pkl"))
    assert (code, body["type"]) == (400, "InvalidModelException")
    assert "--trust pickle" in body["message"]


def test_replies_have_the_originals_headers_and_layout(curl: Curl) -> None:
    reply = curl("GET /models")
    assert reply.text == '{\n  "models": []\n}\n'
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["pragma"] == "no-cache"
    assert reply.headers["cache-control"] == "no-cache; no-store, must-revalidate, private"
    assert reply.headers["expires"] == "Thu, 01 Jan 1970 00:00:00 UTC"
    assert reply.headers["x-request-id"] != curl("GET /models").headers["x-request-id"]


def test_a_model_says_whether_it_is_ready(curl: Curl) -> None:
    curl("POST /models?url=noop_1.setsail")
    assert curl("GET /v1/models/noop").json() == {"name": "noop", "ready": False}
    curl("PUT /models/noop?synchronous=true")
    assert curl("GET /v1/models/noop").json() == {"name": "noop", "ready": True}


def test_the_inference_port_changes_nothing(server: Any) -> None:
    for line in ("POST /models?url=noop_1.setsail", "DELETE /models/noop", "PUT /models/noop"):
        assert curl_of(server, 8080)(line).status_code in (404, 405)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Messages and stubs that protoc makes of our file, as a client of TorchServe makes them of its."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    out = tmp_path_factory.mktemp("stubs")
    text = (PROTOS / "torchserve_management.proto").read_text()
    (out / "ts_management.proto").write_text(text)
    flags = (f"-I{out}", f"--python_out={out}", f"--grpc_python_out={out}")
    assert protoc.main(["protoc", *flags, "ts_management.proto"]) == 0
    sys.path.insert(0, str(out))
    try:
        return importlib.import_module("ts_management_pb2"), importlib.import_module("ts_management_pb2_grpc")
    finally:
        sys.path.remove(str(out))


def test_stubs_of_grpc_register_scale_list_describe_and_unregister(server: Any, stubs: tuple[Any, Any]) -> None:
    messages, services = stubs
    number = next(n for door, n in zip(server.doors, server._ports, strict=True) if door.row.number == 7071)
    with grpc.insecure_channel(f"127.0.0.1:{number}") as channel:
        stub = services.ManagementAPIsServiceStub(channel)
        register = messages.RegisterModelRequest(url="noop_1.setsail", initial_workers=1, synchronous=True)
        assert stub.RegisterModel(register).msg == 'Model "noop" Version: 1.0 registered with 1 initial workers'
        assert predicted(server) == (200, [[1.0, 2.0]])
        scale = messages.ScaleWorkerRequest(model_name="noop", min_worker=2, synchronous=True)
        assert stub.ScaleWorker(scale).msg == "Workers scaled to 2 for model: noop"
        assert '"modelName": "noop"' in stub.ListModels(messages.ListModelsRequest(limit=10)).msg
        (told,) = json.loads(stub.DescribeModel(messages.DescribeModelRequest(model_name="noop")).msg)
        assert told["minWorkers"] == 2
        default = messages.SetDefaultRequest(model_name="noop", model_version="1.0")
        assert "successfully updated" in stub.SetDefault(default).msg
        with pytest.raises(grpc.RpcError) as caught:
            stub.RegisterModel(register)
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        gone = messages.UnregisterModelRequest(model_name="noop")
        assert stub.UnregisterModel(gone).msg == 'Model "noop" unregistered'
        with pytest.raises(grpc.RpcError) as caught:
            stub.UnregisterModel(gone)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == (
            "Model not found: noop\norg.pytorch.serve.archive.model.ModelNotFoundException"
        )


def test_the_inference_port_of_grpc_changes_nothing(server: Any, stubs: tuple[Any, Any]) -> None:
    messages, services = stubs
    number = next(n for door, n in zip(server.doors, server._ports, strict=True) if door.row.number == 7070)
    with grpc.insecure_channel(f"127.0.0.1:{number}") as channel:
        stub = services.ManagementAPIsServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RegisterModel(messages.RegisterModelRequest(url="noop_1.setsail"))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@spawning
def test_a_worker_that_is_replaced_has_what_was_registered(store: Path) -> None:
    with Supervisor(settings(store, drain_timeout=5), 2) as server:
        server.start()
        curl = curl_of(server)
        for version in (1, 2):
            assert curl(f"POST /models?url=noop_{version}.setsail&initial_workers=1").ok
        curl("PUT /models/noop/2.0/set-default")
        curl("POST /models?url=noop_1.setsail&model_name=idle")
        before = server.crew.pids
        os.kill(before[0], signal.SIGKILL)
        _until(lambda: len(server.crew.pids) == 2 and before[0] not in server.crew.pids)
        one, two = curl("GET /models/noop/all").json()
        assert sorted(w["pid"] for w in one["workers"]) == sorted(server.crew.pids)
        assert len(two["workers"]) == 2
        for _ in range(8):
            assert predicted(server) == (200, [[2.0, 4.0]])
        assert curl("GET /models/idle").json()[0]["workers"] == []
        assert curl("DELETE /models/noop/1.0").ok
        assert curl("DELETE /models/idle").ok
