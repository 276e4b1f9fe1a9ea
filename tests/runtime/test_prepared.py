"""Prepared weights: made once, checked whenever they are opened, never in the way of a load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from setsail import caches
from setsail.runtime import prepared
from setsail.runtime.prepared import PROGRAM, SMALLEST, WEIGHTS, Skipped

POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Writer:
    """What onnxruntime does, and how often it was asked."""

    def __init__(self, weights: bytes = bytes(range(256)) * (SMALLEST // 256)) -> None:
        self.weights, self.calls = weights, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / PROGRAM).write_bytes(b"program")
        (folder / WEIGHTS).write_bytes(self.weights)
        (folder / "left over").write_bytes(b"")


def opened(name: str, write: Callable[[Path], None], size: int = 0) -> Path:
    return prepared.entry(name, size, write)


def test_an_entry_is_made_once_and_holds_nothing_else() -> None:
    write = Writer()
    place = opened("a", write)
    assert opened("a", write) == place
    assert write.calls == 1
    assert sorted(p.name for p in place.iterdir()) == ["entry.json", PROGRAM, WEIGHTS]
    assert (place / WEIGHTS).read_bytes() == write.weights


@POSIX
def test_an_entry_is_for_its_user_alone() -> None:
    place = opened("a", Writer())
    assert {oct(p.stat().st_mode & 0o777) for p in (place, place.parent)} == {"0o700"}
    assert {oct(p.stat().st_mode & 0o777) for p in place.iterdir()} == {"0o600"}


def test_a_program_without_large_weights_is_remembered_as_such() -> None:
    write = Writer(b"small")
    for _ in range(2):
        with pytest.raises(Skipped, match="no large weights"):
            opened("a", write)
    assert write.calls == 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def loosen(path: Path) -> None:
    path.chmod(0o620)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink, pytest.param(loosen, marks=POSIX),
                                  pytest.param(replace_by_link, marks=POSIX)])  # fmt: skip
@pytest.mark.parametrize("file", [PROGRAM, WEIGHTS, "entry.json"])
def test_an_entry_that_is_not_as_it_was_made_is_made_again(file: str, harm: Callable[[Path], None]) -> None:
    write = Writer()
    place = opened("a", write)
    harm(place / file)
    assert opened("a", write) == place
    assert write.calls == 2
    assert (place / WEIGHTS).read_bytes() == write.weights


@pytest.mark.parametrize(
    "body", [[], {"files": 1}, {"files": {WEIGHTS: {}}}, {"files": {"../.lock": {"size": 0}}}, {"files": {PROGRAM: {}}}]
)
def test_an_entry_that_says_nonsense_is_made_again(body: Any) -> None:
    write = Writer()
    place = opened("a", write)
    (place / "entry.json").write_text(json.dumps(body))
    opened("a", write)
    assert write.calls == 2


def test_a_copied_cache_is_known_by_its_content() -> None:
    """A copy or a container image keeps the bytes but not the times."""
    write = Writer()
    place = opened("a", write)
    for path in place.iterdir():
        os.utime(path, (1, 1))
    opened("a", write)
    assert write.calls == 1


def test_a_writer_that_fails_leaves_nothing(cache: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / PROGRAM).write_bytes(b"half")
        raise ValueError("onnxruntime says no")

    with pytest.raises(ValueError, match="says no"):
        opened("a", fails)
    assert [p.name for p in (cache / "weights").iterdir()] == [".lock"]


DIES = """
import os
from setsail.runtime import prepared

def dies(folder):
    (folder / prepared.WEIGHTS).write_bytes(b"half")
    os._exit(9)

prepared.entry("a", 0, dies)
"""


def test_a_writer_that_dies_leaves_no_entry_and_the_next_one_sweeps_up(cache: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIES], check=False).returncode == 9
    assert len(list((cache / "weights").glob(".making-*"))) == 1
    opened("a", Writer())
    assert sorted(p.name for p in (cache / "weights").iterdir()) == [".lock", "a"]


MAKES = """
import sys, time
from pathlib import Path
from setsail.runtime import prepared

def write(folder):
    with open(sys.argv[1], "a") as told:
        told.write("made ")
    time.sleep(0.1)
    (folder / prepared.PROGRAM).write_bytes(b"program")
    (folder / prepared.WEIGHTS).write_bytes(bytes(prepared.SMALLEST))

print(prepared.entry("a", 0, write).name)
"""


def test_of_processes_that_want_the_same_one_makes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKES, str(tmp_path / "told")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == ["a\n"] * 3
    assert (tmp_path / "told").read_text() == "made "


def test_who_cannot_have_the_lock_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_WAIT_SECONDS", 0.05)
    with (
        caches.lock(caches.folder("weights") / ".lock", 1.0),
        pytest.raises(Skipped, match="another process has held"),
    ):
        opened("a", Writer())


def test_a_folder_that_cannot_be_made_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "file"))
    with pytest.raises(Skipped, match="cannot be used: Not a directory"):
        opened("a", Writer())


@POSIX
def test_a_read_only_folder_is_no_error_and_what_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Writer()
    place = opened("a", write)

    def refused(*arguments: Any, **options: Any) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refused)  # root may write anywhere, so modes would not do
    assert opened("a", write) == place
    with pytest.raises(Skipped, match="Read-only file system"):
        opened("b", write)


def test_a_full_disk_is_not_filled_further() -> None:
    with pytest.raises(Skipped, match="too little room"):
        opened("a", Writer(), size=1 << 60)


@POSIX
def test_a_folder_that_others_may_write_to_is_not_trusted(cache: Path) -> None:
    opened("a", Writer())
    (cache / "weights").chmod(0o770)
    with pytest.raises(Skipped, match="not this user's alone"):
        opened("a", Writer())


def test_entries_used_longest_ago_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(prepared, "LIMIT", int(2.5 * SMALLEST))
    for age, name in enumerate(("b", "a")):
        place = opened(name, Writer())
        os.utime(place / "entry.json", (age, age))
    opened("b", Writer())  # and so it is the younger one
    opened("c", Writer())
    assert sorted(p.name for p in (cache / "weights").glob("[!.]*")) == ["b", "c"]


def test_the_key_names_everything_that_the_packed_form_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        prepared.key("program", 1, "1.31"), prepared.key("other", 1, "1.31"), prepared.key("program", 2, "1.31"),
        prepared.key("program", 1, "1.32"),
    }  # fmt: skip
    assert len(keys) == 4
    monkeypatch.setattr(prepared, "FORMAT", 2)
    assert prepared.key("program", 1, "1.31") not in keys
    monkeypatch.undo()
    monkeypatch.setattr(prepared, "_cpu", lambda: "another")
    assert prepared.key("program", 1, "1.31") not in keys
