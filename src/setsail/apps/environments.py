"""Environments of code that brings requirements: made ahead by `setsail prepare`, found when a server starts.

Making one downloads and builds packages, which runs their code; a server never does. An environment is a virtual
environment in the cache, named after the requirements and the Python that it is for, so that equal requirements share
one, and changed ones are not served with the old packages.

`over` ours: what this environment has (torch, numpy) is importable too, behind what was installed, as handlers of
TorchServe expect. Otherwise nothing but the requirements, and numpy, which the worker itself needs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setsail import caches
from setsail.errors import SetsailError

__all__ = ["Environment", "find", "make"]

_SECONDS: Final = 3600.0
_DONE: Final = "setsail-environment"  # written last: a folder without it was never finished


@dataclass(frozen=True)
class Environment:
    """An environment that is there.

    Attributes:
        folder: of it.
        readable: what code in it must be able to read beside it.
    """

    folder: Path
    readable: tuple[str, ...]

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")


def find(requirements: bytes, source: Path, *, python: str = "", over: bool = True) -> Environment:
    """The environment of requirements.

    Args:
        source: whose they are, for the message.
        python: the interpreter that it is for; empty for this one.

    Raises:
        SetsailError: `dependency.missing` while it was not made, with the command that makes it.
    """
    found = _environment(requirements, python, over)
    if not (found.folder / _DONE).is_file():
        line = f"setsail prepare {source}"
        raise SetsailError("dependency.missing", f"the environment that {source.name} asks for was not made",
                           field="requirements", value=_shown(requirements), todo=f"run: {line}",
                           command=line)  # fmt: skip
    return found


def make(requirements: bytes, *, python: str = "", over: bool = True) -> tuple[Environment, bool]:
    """Make the environment of requirements, unless it is there. Runs pip, and so whatever packages run when installed.

    Returns:
        It, and whether it was there.

    Raises:
        SetsailError: `child.failed` with pip's last words.
    """
    made = _environment(requirements, python, over)
    with caches.lock(made.folder.with_suffix(".lock"), _SECONDS):
        if (made.folder / _DONE).is_file():
            return made, True
        shutil.rmtree(made.folder, ignore_errors=True)
        try:
            _run([python or sys.executable, "-m", "venv", str(made.folder)])
            if over:
                _behind(made)
            with tempfile.NamedTemporaryFile(suffix=".txt") as file:
                file.write(requirements)
                file.flush()
                more = [] if over else ["numpy"]
                _run([made.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
                      "-r", file.name, *more])  # fmt: skip
        except BaseException:
            shutil.rmtree(made.folder, ignore_errors=True)
            raise
        (made.folder / _DONE).write_bytes(requirements)
    return made, False


def _environment(requirements: bytes, python: str, over: bool) -> Environment:
    told = repr((requirements, python or (sys.prefix, sys.version_info[:2]), over))
    key = hashlib.sha256(told.encode()).hexdigest()[:32]
    return Environment(caches.folder("environments") / key, _ours() if over else ())


def _ours() -> tuple[str, ...]:
    """Where this environment's packages are."""
    return tuple(dict.fromkeys(path for path in sys.path if path.endswith("-packages") and os.path.isabs(path)))


def _behind(made: Environment) -> None:
    """Have this environment's packages found behind those of the new one."""
    variables = {"base": str(made.folder), "platbase": str(made.folder)}
    site = Path(sysconfig.get_path("purelib", "venv", variables))
    site.joinpath("setsail-behind.pth").write_text("\n".join(_ours()) + "\n", encoding="utf-8")


def _run(command: list[str]) -> None:
    told = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if told.returncode:
        lines = (told.stderr or told.stdout).strip().splitlines()[-20:]
        raise SetsailError("child.failed", "the environment could not be made", value=lines[-1] if lines else None,
                           todo="try the requirements in a virtual environment of your own", reason="exception",
                           lines=lines)  # fmt: skip


def _shown(requirements: bytes) -> str:
    lines = requirements.decode(errors="replace").splitlines()
    return ", ".join(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))[:200]
