"""`setsail serve` as a person and a program see it: ready line, curl line, signals."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from shell import process, run, wait

from setsail.server.settings import rows

Given = Callable[..., None]


@contextmanager
def serving(*args: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server on free ports, and its ready line."""
    started = process("serve", *args, "--port", 0, "--admin-port", 0, "--json")
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        assert line, wait(started).err
        yield started, json.loads(line)
    finally:
        started.kill()
        started.communicate()


def test_ready_line_curl_line_and_a_clean_end(given: Given) -> None:
    given("iris-1.setsail", "iris.ubj")
    with serving("iris-1.setsail") as (started, ready):
        assert set(ready) == {"url", "admin_url", "doors", "models"}
        (model,) = ready["models"]
        assert (model["name"], model["version"]) == ("iris", 1)
        for wire, line in model["curl"].items():
            answer = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
            assert "error" not in json.loads(answer.stdout), wire
        with urlopen(f"{ready['admin_url']}/docs") as page:
            assert page.status == 200
        started.send_signal(signal.SIGTERM)
        found = wait(started)
        assert (found.code, found.out, found.err) == (0, "", "")


def test_a_model_is_packed_its_plan_shown_and_ctrl_c_is_130(given: Given) -> None:
    given("iris.ubj")
    started = process("serve", "iris.ubj", "--port", 0, "--admin-port", -1)
    assert started.stdout is not None
    lines = [started.stdout.readline() for _ in range(4)]
    assert lines[0] == "iris version 1\n"
    assert lines[1].startswith("  (input:float32[N,4]) -> (")
    assert lines[2].startswith("  curl http://127.0.0.1:")
    assert lines[3].startswith("serving at http://127.0.0.1:")
    assert "docs" not in lines[3]
    started.send_signal(signal.SIGINT)
    found = wait(started)
    assert found.code == 130
    assert "converting XGBoost model (UBJSON), iris.ubj" in found.err
    assert found.err.splitlines()[-1] == "stopped"


def test_every_setting_is_a_flag() -> None:
    page = run("serve", "--help").out
    assert all(row.flag in page and row.variable in page for row in rows())


def test_a_taken_port_says_what_to_type(given: Given) -> None:
    given("iris-1.setsail")
    with serving("iris-1.setsail") as (_, ready):
        port = ready["url"].rpartition(":")[2]
        found = wait(process("serve", "iris-1.setsail", "--port", port, "--json"))
    assert found.code == 1
    assert found.error["code"] == "port.in_use"
    assert "--port" in found.error["todo"]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["iris.joblib"], "source.trust"),
        (["nothing.setsail"], "source.missing"),
        (["iris.joblib", "x", "--name", "n"], "command.usage"),
        (["iris.joblib", "--admin-port", "-7"], "setting.value"),
        (["iris.joblib", "--config", "wrong.toml"], "setting.unknown"),
        (["iris.joblib", "--workers", "-1"], "setting.value"),
    ],
)
def test_what_cannot_be_served(given: Given, args: list[str], code: str) -> None:
    given("iris.joblib")
    Path("wrong.toml").write_text("prot = 8080\n")
    found = run("serve", *args, "--port", 0, "--json")
    assert found.code in (1, 2)
    assert found.error["code"] == code


def test_trust_is_asked_for_with_the_line_to_type(given: Given) -> None:
    given("iris.joblib")
    found = run("serve", "iris.joblib")
    assert found.code == 2
    assert "setsail pack iris.joblib --trust pickle" in found.err
