"""`setsail export`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from shell import run

Given = Callable[..., None]


def test_the_program_as_plain_files(given: Given) -> None:
    given("iris-1.setsail")
    found = run("export", "iris-1.setsail", "--to", "onnx", "-o", "out", "--json")
    assert found.code == 0, found.err
    model, signature = (Path(name) for name in found.document["files"])
    onnx.checker.check_model(str(model))
    assert json.loads(signature.read_text())["inputs"][0]["name"] == "input"


def test_nothing_is_overwritten_and_what_is_not_there_is_named(given: Given) -> None:
    given("iris-1.setsail")
    assert run("export", "iris-1.setsail", "--to", "onnx", "-o", "out").code == 0
    assert run("export", "iris-1.setsail", "--to", "onnx", "-o", "out", "--json").error["code"] == "artifact.exists"
    found = run("export", "iris-1.setsail", "--to", "native", "-o", "out", "--json")
    assert (found.code, found.error["code"]) == (1, "convert.unsupported")


def test_an_archive_for_torchserve(given: Given) -> None:
    given("iris-1.setsail")
    found = run("export", "iris-1.setsail", "--to", "mar", "-o", "store")
    assert found.code == 0, found.err
    assert found.out.splitlines()[0] == "store/iris.mar"
    assert "torchserve --start --model-store store --models iris.mar" in found.err


def test_what_cannot_be_had_is_told_with_what_leads_there(given: Given) -> None:
    given("iris-1.setsail")
    found = run("export", "iris-1.setsail", "--to", "native", "-o", "out")
    assert found.code == 1
    assert "has no program that native could be made of" in found.err
    assert "Export --to onnx" in found.err
    assert not Path("out").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
def test_a_savedmodel_says_what_to_install(given: Given) -> None:
    given("iris-1.setsail")
    found = run("export", "iris-1.setsail", "--to", "savedmodel", "-o", "out")
    assert found.code == 3
    assert 'pip install "setsail[tensorflow]"' in found.err
    assert not Path("out").exists()
