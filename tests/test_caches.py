"""The cache folder, and a lock among processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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


def aged(folder: Path, **hours: float) -> None:
    """Files of 100 bytes that were last used so many hours ago."""
    for name, ago in hours.items():
        path = folder / name
        path.write_bytes(b"x" * 100)
        os.utime(path, (time.time() - 3600 * ago,) * 2)


def test_what_is_not_used_for_the_longest_goes_first(tmp_path: Path) -> None:
    aged(tmp_path, a=5, b=9, c=3)
    (tmp_path / "inner").mkdir()
    aged(tmp_path / "inner", d=7)
    assert caches.shrink(tmp_path, 400) == 0
    assert caches.shrink(tmp_path, 250) == 200
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"a", "c"}
    caches.used(tmp_path / "a", tmp_path / "not there")
    assert caches.shrink(tmp_path, 100) == 100
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"a"}


def test_what_was_used_within_the_hour_stays_and_so_do_locks(tmp_path: Path) -> None:
    aged(tmp_path, new=0.9, old=1.1)
    (tmp_path / "x.lock").write_bytes(b"")
    os.utime(tmp_path / "x.lock", (0, 0))
    assert caches.shrink(tmp_path, 0) == 100
    assert {p.name for p in tmp_path.iterdir()} == {"new", "x.lock"}
    assert caches.shrink(tmp_path / "nothing", 0) == 0
