"""`setsail pack`: what it prints, what it writes, when it asks."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shell import process, run, wait

from setsail import artifact, convert, packing
from setsail.cli.console import Console
from setsail.convert.conversion import Intent

Given = Callable[..., None]
Caught = list[tuple[Intent, packing.PackOptions]]


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Caught:
    """What the verb hands to `packing.pack`, which is stopped there."""
    calls: Caught = []

    def pack(_: Path, intent: Intent, options: packing.PackOptions) -> None:
        calls.append((intent, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "pack", pack)
    return calls


def test_a_booster_becomes_an_artifact(given: Given) -> None:
    given("iris.ubj")
    found = run("pack", "iris.ubj")
    assert found.code == 0, found.err
    assert found.out.startswith("iris-1.setsail  ")
    assert "parity of onnx (float32): passed" in found.out
    assert "converting XGBoost model (UBJSON), iris.ubj …" in found.err
    assert "\n  setsail serve iris-1.setsail\n" in found.err
    with artifact.read(Path("iris-1.setsail")) as opened:
        assert (opened.name, opened.version, opened.parity.passed) == ("iris", 1, True)


def test_json_is_one_document_and_nothing_else(given: Given) -> None:
    given("iris.ubj", "rows.csv")
    found = run("pack", "iris.ubj", "--name", "flowers", "--version", 3, "--reference", "rows.csv", "--json")
    assert (found.code, found.err) == (0, "")
    assert found.document["path"] == "flowers-3.setsail"
    assert found.document["parity"]["passed"] is True
    assert found.document["size"] == Path("flowers-3.setsail").stat().st_size
    with artifact.read(Path("flowers-3.setsail")) as opened:
        assert b'"sepal_length"' in bytes(opened.member("reference.json") or b"")


def test_an_existing_file_needs_force_and_quiet_prints_the_path(given: Given) -> None:
    given("iris.ubj")
    Path("iris-1.setsail").write_text("mine")
    found = run("pack", "iris.ubj", "--json")
    assert found.code == 1
    assert found.error["code"] == "artifact.exists"
    assert Path("iris-1.setsail").read_text() == "mine"
    found = run("pack", "iris.ubj", "--force", "--quiet")
    assert (found.code, found.out, found.err) == (0, "iris-1.setsail\n", "")


@pytest.mark.parametrize(("terminal", "accepted"), [(True, True), (False, False)])
def test_yes_answers_the_question_where_one_is_asked(
    given: Given, caught: Caught, monkeypatch: pytest.MonkeyPatch, terminal: bool, accepted: bool
) -> None:
    given("iris.joblib")
    monkeypatch.setattr(Console, "interactive", property(lambda self: terminal))
    run("pack", "iris.joblib", "--yes")
    ((_, options),) = caught
    assert options.ask is not None
    assert options.ask(convert.recognise(Path("iris.joblib"))) is accepted


@pytest.mark.parametrize(("flags", "seen"), [([], True), (["--yes"], True), (["--quiet"], False)])
def test_what_can_run_code_is_refused_where_nobody_can_be_asked(given: Given, flags: list[str], seen: bool) -> None:
    given("iris.joblib")
    found = run("pack", "iris.joblib", *flags)
    assert found.code == 2
    assert "[source.trust]" in found.err
    assert "--trust pickle" in found.err
    assert ("sklearn.linear_model._logistic.LogisticRegression" in found.err) is seen
    assert not Path("iris-1.setsail").exists()


def on_terminal(answer: str, *args: str) -> tuple[int, str]:
    """Run with a terminal as standard input and error, and type an answer."""
    ours, theirs = pty.openpty()
    started = process("pack", *args, stdin=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:  # Linux: the other end was closed
        pass
    os.close(ours)
    return wait(started).code, seen.decode()


def test_on_a_terminal_the_findings_are_shown_and_the_question_is_asked(given: Given) -> None:
    given("iris.joblib")
    code, seen = on_terminal("n\n", "iris.joblib")
    assert code == 2
    assert "known libraries: " in seen
    assert "Do you trust where this file comes from?" in seen
    code, seen = on_terminal("y\n", "iris.joblib")
    assert code == 0
    assert "✓" in seen
    assert Path("iris-1.setsail").exists()


def test_flags_become_an_intent_and_options(caught: Caught) -> None:
    np.save("x.npy", np.ones((3, 2)))
    run("pack", "net.pt", "--example", "x.npy", "--input", "x:float32[*,2]", "--input", "y:int64[*]",
        "--labels", "no, yes", "--framework", "torch", "--factory", "m:f", "--weights", "w.pt", "--tolerance", 2,
        "--samples", "none", "--trust", "factory", "--trust", "pickle", "--no-sandbox", "--version", 7,
        "--reference", "x.npy")  # fmt: skip
    ((intent, options),) = caught
    assert intent.example.tolist() == [[1, 1]] * 3
    assert [str(spec) for spec in intent.inputs] == ["x:float32[N,2]", "y:int64[N]"]
    assert (intent.labels, intent.framework) == (("no", "yes"), "torch")
    assert (intent.factory, intent.weights) == ("m:f", "w.pt")
    assert (options.tolerance, options.samples, options.trust) == (2, "none", ("factory", "pickle"))
    assert (options.sandbox, options.version, options.force) == (False, 7, False)
    assert options.reference is not None


def test_what_is_not_given_is_the_default(caught: Caught) -> None:
    run("pack", "net.onnx")
    ((intent, options),) = caught
    assert intent == Intent()
    assert (options.sandbox, options.name, options.output, options.reference) == (True, None, None, None)


def test_wrong_flags_are_refused_by_name(given: Given) -> None:
    given("iris.ubj")
    assert run("pack", "iris.ubj", "--input", "x=3", "--json").error["code"] == "convert.input"
    assert run("pack", "iris.ubj", "--example", "no.csv", "--json").error["code"] == "rows.missing"
    assert run("pack", "iris.ubj", "--name", "a/b", "--json").error["code"] == "model.name"
    assert run("pack", "iris.ubj", "-o", "no/such/a.setsail", "--json").error["code"] == "command.usage"
    assert run("pack", "nothing.onnx", "--json").error["code"] == "source.missing"


def test_a_missing_framework_prints_the_pip_line_and_exits_3(given: Given) -> None:
    given("iris.ubj", "no-xgboost")
    found = wait(process("pack", "iris.ubj", python="no-xgboost/bin/python"))
    assert found.code == 3
    assert 'pip install "setsail[xgboost]"' in found.err.splitlines()
