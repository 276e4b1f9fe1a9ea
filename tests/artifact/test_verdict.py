"""What was seen to be safe once, on this machine, with this runtime."""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

import pytest
from msgspec.structs import replace

from setsail.artifact import verdict
from setsail.variants import Variant

VARIANT = Variant("onnx", "onnx", "float32", "m.onnx")
FILES = {"m.onnx": b"program", "w.bin": b"weights"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path))


def test_remembered_and_known() -> None:
    key = verdict.key(VARIANT, FILES)
    assert not verdict.known(key)
    verdict.remember(key)
    verdict.remember(key)
    assert verdict.known(key)
    assert not verdict.known(verdict.key(VARIANT, FILES | {"w.bin": b"Weights"}))


def test_digests_stand_for_contents() -> None:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert verdict.key(VARIANT, digests) == verdict.key(VARIANT, FILES)
    assert verdict.key(VARIANT, {n: memoryview(c) for n, c in FILES.items()}) == verdict.key(VARIANT, FILES)


def test_the_same_files_opened_otherwise_are_another_program() -> None:
    keys = [verdict.key(v, FILES) for v in (VARIANT, replace(VARIANT, entry="w.bin"),
                                            replace(VARIANT, format="xgboost-ubj"))]  # fmt: skip
    assert len(set(keys)) == 3


def test_a_stricter_gate_or_another_runtime_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = verdict.key(VARIANT, FILES)
    monkeypatch.setattr(verdict, "GATE_VERSION", verdict.GATE_VERSION + 1)
    assert verdict.key(VARIANT, FILES) != before
    monkeypatch.undo()
    monkeypatch.setattr(verdict, "_runtime", lambda form: "onnxruntime 0.0.1")
    assert verdict.key(VARIANT, FILES) != before


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    key = verdict.key(VARIANT, FILES)
    verdict.remember(key)
    assert not verdict.known(key)


def test_the_runtimes_version_is_the_installed_ones() -> None:
    assert verdict._runtime("onnx") == f"onnxruntime {version('onnxruntime')}"
    assert verdict._runtime("unheard of") == ""
