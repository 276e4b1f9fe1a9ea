"""An artifact of several signatures on each target: what is shipped of it, what is told, and what is tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from several_signatures import NAMES, shared
from shell import run

from setsail import targets
from setsail.artifact import Artifact, read
from setsail.errors import SetsailError
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.targets.container import trial
from setsail.targets.ray import extras
from setsail.targets.replay import replay


@pytest.fixture
def opened() -> Iterator[Artifact]:
    with read(shared()) as made:
        yield made


def plan(opened: Artifact, **given: Any) -> Any:
    return targets.of("browser").plan(opened, targets.options_of("browser", given))


# -- a page has one ----------------------------------------------------------------------------------------------------


def test_a_page_has_one_signature_and_says_which_it_has_not(opened: Artifact) -> None:
    site = plan(opened)
    body = json.loads(site.contents["model.json"])
    assert [spec["name"] for spec in body["signature"]["inputs"]] == ["x"]
    assert (body["name"], site.facts["signature"]) == ("two", "serving_default")
    assert site.facts["left"] == ["classify", "prediction", "single"]
    (told,) = [warning for warning in site.warnings if "--signature" in warning]
    assert "the page has the signature serving_default; not in it are classify, prediction, single" in told


@pytest.mark.parametrize("name", ["classify", "sort"])
def test_a_page_of_another_signature(opened: Artifact, name: str) -> None:
    site, default = plan(opened, signature=name), plan(opened)
    body = json.loads(site.contents["model.json"])
    assert [spec["name"] for spec in body["signature"]["inputs"]] == ["z"]
    assert "  z: number[][];" in site.contents["model.d.ts"].decode()
    assert (body["name"], site.facts["signature"]) == ("two-classify", "classify")
    assert list(json.loads(site.contents["samples.json"])["inputs"]) == ["z"]
    assert "two-classify, version 1" in site.contents["index.html"].decode()
    entry, other = body["model"]["entry"], json.loads(default.contents["model.json"])["model"]["entry"]
    assert entry != other  # what a service worker keeps of one site is not taken for the other's
    assert site.contents[entry] == bytes(opened.others["classify"].files("onnx")["model.onnx"])
    assert site.opened.signature == opened.others["classify"].signature  # that is what is tried


def test_a_signature_that_is_not_there_is_not_shipped(opened: Artifact) -> None:
    with pytest.raises(SetsailError) as caught:
        plan(opened, signature="regress")
    assert caught.value.code == "model.signature"
    assert "classify" in str(caught.value.expected)


# -- the others carry the artifact, with all it has --------------------------------------------------------------------


def test_every_signature_is_replayed(opened: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = replay(opened)
    assert [check.passed for check in checks] == [True] * len(NAMES)
    wrong = opened.others["classify"]
    inputs, outputs = wrong.samples() or ({}, {})
    monkeypatch.setattr(wrong, "samples", lambda what="synthetic": (inputs, {"scores": outputs["scores"] + 1}))
    with pytest.raises(SetsailError) as caught:  # a model whose own rows disagree is not even loaded
        replay(opened)
    assert caught.value.code == "model.failed"


def test_an_image_is_asked_for_every_signature() -> None:
    with read(shared()) as opened, Server(Settings(port=0, admin_port=-1)) as server:
        server.open(shared())
        server.start()
        room: Any = SimpleNamespace(serve=lambda: {"url": server.url}, stop=list)
        checks = trial.replay(opened, room)
        assert [check.passed for check in checks] == [True] * len(NAMES)
        rows = {"z": np.ones((2, 2), np.float32)}
        told = trial.ask(server.url, "two", opened.others["classify"].signature, rows, "classify")
        assert told["scores"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_an_application_requires_what_any_signature_needs(opened: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras(opened) == ""
    native = (SimpleNamespace(format="xgboost-ubj"),)
    monkeypatch.setitem(opened.others["classify"].__dict__, "variants", native)
    assert extras(opened) == "[xgboost]"


# -- commands ----------------------------------------------------------------------------------------------------------


def test_commands_name_a_signature(tmp_path: Path) -> None:
    found = run("export", shared(), "--to", "onnx", "--signature", "sort", "-o", tmp_path / "out", "--json")
    assert (found.code, found.document["signature"]) == (0, "classify")
    assert found.document["left"] == ["serving_default", "prediction", "single"]
    assert json.loads((tmp_path / "out/signature.json").read_text())["inputs"][0]["name"] == "z"
    found = run("export", shared(), "--to", "onnx", "-o", tmp_path / "default")
    assert "not in it, but by --signature: classify, prediction, single" in found.err
    line = ("bench", shared(), "--mode", "closed", "--clients", 1, "--seconds", "0.1", "--workers", 1)
    found = run(*line, "--signature", "classify", "--json")
    assert found.code == 0, found.both
    assert found.document["signature"] == "classify"
    assert (found.document["phases"][0]["errors"], found.document["phases"][0]["unequal"]) == ({}, 0)
    found = run(*line, "--signature", "regress", "--json")
    assert (found.code, found.error["code"]) == (1, "model.signature")
    found = run(*line, "--signature", "classify", "--wire", "plain", "--json")
    assert (found.code, found.error["code"]) == (2, "command.usage")
