"""`setsail doctor`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import run

from setsail import isolation
from setsail.cli import doctor
from setsail.cli.doctor import Check
from setsail.errors import SetsailError


def only(monkeypatch: pytest.MonkeyPatch, *groups: Callable[[], Iterator[Check]]) -> None:
    """Look at some things only: the sandbox alone starts three processes."""
    monkeypatch.setattr(doctor, "CHECKS", groups)


def states() -> dict[str, str]:
    return {check["name"]: check["state"] for check in run("doctor", "--json").document["checks"]}


def test_this_machine_is_healthy() -> None:
    found = run("doctor")
    assert found.code == 0
    lines = [line.split() for line in found.out.splitlines()]
    for name in ("onnxruntime", "xgboost"):
        assert [name, "ok"] in [line[:2] for line in lines]
    assert "sandbox" in found.out


def test_a_missing_framework_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._extras)
    real = doctor.util.find_spec
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "lightgbm" else real(name))
    found = run("doctor")
    assert found.code == 0
    assert 'pip install "setsail[lightgbm]"' in found.out


def test_a_broken_core_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._python)
    monkeypatch.setattr(doctor, "_import_fault", lambda name: "ImportError: gone" if name == "onnxruntime" else "")
    found = run("doctor", "--json")
    assert (found.code, found.document["ok"]) == (1, False)


@pytest.mark.parametrize(("code", "state"), [("source.sandbox", "missing"), ("child.failed", "broken")])
def test_a_machine_without_sandbox(monkeypatch: pytest.MonkeyPatch, code: str, state: str) -> None:
    def call(*_: object, **__: object) -> None:
        raise SetsailError(code, "no")

    only(monkeypatch, doctor._sandbox)
    monkeypatch.setattr(isolation, "call", call)
    assert states()["sandbox"] == state


def test_a_taken_port_and_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, doctor._cache, doctor._ports)
    Path("file").write_text("no folder")
    monkeypatch.setenv("SETSAIL_CACHE", "file")
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8081))
            taken.listen()
        except OSError:
            pass  # somebody else's: as good
        found = states()
    assert (found["cache"], found["port 8081"]) == ("missing", "missing")
