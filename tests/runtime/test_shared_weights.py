"""Large ONNX programs opened in the form that processes share."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import heavy
import numpy as np
import pytest

from setsail import runtime
from setsail.errors import SetsailError
from setsail.runtime import Options, Runner, onnx_runner, prepared

SHARED = Options(identity="heavy")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(options: Options = SHARED, *, external: bool = False, seed: int = 0) -> Runner:
    return runtime.load(heavy.VARIANT, heavy.program(seed, external=external), heavy.signature(), options=options)


def right(runner: Runner) -> bool:
    return np.allclose(runner.run({"x": heavy.ROWS})["y"], heavy.answers(heavy.ROWS)["y"], atol=1e-5)


@pytest.mark.parametrize("external", [False, True])
def test_it_answers_the_same_from_shared_weights(external: bool) -> None:
    for runner in (load(external=external), load(external=external)):  # the one that made them, and the next
        assert Path(runner.weights.path).name == prepared.WEIGHTS
        assert right(runner)


def test_the_second_load_does_not_read_the_program_again() -> None:
    load().close()
    garbage = {"model.onnx": bytes(2 << 20)}
    assert right(runtime.load(heavy.VARIANT, garbage, heavy.signature(), options=SHARED))


def test_without_an_identity_nothing_is_kept(cache: Path) -> None:
    runner = load(Options())
    assert right(runner)
    assert runner.weights == ("", "")
    assert not cache.exists()


def test_a_cache_that_cannot_be_used_is_noted_and_the_model_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO, "setsail.runtime"):
        runner = load()
    assert right(runner)
    assert "cache folder cannot be used" in runner.weights.note
    assert runner.weights.note in caplog.text


def test_a_prepared_program_that_cannot_be_opened_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(load().weights.path).parent
    real = onnx_runner._session

    def refuses(program: str | bytes, options: object) -> object:
        if isinstance(program, str) and program.startswith(str(place)):
            raise RuntimeError("not today")
        return real(program, options)

    monkeypatch.setattr(onnx_runner, "_session", refuses)
    runner = load()
    assert right(runner)
    assert runner.weights.note == "onnxruntime could not prepare them: not today"
    assert not place.exists()


def test_a_program_that_cannot_be_loaded_is_refused_as_ever(cache: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        runtime.load(heavy.VARIANT, {"model.onnx": b"?" * (2 << 20)}, heavy.signature(), options=SHARED)
    assert caught.value.code == "model.failed"
    assert not list((cache / "weights").glob("[!.]*"))


def test_a_very_large_program_is_opened_by_path_or_as_a_buffer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_runner, "_LARGE", 1 << 20)
    opened, real = [], onnx_runner._session

    def told(program: str | bytes, options: object) -> object:
        opened.append(type(program))
        return real(program, options)

    monkeypatch.setattr(onnx_runner, "_session", told)
    assert right(load(Options()))
    assert right(load(Options(), external=True))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    assert right(load(Options()))
    assert opened == [str, bytes, bytes]


MAPS = """
import sys, heavy
from setsail import runtime
runner = runtime.load(heavy.VARIANT, heavy.program(), heavy.signature(), options=runtime.Options(identity="heavy"))
runner.run({"x": heavy.ROWS})
kind = None
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0]:
        kind = line.split()[-1]
    elif kind and kind.endswith("weights.bin"):
        print(line.strip())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_maps_the_weights_and_has_none_of_its_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAPS], stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        told = process.communicate()[0]
    sizes = {name: sum(map(int, found)) for name, found in (
        (name, re.findall(rf"{name}: +(\d+) kB", told)) for name in ("Rss", "Anonymous"))}  # fmt: skip
    assert sizes["Rss"] >= 2048
    assert sizes["Anonymous"] == 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(heavy.__file__).parent)}
