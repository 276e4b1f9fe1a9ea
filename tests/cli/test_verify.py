"""`setsail verify`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from shell import run

from setsail import packing

Given = Callable[..., None]


def test_a_whole_artifact_passes(given: Given) -> None:
    given("iris-1.setsail")
    found = run("verify", "iris-1.setsail")
    assert found.code == 0
    assert "every digest right" in found.out
    assert "setsail serve iris-1.setsail" in found.err


def test_answers_that_changed_are_exit_1(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    given("iris-1.setsail")
    real = packing.verify(Path("iris-1.setsail"))
    (report,) = real.replays
    wrong = replace(report, checks=(replace(report.checks[0], failed=1), *report.checks[1:]))
    monkeypatch.setattr(packing, "verify", lambda _: replace(real, replays=(wrong,)))
    found = run("verify", "iris-1.setsail")
    assert found.code == 1
    assert "FAILED" in found.out
    assert "next:" not in found.err
    found = run("verify", "iris-1.setsail", "--json")
    assert (found.code, found.document["passed"]) == (1, False)
