"""`setsail verify`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from package_index import index, wheel
from shell import run

from setsail import packing
from setsail.parity import ParityReport

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
    body = real.replays[0].to_json()
    body["checks"][0]["failed"] = 1
    wrong = packing.Verification(real.path, real.digest, real.members, (ParityReport.from_json(body),))
    monkeypatch.setattr(packing, "verify", lambda _: wrong)
    found = run("verify", "iris-1.setsail")
    assert found.code == 1
    assert "FAILED" in found.out
    assert "next:" not in found.err
    found = run("verify", "iris-1.setsail", "--json")
    assert (found.code, found.document["passed"]) == (1, False)


def test_what_changed_since_it_was_packed_is_told_and_fails_nothing(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given("iris-1.setsail")
    with index({"numpy": [wheel("numpy", "0.1")]}) as (url, _):
        monkeypatch.setenv("PIP_INDEX_URL", url)
        found = run("verify", "iris-1.setsail", "--environment")
        assert found.code == 0
        assert "packages are as they were" in found.out
        assert f"{url} has 0 of" in found.out
        told = run("verify", "iris-1.setsail", "--environment", "--json").document
    assert told["environment"]["differences"] == []
    assert told["index"]["reachable"] is True
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "was not asked: PIP_NO_INDEX says not to" in run("verify", "iris-1.setsail", "--environment").out
