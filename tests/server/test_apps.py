"""Functions behind a server: trust, every wire, readiness and liveness, and how it all ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from functions import until, write

import setsail
from setsail.apps.spec import INSIDE, Spec, is_spec
from setsail.errors import SetsailError
from setsail.server.run import Server
from setsail.server.settings import Settings

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve("total", "price")` serves functions of the shop."""
    file, opened = write(tmp_path / "shop"), list[Server]()

    def make(*names: str, **settings: Any) -> Server:
        server = Server(Settings(port=0, admin_port=-1, **{"trust": "app", **settings}))
        opened.append(server)
        for name in names:
            server.open(Path(f"{file}:{name}"))
        return server.start()

    yield make
    for server in opened:
        server.close()


def post(server: Server, path: str, body: Any) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=30)


def ready(server: Server) -> int:
    return httpx.get(f"{server.url}/v2/health/ready").status_code


def test_every_wire_answers(serve: Serve) -> None:
    server = serve("total")
    rows = [[1.0, 2.0], [3.0, 4.0]]
    assert post(server, "/predict/total", {"x": rows}).json()["outputs"] == {"output": [3.0, 7.0]}
    assert post(server, "/v1/models/total:predict", {"instances": rows}).json() == {"predictions": [3.0, 7.0]}
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": rows}
    (output,) = post(server, "/v2/models/total/infer", {"inputs": [tensor]}).json()["outputs"]
    assert (output["name"], output["data"]) == ("output", [3.0, 7.0])
    about = httpx.get(f"{server.url}/v2/models/total").json()
    assert about["platform"] == f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    assert np.asarray(server.predict(np.array(rows))).tolist() == [3.0, 7.0]


