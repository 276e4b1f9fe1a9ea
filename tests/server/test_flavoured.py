"""Servers with several doors, as processes: each door answers as its server does, and none loses anything."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import process, wait

from benchmarks import drain

grpc = pytest.importorskip("grpc")
spawning = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
WORKERS = (1, pytest.param(2, marks=spawning))
ROW = drain.ROW


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drain.packed(tmp_path_factory.mktemp("iris"))


class Flavoured(drain.Serving):
    """A server with these flags, whose first address is used up by `drain.Serving`."""

    def __init__(self, artifact: Path, workers: int, *flags: str) -> None:
        self.flags = flags
        super().__init__(artifact, workers)

    def start(self) -> None:
        self.process = process("serve", self.artifact, "--workers", self.workers, "--admin-port", 0, "--port", 0,
                               "--json", *self.flags, stderr=None)  # fmt: skip
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())

    def door(self, flavour: str | None, role: str = "data") -> tuple[str, int]:
        (found,) = [d for d in self.ready["doors"] if (d["flavour"], d["role"]) == (flavour, role)]
        return "127.0.0.1", found["port"]

    def get(self, flavour: str | None, path: str, body: Any = None, role: str = "data") -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        url = "http://{}:{}".format(*self.door(flavour, role)) + path
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as fault:
            return fault.code, fault.read()


@pytest.fixture(scope="module", params=WORKERS)
def server(artifact: Path, request: pytest.FixtureRequest) -> Iterator[Flavoured]:
    made = Flavoured(artifact, request.param, "--as", "triton", "--listen", "0=tfserving", "--listen", "0=kserve")
    yield made
    made.stop()
    assert made.faults == []


def test_every_door_is_on_the_ready_line(server: Flavoured) -> None:
    told = [(door["flavour"], door["role"]) for door in server.ready["doors"]]
    assert told == [
        ("triton", "data"), ("triton", "grpc"), ("triton", "metrics"), ("tfserving", "data"), ("kserve", "data"),
    ]  # fmt: skip
    assert server.ready["url"] == server.ready["doors"][0]["url"]
    (model,) = server.ready["models"]
    assert set(model["curl"]) == {"open-inference"}  # the wires of the first door


def test_each_answers_its_own_paths_and_no_others(server: Flavoured) -> None:
    rows = {"instances": [ROW]}
    tensor = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 4], "data": ROW}]}
    for flavour, path, body, wanted in (
        ("tfserving", "/v1/models/iris:predict", rows, 200),
        ("kserve", "/v1/models/iris:predict", rows, 200),
        ("triton", "/v1/models/iris:predict", rows, 404),
        ("triton", "/v2/models/iris/infer", tensor, 200),
        ("kserve", "/v2/models/iris/infer", tensor, 200),
        ("tfserving", "/v2/models/iris/infer", tensor, 404),
        ("triton", "/predict/iris", [ROW], 404),
    ):
        status, answer = server.get(flavour, path, body)
        assert status == wanted, (flavour, path, answer)
        assert status != 200 or b"0" in answer


def test_the_grpc_door_speaks_grpc(server: Flavoured) -> None:
    client = drain.Grpc(server.door("triton", "grpc"), 0.0)
    assert client.call(client.request, timeout=20)
    client.end()


def test_the_metrics_door_has_its_names_and_nothing_else(server: Flavoured) -> None:
    server.get("tfserving", "/v1/models/iris:predict", {"instances": [ROW]})
    status, page = server.get("triton", "/metrics", role="metrics")
    lines = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#"))
    assert status == 200
    assert float(lines['nv_inference_request_success{model="iris",version="1"}']) >= 1
    assert all(name.startswith("nv_") for name in lines)
    only = server.get("triton", "/metrics?name[]=nv_inference_count", role="metrics")[1].decode().splitlines()
    assert [line.split("{")[0] for line in only if not line.startswith("#")] == ["nv_inference_count"]
    client = drain.Grpc(server.door("triton", "metrics"), 0.0)
    with pytest.raises(grpc.RpcError) as caught:
        client.call(client.request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    client.end()


def test_the_admin_page_shows_the_paths_of_the_first_door(server: Flavoured) -> None:
    with urllib.request.urlopen(server.ready["admin_url"] + "/docs") as page:
        text = page.read().decode()
    assert "/v2/models/{model}/infer" in text
    assert "/predict/{model}" not in text


# -- what is taken, and what is lost -----------------------------------------------------------------------------------


def test_a_taken_port_of_a_flavour_says_how_to_have_another(artifact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = wait(process("serve", artifact, "--as", "triton", "--ports", f"8000=0,8001={port},8002=0", "--json"))
    assert found.code == 1
    assert found.error["code"] == "port.in_use"
    assert found.error["field"] == "--ports"
    assert re.search(r"--ports 8001=[1-9]\d+, or --ports 8001=0 for any", found.error["todo"])


def test_the_admin_port_makes_room_and_says_so(artifact: Path) -> None:
    port = free_pair()
    flags = ("--as", "triton", "--ports", f"8000={port},8001=0,8002=0", "--admin-port", port, "--workers", 1)
    started = process("serve", artifact, *flags)
    assert started.stdout is not None
    lines = iter(started.stdout.readline, "")
    told = [next(line for line in lines if line.startswith(begin)) for begin in ("as triton, data", "serving at")]
    started.send_signal(signal.SIGTERM)
    found = wait(started)
    assert told[0] == f"as triton, data: http://127.0.0.1:{port}\n"
    assert told[1] == f"serving at http://127.0.0.1:{port}, docs at http://127.0.0.1:{port + 1}/docs\n"
    assert f"the admin port is not {port}," in found.err


def free_pair() -> int:
    """A port that is free, as is the next."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


@pytest.mark.parametrize("workers", WORKERS)
def test_nothing_is_lost_on_any_door(artifact: Path, workers: int) -> None:
    """Every worker is replaced, then the server ends, while all doors are asked without pause."""
    server = Flavoured(artifact, workers, "--as", "kserve", "--listen", "0=tfserving", "--listen", "0=triton")
    asking: list[drain.Client] = [
        drain.Http(server.door(flavour), pause) for flavour in ("kserve", "tfserving") for pause in (0.0, 0.02)
    ]
    asking += [drain.Grpc(server.door("kserve", "grpc"), 0.0), drain.GrpcStream(server.door("triton"), 0.02)]
    for client in asking:
        client.start()
    time.sleep(0.3)
    if workers > 1:
        server.hup()
    refused_while_replaced = sum((client.counts["refused"] for client in asking), 0)
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(60)
    for client in asking:
        client.stopped.set()
    for client in asking:
        client.join(60)
    assert server.process.stdout is not None
    server.process.stdout.close()
    assert (code, refused_while_replaced, server.faults) == (0, 0, [])
    assert [line for client in asking for line in client.details] == []
    for client in asking:
        assert client.counts["answered"] > 0
        assert set(client.counts) - {k for k, v in client.counts.items() if not v} <= {
            "answered",
            "refused",
            "told to close",
        }
    assert sum((client.counts for client in asking), Counter())["lost"] == 0
