"""`setsail bench` against real servers: started for it, running already, guarded by a key, interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from shell import process, run, wait

Given = Callable[..., None]
QUICK = ("--clients", "1,4", "--seconds", "0.2", "--workers", 1)


@contextmanager
def serving(*args: object) -> Iterator[str]:
    """The URL of a server that runs."""
    started = process("serve", *args, "--port", 0, "--admin-port", -1, "--workers", 1, "--json")
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        assert line, wait(started).err
        yield json.loads(line)["url"]
    finally:
        started.kill()
        started.communicate()


def test_an_artifact_from_the_start_of_its_server_to_the_end(given: Given) -> None:
    given("iris-1.setsail")
    found = run("bench", "iris-1.setsail", *QUICK, "--json")
    assert found.code == 0, found.both
    document: dict[str, Any] = found.document
    phases = document["phases"]
    assert [p["kind"] for p in phases[:2]] == ["closed", "closed"]
    assert {p["kind"] for p in phases} == {"closed", "open", "offline"}
    assert [p["clients"] for p in phases[:2]] == [1, 4]
    for phase in phases:
        assert phase["errors"] == {}
        assert phase["requests_per_s"] > 0
        assert (phase["latency"]["p50_ms"] or 0) <= phase["latency"]["max_ms"]
        assert sum(count for _, _, count in phase["distribution_ms"]) == phase["latency"]["count"]
        assert phase["compared"] > 0
        assert phase["unequal"] == 0
    assert phases[-1]["rows_per_s"] == pytest.approx(128 * phases[-1]["requests_per_s"], rel=0.001)
    assert document["model"] == "iris"
    assert document["inputs"] == "the artifact's synthetic samples"
    assert document["server"].startswith("serve iris-1.setsail --workers 1")
    if Path("/proc/self/smaps_rollup").exists():
        assert 1 < phases[0]["server_memory_mb"] < 1000
        assert phases[0]["server_cpu_s_per_1000"] > 0
    port = document["url"].rpartition(":")[2]
    gone = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/v2"], capture_output=True, check=False)
    assert gone.returncode == 7, "its server is left behind"


def test_a_running_server_with_rows_of_ones_own(given: Given) -> None:
    given("iris-1.setsail", "rows.csv")
    with serving("iris-1.setsail") as url:
        found = run("bench", f"{url}/v2/models/iris", "--rows", "rows.csv", "--mode", "closed", *QUICK)
        made_up = run("bench", url, "--wire", "v2-binary", "--mode", "open", "--rate", 50, *QUICK, "--json")
    assert found.code == 0, found.both
    assert "closed, 4 clients" in found.out
    assert "of rows.csv" in found.out
    assert "peak: " in found.out
    assert found.out.isascii()
    assert f"setsail bench {url}/v2/models/iris" in found.err
    assert made_up.code == 0, made_up.both
    assert made_up.document["inputs"] == "made-up rows"
    assert made_up.document["phases"][0]["offered_per_s"] == 50


@pytest.mark.parametrize("wire", ["v1", "plain", "grpc"])
def test_every_wire(given: Given, wire: str) -> None:
    if wire == "grpc" and find_spec("grpc") is None:
        pytest.skip("needs grpcio")
    given("iris-1.setsail")
    found = run("bench", "iris-1.setsail", "--wire", wire, "--mode", "closed,offline", *QUICK, "--quiet")
    assert found.code == 0, found.both
    assert found.err == ""
    assert "offline: " in found.out


def test_a_key_comes_from_the_environment(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    given("iris-1.setsail")
    Path("keys").write_text("secret\n")
    with serving("iris-1.setsail", "--api-key-file", "keys") as url:
        target = f"{url}/v2/models/iris"
        refused = run("bench", target, "--mode", "closed", *QUICK, "--json")
        monkeypatch.setenv("SETSAIL_API_KEY", "secret")
        found = run("bench", target, "--mode", "closed", *QUICK, "--json")
    assert refused.code == 1
    assert refused.error["code"] == "bench.target"
    assert found.code == 0, found.both


def test_ctrl_c_prints_what_was_measured(given: Given) -> None:
    given("iris-1.setsail")
    line = ["iris-1.setsail", "--clients", "1,2", "--seconds", "1", "--mode", "closed", "--workers", "1"]
    started = process("bench", *line, start_new_session=True)
    assert started.stderr is not None
    while (told := started.stderr.readline()) and "closed, 1 client:" not in told:
        pass
    started.send_signal(signal.SIGINT)
    found = wait(started)
    assert found.code == 130
    assert "\nclosed, 1 client " in found.out
    assert "peak: " in found.out


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["no.setsail"], 1, "source.missing"),
        (["http://127.0.0.1:9"], 1, "bench.target"),
        (["ftp://x"], 2, "command.usage"),
        (["x", "--mode", "open"], 2, "command.usage"),
        (["x", "--mode", "opne"], 2, "command.usage"),
        (["x", "--clients", "1,0"], 2, "command.usage"),
        (["x", "--wire", "http"], 2, "command.usage"),
    ],
)
def test_what_cannot_be_measured(args: list[str], code: int, error: str) -> None:
    found = run("bench", *args, "--json")
    assert (found.code, found.error["code"]) == (code, error)


def test_rows_that_the_model_does_not_take(given: Given) -> None:
    given("iris-1.setsail")
    Path("wrong.csv").write_text("sepal_length\n1\n")
    found = run("bench", "iris-1.setsail", "--rows", "wrong.csv", "--json")
    assert (found.code, found.error["code"]) == (1, "input.missing")
