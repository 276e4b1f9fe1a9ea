"""A virtual environment for each peer, made once under the cache folder: by uv where it is installed, else by pip.

All are measured as they are after an installation, with their modules compiled: a checkout under
PYTHONDONTWRITEBYTECODE would compile its own at every start, which takes as long as all the rest of it.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import setsail

__all__ = ["UnavailableError", "compiled", "made"]


class UnavailableError(Exception):
    """A peer cannot be measured here; the text says why."""


def compiled() -> None:
    """Compile this project's own modules, as an installation does."""
    compileall.compile_dir(str(Path(setsail.__file__).parent), quiet=2)


def made(name: str, packages: Sequence[str], folder: Path) -> Path:
    """The `bin` folder of the environment `name` with exactly the `packages` asked for. Raises UnavailableError."""
    home = folder / name
    stamp, wanted = home / "packages.txt", "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return home / "bin"
    uv = shutil.which("uv")
    create = [uv, "venv", "--python", sys.executable, "--clear"] if uv else [sys.executable, "-m", "venv", "--clear"]
    python = str(home / "bin" / "python")
    install = (
        [uv, "pip", "install", "--compile-bytecode", "--python", python]
        if uv
        else [python, "-m", "pip", "install", "--quiet"]
    )
    for command in ([*create, str(home)], [*install, *packages]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            faults = [line for line in lines if line.lower().startswith("error")] or lines[-1:]
            raise UnavailableError(f"its packages cannot be installed: {' '.join(faults)[:300]}")
    stamp.write_text(wanted)
    return home / "bin"
