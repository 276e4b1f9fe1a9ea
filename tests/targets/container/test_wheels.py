"""Which packages an image gets, and setsail's own wheel."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from setsail import artifact
from setsail.errors import SetsailError
from setsail.targets.container import wheels
from setsail.targets.container.base import Facts

FACTS = Facts("amd64", "/usr/bin/python3.11", (3, 11), (2, 36), frozenset())


def model(form: str = "onnx", *kinds: str) -> Any:
    steps = [SimpleNamespace(kind=kind) for kind in kinds]
    one = SimpleNamespace(variants=[SimpleNamespace(format=form)], processing=SimpleNamespace(steps=steps))
    return SimpleNamespace(signatures={"serving_default": one})


def test_a_table_needs_the_core_and_nothing_that_packs(packed: Mapping[int, Path]) -> None:
    with artifact.read(packed[1]) as opened:
        core, more = wheels.packages(opened, FACTS)
    assert {"numpy", "onnxruntime", "safetensors", "uvloop", "httptools"} <= core.keys()
    assert not core.keys() & {"setsail", "rich", "onnx", "scikit-learn", "skl2onnx", "pandas", "torch", "pip", "scipy"}
    assert more == {}


@pytest.mark.parametrize(
    ("opened", "wanted"),
    [
        (model("xgboost-ubj"), {"xgboost-cpu", "scipy"}),
        (model("lightgbm-text"), {"lightgbm", "narwhals", "scipy"}),
        (model("catboost-cbm"), {"catboost", "pandas", "python-dateutil", "scipy"}),
        (model("litert-tflite"), {"ai-edge-litert"}),
        (model("onnx", "image.decode"), {"pillow"}),
        (model("onnx", "text.normalize", "text.tokenize"), {"tokenizers"}),
        (model("onnx", "table.stack", "image.stack", "text.normalize"), set()),
    ],
)
def test_what_an_artifact_needs_besides(opened: Any, wanted: set[str]) -> None:
    core, more = wheels.packages(opened, FACTS)
    assert more.keys() - {"six", "tzdata"} == wanted  # what dateutil needs, by its version
    assert not more.keys() & core.keys()


def test_the_versions_are_those_installed_here() -> None:
    import numpy

    assert wheels.packages(model(), FACTS)[0]["numpy"] == numpy.__version__


def test_a_package_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "_RUNTIMES", {"onnx": ("no-such-runtime",)})
    with pytest.raises(SetsailError) as fault:
        wheels.packages(model(), FACTS)
    assert (fault.value.code, fault.value.facts["command"]) == ("dependency.missing", "pip install no-such-runtime")


def test_wheels_are_fetched_once(fetched: list[list[str]], tmp_path: Path) -> None:
    wanted = {"numpy": "2.4.6", "python-multipart": "0.1"}
    first = wheels.wheels(wanted, FACTS)
    assert [w.name for w in first] == ["numpy", "python-multipart"]
    assert {w.licence for w in first} == {"MIT"}
    assert (
        first[0].requirement == f"numpy==2.4.6 --hash=sha256:{hashlib.sha256(first[0].path.read_bytes()).hexdigest()}"
    )
    assert wheels.wheels(wanted, FACTS) == first
    assert fetched == [["numpy==2.4.6", "python-multipart==0.1"]]
    first[0].path.write_bytes(b"other bytes")  # a cache that was damaged
    assert wheels.wheels(wanted, FACTS)[0].name == "numpy"
    assert fetched[1:] == [["numpy==2.4.6"]]


def test_pip_says_why_there_is_no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SetsailError) as fault:
        wheels.wheels({"numpy": "2.4.6"}, FACTS)
    assert fault.value.code == "ship.fetch"
    assert "numpy" in str(fault.value)


def test_our_own_wheel_is_the_same_every_time_and_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "one"))
    wheel = wheels.own_wheel()
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "two"))
    assert wheels.own_wheel().digest == wheel.digest
    with zipfile.ZipFile(wheel.path) as archive:
        names = set(archive.namelist())
    assert {"setsail/py.typed", "setsail/server/pages/style.css"} <= names
    assert not any("__pycache__" in name for name in names)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
    ]
    ended = subprocess.run([*command, "--no-compile", "--target", str(tmp_path / "there"), str(wheel.path)],
                           capture_output=True, text=True, timeout=120)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "there/setsail/__init__.py").is_file()


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ("License-Expression: MIT\nLicense: other\n", "MIT"),
        ("License: BSD\n", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: Apache Software License\n",
         "Apache Software License"),
        ("License-File: LICENSE\n", "see LICENSE in the wheel"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_licence_is_what_the_wheel_names_or_where_it_lies(fields: str, licence: str, tmp_path: Path) -> None:
    path = tmp_path / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one-1.0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: one\nVersion: 1.0\n{fields}")
    assert wheels._licence(path) == licence
