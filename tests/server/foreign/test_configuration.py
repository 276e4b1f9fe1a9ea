"""Which reader reads a file of another server, and what becomes of what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from scaled import artifact

from setsail.catalog import Register
from setsail.cli import main
from setsail.errors import SetsailError
from setsail.server.foreign import configuration
from setsail.server.foreign.configuration import Format
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Format("triton", (".words",), "foreign_reader:read"),)
    monkeypatch.setattr(configuration, "FORMATS", rows)


def test_a_file_is_known_by_its_name_else_by_the_flavour(tmp_path: Path) -> None:
    for name in ("a.words", "b.txt", "c.toml"):
        (tmp_path / name).write_text("x")
    found = configuration.read(tmp_path / "a.words")
    assert found is not None
    assert found.settings["as_"] == "triton"
    assert configuration.read(tmp_path / "b.txt", "triton") == configuration.read(tmp_path / "a.words")
    assert configuration.read(tmp_path / "b.txt") is None
    assert configuration.read(tmp_path / "c.toml", "triton") is None


def test_everything_else_beats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_DRAIN_TIMEOUT", "8")
    settings = Settings.read({"port": 5}, foreign={"port": 6, "drain_timeout": 7, "idle_timeout": 9})
    assert (settings.port, settings.drain_timeout, settings.idle_timeout) == (5, 8, 9)


@pytest.mark.parametrize(
    "count",
    [1, pytest.param(2, marks=pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process"))],
)
def test_what_it_asks_for_is_done_before_anybody_is_answered(tmp_path: Path, count: int) -> None:
    artifact(tmp_path / "twice.setsail", 2.0, name="twice").close()
    settings = Settings(port=0, admin_port=-1, model_store=str(tmp_path))
    with Server(settings) if count == 1 else Supervisor(settings, count) as server:
        server.do(Register("twice.setsail", name="double"))
        server.start()
        assert [(model["name"], model["version"]) for model in server.describe()["models"]] == [("double", 1)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_cannot_be_done_ends_the_start(tmp_path: Path, workers: str) -> None:
    (tmp_path / "a.words").write_text("nowhere.setsail")
    command = ["serve", "--config", str(tmp_path / "a.words"), "--admin-port", "-1", "--workers", workers, "--json"]
    found = CliRunner().invoke(main, command)
    assert (found.exit_code, '"store.missing"' in found.stdout) == (1, True)


def test_nothing_to_serve() -> None:
    found = CliRunner().invoke(main, ["serve", "--json"])
    assert (found.exit_code, '"command.usage"' in found.stdout) == (2, True)


def test_a_fault_of_a_setting_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        Settings.read({}, foreign={"as_": "tensorflow"})
    assert (caught.value.code, caught.value.field) == ("setting.value", "--as")
