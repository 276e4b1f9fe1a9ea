"""The cache folder, and a lock among processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from setsail import caches


def test_the_folder_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    made = caches.folder("kind")
    assert made == tmp_path / "cache/kind"
    if sys.platform != "win32":
        assert made.stat().st_mode & 0o777 == 0o700


def test_one_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    with caches.lock(tmp_path / "lock", 1.0) as held:
        assert held
        with caches.lock(tmp_path / "lock", 0.05) as second:
            assert not second
    with caches.lock(tmp_path / "lock", 0.0) as again:
        assert again


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from setsail import caches; "
        "held = caches.lock(Path(sys.argv[1]), 1.0); assert held.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=True)
    with caches.lock(tmp_path / "lock", 0.0) as held:
        assert held
