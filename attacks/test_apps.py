"""Hostile functions: the server answers with a code, learns nothing false, gives nothing away, and goes on."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from functions import start, until, write

import apps
from setsail.apps import runner as runners
from setsail.apps.runner import AppRunner
from setsail.apps.terms import Terms
from setsail.errors import SetsailError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces, seals and Landlock are Linux's")
TERMS = Terms(seconds=1.0, start_seconds=3.0)
Models = Mapping[bool, AppRunner]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def secret() -> Iterator[Path]:
    """A file outside everything that a function may touch; nothing ever happens to it, or beside it."""
    with tempfile.TemporaryDirectory(prefix="outside-") as folder:
        file = Path(folder) / "secret"
        file.write_text("4711")
        yield file
        assert file.read_text() == "4711"
        assert os.listdir(folder) == ["secret"]


def processes(folder: Path) -> list[int]:
    """Processes that run in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(place / "cwd").startswith(str(folder)):
                found.append(int(place.name))
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """One model for all attacks, each of which leaves it as it found it; and one without patience (True)."""
    folder = tmp_path_factory.mktemp("hostile")
    before = descriptors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "_FIRST_PAUSE", 0.0)
        file = write(folder, apps.file())
        models = {True: start(file, "attack", TERMS), False: start(file, "attack")}
        yield models
        for runner in models.values():
            runner.close()
        models.clear()
    until(lambda: not processes(folder))
    until(lambda: descriptors() <= before)


def texts(text: str) -> dict[str, Any]:
    return {"x": np.array([text], dtype=object)}


@pytest.mark.parametrize("name", apps.CALLS)
def test_hostile_call(name: str, hostile: Models, port: int, secret: Path) -> None:
    code = apps.CALLS[name][0]
    model = hostile[code == "app.timeout"]
    found, answer = "", None
    # What is wrong with an answer may show in the call after it only: one that nobody asked for lies in the channel.
    for text in (f"{name}|{os.getpid()} {port} {secret}", ""):
        try:
            came = model.run(texts(text))["output"].tolist()
            answer = answer or came
        except SetsailError as fault:
            found = found or fault.code
    assert found == code
    if not code:
        assert answer == [""]
    until(lambda: not model.down)
    assert model.run(texts(""))["output"].tolist() == ["well"]


def test_a_huge_answer(tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom typing import Annotated\n"
        "def attack(x: np.ndarray) -> Annotated[np.ndarray, 'float64[N,*]']:\n"
        "    return np.broadcast_to(0.0, (len(x), 1 << 27))"
    )
    runner = start(write(tmp_path, code), "attack")
    with pytest.raises(SetsailError) as caught:
        runner.run({"x": np.zeros((1, 1))})
    assert caught.value.code == "app.answer"
    runner.close()


@pytest.mark.parametrize("name", apps.LOADS)
def test_hostile_file(name: str, tmp_path: Path) -> None:
    before = descriptors()
    code = f"{apps.HEAD}\n{apps.LOADS[name]}\ndef attack(x: float) -> float: return x\n"
    with pytest.raises(SetsailError) as caught:
        start(write(tmp_path, code), "attack", TERMS)
    assert caught.value.code == "app.load"
    del caught
    until(lambda: not processes(tmp_path))
    until(lambda: descriptors() <= before)


def test_a_flood_of_lines_is_cut_and_cannot_write_to_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "def attack(x: float) -> float:\n"
        "    for i in range(20000): print('\\x1b[2J\\rroot@server#', 'a' * 50)\n    return x"
    )
    runner = start(write(tmp_path, code), "attack")
    with caplog.at_level(logging.INFO):
        runner.run({"x": np.zeros(1)})
        runner.close()
    assert 200 <= len(caplog.records) < 10_000
    assert not any(c in record.getMessage() for record in caplog.records for c in "\x1b\r")


def test_a_trace_without_end_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = "def attack(x: float) -> float:\n    raise ValueError('\\x1b' * (8 << 20))"
    runner = start(write(tmp_path, code), "attack")
    with pytest.raises(SetsailError) as caught:
        runner.run({"x": np.zeros(1)})
    assert caught.value.code == "app.fault"
    assert len(caplog.text) < 40_000
    assert "\x1b" not in caplog.text
    runner.close()
