"""Several processes behind one port: started, replaced, ended; what clients see meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import setsail
from setsail.errors import SetsailError
from setsail.server.hands import Patience
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
X = np.arange(40.0).reshape(20, 2) % 7


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a straight line."""
    path = tmp_path_factory.mktemp("line") / "line.setsail"
    setsail.pack(LinearRegression().fit(X, X @ [2.0, -1.0] + 3), X, name="line", output=path).close()
    return path


def supervisor(path: Path, count: int = 2, **settings: Any) -> Supervisor:
    made = Supervisor(Settings(**({"port": 0, "admin_port": 0} | settings)), count)
    made.open(path)
    return made


@pytest.fixture(scope="module")
def server(line: Path) -> Iterator[Supervisor]:
    with supervisor(line, model_control="explicit") as made:
        yield made.start()


def get(url: str, body: Any = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def ask(url: str) -> Any:
    status, body = get(url + "/v1/models/line:predict", {"instances": [[1.0, 2.0]]})
    return json.loads(body)["predictions"] if status == 200 else status


def statuses(url: str, times: int = 12) -> set[int]:
    """What readiness says, on as many connections as it takes to reach every worker."""
    return {get(url + "/v2/health/ready")[0] for _ in range(times)}


def until(done: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def answered(server: Supervisor) -> int:
    """What the admin port says was answered so far."""
    _, page = get(f"{server.admin_url}/metrics")
    counts = re.findall(r'setsail_requests_total\{[^}]*model="line"[^}]*\} (\S+)', page.decode())
    return int(sum(map(float, counts)))


def test_all_workers_answer_and_are_counted_together(server: Supervisor) -> None:
    before = answered(server)
    assert [ask(server.url) for _ in range(20)] == [pytest.approx([3.0])] * 20
    assert answered(server) == before + 20
    assert statuses(server.url) == {200}
    assert server.predict(X) == pytest.approx(X @ [2.0, -1.0] + 3)


def test_what_it_describes(server: Supervisor) -> None:
    about = server.describe()
    assert (about["url"], about["admin_url"]) == (server.url, server.admin_url)
    assert [model["name"] for model in about["models"]] == ["line"]
    assert f"{server.url}/predict/line" in about["models"][0]["curl"]["plain"]
    assert "2 workers" in repr(server)


def test_the_admin_pages_run_over_all_workers(server: Supervisor) -> None:
    status, page = get(f"{server.admin_url}/docs/line")
    assert status == 200
    assert server.url.encode() in page
    form = urllib.request.Request(f"{server.admin_url}/docs/line/try", data=b"input-0=%5B1,2%5D")
    with urllib.request.urlopen(form, timeout=20) as reply:
        assert re.search(rb"<td>(3(\.0*)?|2\.99\d+|3\.00\d+)</td>", reply.read())


def test_a_dead_worker_is_replaced_and_readiness_tells(server: Supervisor) -> None:
    before, counted = server.crew.pids, answered(server)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(server.crew.pids) == 1)
    assert server.crew.pids == before[1:]
    assert answered(server) >= counted
    until(lambda: len(server.crew.pids) == 2)
    assert server.crew.pids[1] == before[1]
    until(lambda: statuses(server.url) == {200})
    assert ask(server.url) == pytest.approx([3.0])
    assert answered(server) > counted


@pytest.mark.slow  # several processes and one moment to be caught: for `make test-all`
def test_those_that_live_say_that_one_is_missing(line: Path) -> None:
    with supervisor(line, admin_port=-1) as server, ExitStack() as stack:
        server.start()
        address = server.url.removeprefix("http://")
        clients = [stack.enter_context(closing(HTTPConnection(address, timeout=20))) for _ in range(12)]
        until(lambda: {ready(client) for client in clients} == {200})  # each worker is told that the other is there
        victim = server.crew.pids[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(server.crew.pids) == 1)
        seen: set[int] = set()
        until(lambda: seen.update(filter(None, map(ready, clients))) or 503 in seen or len(server.crew.pids) == 2)
        assert 503 in seen
        body = json.dumps({"instances": [[1.0, 2.0]]})
        answers = [status for client in clients if (status := ready(client, body))]
        assert set(answers) == {200}  # predictions go on
        until(lambda: statuses(server.url) == {200})


def ready(client: HTTPConnection, body: str | None = None) -> int:
    """What a worker says on a connection of old; 0 where it is gone."""
    try:
        client.request("POST" if body else "GET", "/v1/models/line:predict" if body else "/v2/health/ready", body)
        with client.getresponse() as reply:
            reply.read()
            return reply.status
    except (OSError, HTTPException):
        client.auto_open = 0  # a new connection would go to anybody
        return 0


@pytest.mark.slow  # several processes and one moment to be caught: for `make test-all`
def test_a_restart_replaces_everybody_in_turn(server: Supervisor) -> None:
    before, counted = set(server.crew.pids), answered(server)
    server.restart()
    seen = []
    while set(server.crew.pids) & before or len(server.crew.pids) < 2:
        assert ask(server.url) == pytest.approx([3.0])
        assert len(server.crew.pids) == 2  # nobody goes before another is ready
        seen.append(statuses(server.url, 1))
    assert seen == [{200}] * len(seen)
    until(lambda: len(server.crew.hands) == 2)
    assert answered(server) == counted + len(seen)


def test_a_worker_that_is_told_to_end_is_replaced_first(server: Supervisor) -> None:
    first, second = server.crew.pids
    os.kill(first, signal.SIGTERM)
    until(lambda: first not in server.crew.pids)
    assert len(server.crew.pids) == 2
    assert second in server.crew.pids
    until(lambda: len(server.crew.hands) == 2)


def test_unload_and_load_reach_all_workers_and_those_that_come(server: Supervisor) -> None:
    assert get(f"{server.url}/v2/repository/models/line/unload", {})[0] == 200
    assert {ask(server.url) for _ in range(12)} <= {404, 503}
    os.kill(server.crew.pids[0], signal.SIGKILL)
    until(lambda: len(server.crew.pids) == 1)
    until(lambda: len(server.crew.pids) == 2)
    assert {ask(server.url) for _ in range(12)} <= {404, 503}
    assert get(f"{server.admin_url}/models/line/load", {})[0] == 200
    assert [ask(server.url) for _ in range(12)] == [pytest.approx([3.0])] * 12


def test_what_keeps_a_worker_from_starting_is_told_once(line: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.setsail"
    data = bytearray(line.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    server = supervisor(damaged)
    with pytest.raises(SetsailError) as caught:
        server.start()
    assert caught.value.code.startswith("artifact.")
    assert not server.crew.hands


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with Supervisor(Settings(port=0), 2) as server, pytest.raises(SetsailError) as caught:
        server.open(tmp_path / "nothing.setsail")
    assert caught.value.code == "source.missing"


def test_a_restart_that_fails_changes_nothing(line: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = tmp_path / "line.setsail"
    shutil.copy(line, copy)
    with supervisor(copy, admin_port=-1) as server:
        server.start()
        before = server.crew.pids
        copy.write_bytes(line.read_bytes()[:-1])
        server.restart()
        until(lambda: any(slot.successor for slot in server.crew.slots))
        until(lambda: not any(slot.successor for slot in server.crew.slots))
        assert server.crew.pids == before
        copy.unlink()
        server._look_again()
        assert "no worker is replaced" in caplog.text
        assert server.crew.pids == before
        assert ask(server.url) == pytest.approx([3.0])


def test_a_restart_takes_what_the_path_holds_now(line: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.setsail"
    shutil.copy(line, copy)
    with supervisor(copy, admin_port=-1) as server:
        server.start()
        before = set(server.crew.pids)
        other = LinearRegression().fit(X, X @ [1.0, 1.0])
        setsail.pack(other, X, name="line", version=2, output=copy, force=True).close()
        server.restart()
        until(lambda: len(server.crew.pids) == 2 and not set(server.crew.pids) & before)
        assert ask(server.url) == pytest.approx([3.0])
        assert [model["version"] for model in server.describe()["models"]] == [2]


def test_it_gives_up_on_workers_that_only_die(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "DEATHS", 1)
    with supervisor(line, admin_port=-1) as server:
        server.start()
        victim = server.crew.pids[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(server.crew.pids) == 2 and victim not in server.crew.pids)
        os.kill(server.crew.pids[0], signal.SIGKILL)
        with pytest.raises(SetsailError) as caught:
            server.wait()
    assert caught.value.code == "server.worker"
    assert "SIGKILL" in caught.value.message


def test_the_supervisor_imports_next_to_nothing() -> None:
    code = (
        "import sys, setsail.cli.serve, setsail.server.supervisor; print(*{m.partition('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "onnxruntime", "asyncio", "uvicorn", "starlette", "uvloop", "orjson", "prometheus_client"}
    assert not heavy & set(loaded)


# -- as a process ----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(line: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    arguments = [sys.executable, "-m", "setsail", "serve", str(line), "--workers", "2", "--port", "0",
                 "--admin-port", "-1", "--json"]  # fmt: skip
    started = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    try:
        yield started, json.loads(started.stdout.readline())["url"]
    finally:
        started.kill()
        started.communicate()


def refused(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=0.5).close()
    except urllib.error.URLError as fault:
        return isinstance(fault.reason, ConnectionRefusedError)
    except OSError:
        return False
    return False


@pytest.mark.parametrize(
    ("number", "group", "code"),
    [(signal.SIGTERM, False, 0), (signal.SIGTERM, True, 0), (signal.SIGINT, True, 130)],
    ids=["service", "whole service", "Ctrl-C"],
)
def test_signals_end_it(command: Any, number: signal.Signals, group: bool, code: int) -> None:
    process, url = command
    assert ask(url) == pytest.approx([3.0])
    os.killpg(process.pid, number) if group else process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (code, "", "")
    assert refused(url)


def test_a_second_signal_forces(command: Any) -> None:
    process, url = command
    body = json.dumps({"instances": [[1.0, 2.0]]}).encode()
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as half:  # a request that never ends
        half.sendall(b"POST /v1/models/line:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + body)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    until(lambda: refused(url))


def test_no_worker_outlives_its_supervisor(command: Any) -> None:
    process, url = command
    process.kill()
    process.wait(10)
    until(lambda: refused(url), 15)
    _, errors = process.communicate(timeout=20)  # ends when the last worker has closed the pipe
    assert errors.count("the supervisor is gone") == 2
