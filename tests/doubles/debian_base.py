"""A real base: Debian 12 with its Python 3.11, made by `debootstrap` once and kept in `build/clients`.

    base = debian_base("python3.11")

It takes two minutes, root, and Debian's archive. What documentation and translations take is removed, as in Docker's
slim images; copyright files stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

__all__ = ["debian_base"]

FOLDER = Path(__file__).parents[2] / "build" / "clients"
_SECONDS = 1200
_REMOVED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/info",
    "usr/share/zoneinfo",
)


def debian_base(*packages: str) -> Path:
    """The tar of a root file system with these packages; the test is skipped where it cannot be made."""
    path = FOLDER / f"debian-12-{'-'.join(packages)}.tar"
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a base needs root and debootstrap: apt-get install debootstrap")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=FOLDER) as made:
                _make(Path(made), path, packages)
    return path


def _make(made: Path, path: Path, packages: tuple[str, ...]) -> None:
    root = made / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", "bookworm", str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if ended.returncode:
        pytest.skip(f"debootstrap: {(ended.stdout + ended.stderr).strip().splitlines()[-1]}")
    for name in _REMOVED:
        shutil.rmtree(root / name, ignore_errors=True)
    for file in (root / "usr/share/doc").rglob("*"):
        if file.is_file() and not file.is_symlink() and file.name != "copyright":
            file.unlink()
    for folder in list(root.rglob("__pycache__")):
        shutil.rmtree(folder)
    tar = ["tar", "--sort=name", "--mtime=@0", "--numeric-owner", "-C", str(root), "-cf", str(made / "tar"), "."]
    subprocess.run(tar, check=True, timeout=_SECONDS)
    (made / "tar").rename(path)
