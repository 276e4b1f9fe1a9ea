"""Clients of other people, each in a virtual environment of its own: their pins clash with ours, and with each other's.

    python = client_python("tf-serving", "tensorflow-serving-api==2.20.0", "tensorflow-cpu==2.20.0")
    told = ask_client(python, SCRIPT, f"127.0.0.1:{port}")
    assert told.json() == {"predictions": [1.0]}

An environment is made when a test first asks for it and kept in `build/clients/<name>`; it is made again when its pins
change. Making one downloads packages, so such tests are marked `slow`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Told", "ask_client", "client_python"]

FOLDER = Path(__file__).parents[2] / "build" / "clients"
_INSTALL_SECONDS = 1800


@dataclass(frozen=True)
class Told:
    """How a script ended, and what it said."""

    rc: int
    out: str
    err: str

    def json(self) -> Any:
        """The last line of its output; a script that failed fails the test with its own words."""
        assert self.rc == 0, f"exit {self.rc}\n{self.out[-2000:]}\n{self.err[-4000:]}"
        return json.loads(self.out.strip().splitlines()[-1])


def client_python(name: str, *pins: str) -> Path:
    """The interpreter of an environment that has these packages.

    Args:
        pins: requirements, or options of pip: `"--no-deps"` holds for all that follow it.
    """
    home = FOLDER / name
    python, stamp = home / "bin" / "python", home / "pins.txt"
    wanted = "\n".join((f"python {sys.version_info[0]}.{sys.version_info[1]}", *pins))
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _locked(FOLDER / f"{name}.lock"):
        if stamp.is_file() and stamp.read_text() == wanted and python.exists():
            return python
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        for options, packages in _steps(pins):
            _install(python, [*options, *packages])
        stamp.write_text(wanted)
    return python


def ask_client(
    python: Path, script: str, *args: str, seconds: float = 120.0, env: Mapping[str, str] | None = None
) -> Told:
    """Run a script with a client's interpreter. One that takes longer is killed: `subprocess.TimeoutExpired`."""
    ended = subprocess.run(
        [python, "-c", script, *args],
        capture_output=True, text=True, timeout=seconds, env={**_surroundings(), **(env or {})},
    )  # fmt: skip
    return Told(ended.returncode, ended.stdout, ended.stderr)


def _steps(pins: tuple[str, ...]) -> Iterator[tuple[list[str], list[str]]]:
    """Installations in order: one of what has its dependencies, one of what comes after `--no-deps`."""
    at = pins.index("--no-deps") if "--no-deps" in pins else len(pins)
    if at:
        yield [], list(pins[:at])
    if at < len(pins):
        yield ["--no-deps"], list(pins[at + 1 :])


def _install(python: Path, words: list[str]) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, env=_surroundings())
    assert ended.returncode == 0, f"{words}: {ended.stdout[-2000:]}{ended.stderr[-4000:]}"


def _surroundings() -> dict[str, str]:
    """Our variables, but for those that would bring our packages into a client's interpreter."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker at a time, in whatever process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
