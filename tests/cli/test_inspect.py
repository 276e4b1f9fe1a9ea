"""`setsail inspect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shell import run

Given = Callable[..., None]


def test_for_people(given: Given) -> None:
    given("iris-1.setsail")
    found = run("inspect", "iris-1.setsail")
    assert found.code == 0
    assert found.out.startswith("iris version 1 ")
    assert "columns sepal_length, sepal_width, petal_length, petal_width" in found.out
    assert "setsail serve iris-1.setsail" in found.out


def test_for_programs(given: Given) -> None:
    given("iris-1.setsail")
    document = run("inspect", "iris-1.setsail", "--json").document
    assert document["manifest"]["name"] == "iris"
    assert len(document["digest"]) == 64
    assert document["size"] == Path("iris-1.setsail").stat().st_size


def test_a_damaged_file_is_refused(given: Given) -> None:
    given("iris-1.setsail")
    data = bytearray(Path("iris-1.setsail").read_bytes())
    data[len(data) // 2] ^= 1
    Path("iris-1.setsail").write_bytes(data)
    found = run("inspect", "iris-1.setsail", "--json")
    assert found.code == 1
    assert found.error["code"].startswith("artifact.")


def test_a_model_is_no_artifact(given: Given) -> None:
    given("iris.ubj")
    found = run("inspect", "iris.ubj", "--json")
    assert found.code == 1
    assert found.error["code"] in ("artifact.format", "artifact.truncated")
