"""Whatever goes wrong is one error with a code, an exit code and advice, for people or as JSON."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import process, run, wait

from setsail import packing
from setsail.cli.faults import as_error
from setsail.errors import SetsailError

Given = Callable[..., None]


def failing(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def verify(_: Path) -> None:
        raise fault

    monkeypatch.setattr(packing, "verify", verify)


@pytest.mark.parametrize(
    "line", [["pack"], ["pack", "x", "--nope"], ["pack", "x", "--version", "0"], ["nope"], ["export", "x", "--to", "y"]]
)
def test_a_wrong_command_line_is_exit_2(line: list[str]) -> None:
    found = run(*line, "--json")
    assert found.code == 2
    assert found.error["code"] == "command.usage"
    assert "--help" in found.error["todo"]


def test_an_error_names_its_code_and_what_to_do() -> None:
    found = run("inspect", "nope.setsail")
    assert (found.code, found.out) == (1, "")
    assert "[artifact.missing]" in found.err
    assert "hint: Check the path." in found.err


def test_a_full_disk_is_an_error_and_no_traceback(given: Given) -> None:
    given("iris-1.setsail")
    with Path("/dev/full").open("w") as full:
        found = wait(process("inspect", "iris-1.setsail", stdout=full))
    assert found.code == 1
    assert "No space left on device [command.system]" in found.err
    assert "Traceback" not in found.err


def test_a_reader_that_stops_is_no_error_message(given: Given) -> None:
    given("iris-1.setsail", "rows.csv")
    started = process("predict", "iris-1.setsail", "-i", "rows.csv", "--quiet")
    assert started.stdout is not None
    started.stdout.close()
    started.stdout = None
    assert wait(started).err == ""


def test_a_refusal_of_the_system_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PermissionError(13, "Permission denied", "/data/x.setsail"))
    found = run("verify", "x.setsail", "--json")
    assert found.code == 1
    assert found.error["code"] == "command.system"
    assert found.error["field"] == "/data/x.setsail"


def test_ctrl_c_is_exit_130(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    found = run("verify", "x.setsail")
    assert found.code == 130
    assert found.err.splitlines()[-1] == "interrupted"
    found = run("verify", "x.setsail", "--json")
    assert found.code == 130
    assert found.error["code"] == "command.interrupted"


def test_ctrl_c_leaves_no_half_written_file(given: Given, tmp_path: Path) -> None:
    given("iris-1.setsail", "rows.csv")
    lines = Path("rows.csv").read_text().splitlines(keepends=True)
    Path("many.csv").write_text(lines[0] + "".join(lines[1:]) * 4000)
    started = process("predict", "iris-1.setsail", "-i", "many.csv", "-o", "out.csv", "--batch-size", 16)
    end = time.monotonic() + 30
    while not list(tmp_path.glob(".out.csv.*")):
        assert time.monotonic() < end
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    found = wait(started)
    assert (found.code, found.err.splitlines()[-1]) == (130, "interrupted")
    assert sorted(p.name for p in tmp_path.iterdir() if "out" in p.name) == []


def test_a_bug_is_one_line_and_says_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("wheels\nfell off"))
    found = run("verify", "x.setsail", "--json")
    assert (found.code, found.err) == (1, "")
    assert found.error["code"] == "command.fault"
    assert found.error["message"].startswith("RuntimeError: wheels. ")
    found = run("verify", "x.setsail")
    assert "SETSAIL_DEBUG=1" in found.err
    assert "Traceback" not in found.err
    monkeypatch.setenv("SETSAIL_DEBUG", "1")
    assert "Traceback" in run("verify", "x.setsail").err


def test_a_missing_package_prints_the_pip_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ModuleNotFoundError("no", name="lightgbm.basic"))
    found = run("verify", "x.setsail")
    assert found.code == 3
    assert "[dependency.missing]" in found.err
    assert 'pip install "setsail[lightgbm]"' in found.err.splitlines()
    assert (
        as_error(ModuleNotFoundError("no", name="orjson")).facts["command"] == "pip install --force-reinstall setsail"
    )


def test_a_parity_failure_prints_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    check = {"what": "example", "batch": 1, "rows": 10, "failed": 2, "worst": 0.25, "worst_output": "prediction",
             "worst_row": 3, "allowed": 0, "unexplained": 0}  # fmt: skip
    report = {"variant": "onnx", "precision": "float32", "tolerance": 1.0, "checks": [check], "refused": []}
    failing(monkeypatch, SetsailError("parity.failed", "they differ", report=report))
    found = run("verify", "x.setsail")
    assert found.code == 1
    assert "8/10   0.25                FAILED" in found.err
    assert run("verify", "x.setsail", "--json").error["report"] == report


def test_what_a_stranger_wrote_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, SetsailError("artifact.member", "member \x1b]0;owned\x07 is bad"))
    assert "\x1b" not in run("verify", "x.setsail").err
