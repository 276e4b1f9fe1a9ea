"""Whose layout a directory has."""

from __future__ import annotations

from pathlib import Path

import pytest
from scaled import artifact, program

from setsail.messages import ModelRef
from setsail.server.foreign.layouts import find
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


def test_a_directory_is_known_by_the_files_of_its_server(tmp_path: Path) -> None:
    for place, wanted in (
        ("t/m/config.pbtxt", "triton"), ("u/config.pbtxt", "triton"), ("l/m/model-settings.json", "mlserver"),
        ("n/model-settings.json", "mlserver"), ("s/1/saved_model.pb", "tfserving"), ("o/credit/1/m.onnx", None),
        ("p/1/m.onnx", None), ("f.onnx", None),
    ):  # fmt: skip
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        found = find(tmp_path / place.partition("/")[0], Settings())
        assert (found.flavour if found else None) == wanted, place
    found = find(tmp_path / "p", Settings(as_="tfserving"))
    assert found is not None
    assert found.flavour == "tfserving"


def test_a_base_path_is_one_model_whose_latest_version_is_served(tmp_path: Path) -> None:
    base = tmp_path / "scaled"
    artifact(base / "1.setsail", 2.0).close()
    (base / "2").mkdir()
    (base / "2" / "model.onnx").write_bytes(program(3.0))
    (base / "2" / "assets.extra").mkdir()
    with Server(Settings(as_="tfserving", ports="8501=0,8500=0", admin_port=-1)) as server:
        server.open(base, name="credit")
        (status,) = server.house.table.status(ModelRef("credit"))
        assert (status.version, status.state) == (2, "ready")


def test_a_supervisor_tells_what_does_not_carry_over(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text("instance_group [ { count: 2 } ]")
    with Supervisor(Settings(), 2) as server:
        openings = server.open(tmp_path)
    assert [o.note for o in openings] == ["", "m: instance_group: processes serve all models; --workers says how many"]