def test_requests_share_a_run_and_a_wrong_one_fails_alone(serve: Serve) -> None:
    server = serve("price")
    found: dict[int, httpx.Response] = {}

    def ask(rooms: int) -> None:
        found[rooms] = post(server, "/predict/price", {"rooms": rooms, "area": 2.0, "town": None})

    threads = [threading.Thread(target=ask, args=(rooms,)) for rooms in range(-1, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[-1].status_code == 500
    assert found[-1].json()["code"] == "app.fault"
    for rooms in range(8):
        assert found[rooms].json()["outputs"] == {"price": [2.0 * rooms], "label": [f"{rooms} rooms in None"]}


def test_trust_must_be_given(serve: Serve) -> None:
    with pytest.raises(SetsailError) as caught:
        serve("total", trust="")
    assert caught.value.code == "source.trust"
    assert caught.value.expected == "--trust app"


def test_a_dead_process_makes_its_model_not_ready_and_no_other(serve: Serve, tmp_path: Path) -> None:
    server = serve("die", "total")
    file = write(tmp_path / "shop", "raise RuntimeError")  # so that it stays down until we have looked
    assert ready(server) == 200
    before = httpx.get(f"{server.url}/v2/models/die/ready").status_code
    reply = post(server, "/predict/die", {"x": 1.0})
    assert (reply.status_code, reply.json()["code"]) == (503, "app.ended")
    assert reply.headers["retry-after"] == "1"
    assert (before, ready(server)) == (200, 503)
    refused = post(server, "/predict/die", {"x": 0.0})
    assert (refused.status_code, refused.json()["code"]) == (503, "model.not_ready")
    assert httpx.get(f"{server.url}/v1/models/die").json()["model_version_status"][0]["state"] == "LOADING"
    assert post(server, "/predict/total", {"x": [[1.0]]}).status_code == 200
    write(file.parent)
    until(lambda: ready(server) == 200)
    assert post(server, "/predict/die", {"x": 0.0}).json()["outputs"] == {"output": [0.0]}


def test_it_is_live_while_a_function_blocks(serve: Serve) -> None:
    server = serve("wait", "total", app_timeout=1.0)
    for _ in range(30):  # quick calls earn no place on the event loop
        assert post(server, "/predict/wait", {"x": 0.0}).status_code == 200
    blocked: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: blocked.append(post(server, "/predict/wait", {"x": 60.0})))
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
    assert post(server, "/predict/total", {"x": [[1.0]]}).status_code == 200
    assert time.monotonic() - begun < 0.7
    assert not blocked
    thread.join()
    assert (blocked[0].status_code, blocked[0].json()["code"]) == (504, "app.timeout")


def test_a_function_is_loaded_again_and_unloaded(serve: Serve, tmp_path: Path) -> None:
    server = serve("total", model_control="explicit")
    file = tmp_path / "shop" / "shop.py"
    file.write_text(file.read_text().replace("x.sum(axis=1)", "x.max(axis=1)"))
    assert httpx.post(f"{server.url}/v2/repository/models/total/load").status_code == 200
    assert post(server, "/predict/total", {"x": [[1.0, 2.0]]}).json()["outputs"] == {"output": [2.0]}
    assert httpx.post(f"{server.url}/v2/repository/models/total/unload").status_code == 200
    assert post(server, "/predict/total", {"x": [[1.0, 2.0]]}).json()["code"] == "model.not_ready"


def test_unloading_one_that_is_down(serve: Serve, tmp_path: Path) -> None:
    server = serve("die", "total")
    write(tmp_path / "shop", "raise RuntimeError")
    post(server, "/predict/die", {"x": 1.0})
    server.house.unload("die")
    assert post(server, "/predict/die", {"x": 0.0}).json()["code"] == "model.not_ready"
    time.sleep(0.5)
    (status,) = (e for e in server.house.table if e.name == "die")
    assert status.state == "gone"


def test_what_names_a_function(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert is_spec(Path("app.py:predict"))
    assert not is_spec(Path("app.py"))
    assert not is_spec(file)
    assert Spec.parse(f"{file}:total") == (file, "total")
    for text, code in (("app.txt:f", "app.load"), ("no/such.py:f", "source.missing")):
        with pytest.raises(SetsailError) as caught:
            Spec.parse(text)
        assert caught.value.code == code


def test_a_file_that_serves_itself_on_import_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path)
    monkeypatch.setenv(INSIDE, "shop.py:total")
    with pytest.raises(SetsailError) as caught:
        Spec.parse(f"{file}:total")
    assert caught.value.code == "app.load"
    assert "__main__" in caught.value.todo


def test_python_takes_a_function_of_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, "def double(x: float) -> float:\n    return 2 * x\n", "twice.py")
    names: dict[str, Any] = {"__name__": "twice"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    with setsail.serve(names["double"], port=0, admin_port=-1, block=False) as server:
        assert post(server, "/predict/double", {"x": [1.5]}).json()["outputs"] == {"output": [3.0]}
    with pytest.raises(SetsailError) as caught:
        setsail.serve(lambda x: x, port=0, admin_port=-1, block=False)
    assert caught.value.code == "app.load"


def children(pid: int) -> set[int]:
    """Processes below one, by the kernel's word."""
    found: set[int] = set()
    for folder in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (folder / "children").read_text().split()):
            found |= {child} | children(child)
    return found


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_several_workers_each_with_a_process_all_of_which_end(tmp_path: Path, number: int, code: int) -> None:
    file = write(tmp_path)
    command = [
        sys.executable, "-m", "setsail", "serve", f"{file}:price", "--name", "house", "--trust", "app",
        "--workers", "2", "--port", "0", "--admin-port", "-1", "--json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        about = json.loads(started.stdout.readline())
        assert [model["name"] for model in about["models"]] == ["house"]
        body = {"rooms": 2, "area": 2.5, "town": "Oslo"}
        reply = httpx.post(about["url"] + "/predict/house", json=body)
        assert reply.json()["outputs"]["price"] == [5.0]
        below = children(started.pid)
        assert len(below) >= 4
        started.send_signal(number)
        assert started.wait(20) == code
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
