"""Libraries of the system that a base lacks and a package asks for."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_base import FILES, elf_file, root_tar, tiny_wheel

from setsail import targets
from setsail.errors import SetsailError
from setsail.targets.container import planning
from setsail.targets.container.base import Facts
from setsail.targets.container.image import variables
from setsail.targets.container.libraries import libraries
from setsail.targets.container.wheels import Wheel

FACTS = Facts("amd64", "/usr/bin/python3.11", (3, 11), (2, 36), frozenset())


def booster(folder: Path) -> Wheel:
    path = tiny_wheel(folder, "lightgbm", "4.7.0")
    return Wheel("lightgbm", "4.7.0", path, hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")


def test_lightgbm_gets_the_openmp_of_another_wheel(fetched: list[list[str]], tmp_path: Path) -> None:
    (found,) = libraries([booster(tmp_path)], FACTS)
    assert (found.name, found.data, found.source) == ("libgomp.so.1", elf_file(), "pkg:pypi/xgboost-cpu@3.2.0")
    assert fetched == [["xgboost-cpu==3.2.0"]]


def test_nothing_is_added_that_the_base_has_or_nobody_asks_for(fetched: list[list[str]], tmp_path: Path) -> None:
    there = Facts("amd64", "/usr/bin/python3.11", (3, 11), (2, 36), frozenset({"libgomp.so.1"}))
    assert libraries([booster(tmp_path)], there) == ()
    assert libraries([], FACTS) == ()
    assert fetched == []


def test_a_wheel_without_it_is_told(fetched: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setsail.targets.container.libraries.member", lambda wheel, pattern: None)
    with pytest.raises(SetsailError, match=r"no libgomp\.so\.1 in it") as fault:
        libraries([booster(tmp_path)], FACTS)
    assert fault.value.code == "ship.fetch"


@pytest.mark.parametrize("named", [True, False])
def test_an_image_and_its_context_have_it(
    ship: Callable[..., targets.Shipment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Also where no base was seen: it may lack the library."""
    monkeypatch.setattr(planning, "packages", lambda opened, facts: ({"numpy": "2.4.6"}, {"lightgbm": "4.7.0"}))
    if not named:
        monkeypatch.setattr(planning, "_base", lambda options, to, warnings: None)
    out = tmp_path / "out"
    ship(out)
    lines = (out / "Dockerfile").read_text().splitlines()
    assert "COPY libraries /opt/setsail/lib/" in lines
    assert any(line.strip(" \\") == "LD_LIBRARY_PATH=/opt/setsail/lib" for line in lines)
    assert (out / "libraries/libgomp.so.1").read_bytes() == elf_file()
    assert "!libraries" in (out / ".dockerignore").read_text().splitlines()
    assert "xgboost" not in (out / "requirements.txt").read_text()
    parts = {part["name"]: part for part in json.loads((out / "sbom.cdx.json").read_text())["components"]}
    assert parts["libgomp"]["licenses"] == [{"license": {"name": "GPL-3.0-or-later WITH GCC-exception-3.1"}}]
    assert parts["libgomp"]["hashes"][0]["content"] == hashlib.sha256(elf_file()).hexdigest()
    if not named:
        return
    with tarfile.open(out / "image.tar") as tar:
        blobs = {i.name: tar.extractfile(i).read() for i in tar if i.isfile()}  # type: ignore[union-attr]
    config = next(b for n, b in blobs.items() if n.startswith("blobs") and b.startswith(b'{"architecture"'))
    assert "LD_LIBRARY_PATH=/opt/setsail/lib" in json.loads(config)["config"]["Env"]


def test_a_model_that_needs_none_has_no_folder_for_them(ship: Callable[..., targets.Shipment], tmp_path: Path) -> None:
    ship(tmp_path / "out")
    assert "libraries" not in (tmp_path / "out/Dockerfile").read_text()
    assert not (tmp_path / "out/libraries").exists()


def test_the_bases_own_folders_stay_behind_ours(tmp_path: Path) -> None:
    from types import SimpleNamespace

    base = SimpleNamespace(config={"config": {"Env": ["LD_LIBRARY_PATH=/usr/local/cuda/lib", "A=b"]}})
    assert variables(base, True)["LD_LIBRARY_PATH"] == "/opt/setsail/lib:/usr/local/cuda/lib"  # type: ignore[arg-type]
    assert "LD_LIBRARY_PATH" not in variables(base)  # type: ignore[arg-type]


def test_a_base_that_has_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from setsail.targets.container.base import open_base

    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    there = {**FILES, "usr/lib/x86_64-linux-gnu/libgomp.so.1": elf_file()}
    assert "libgomp.so.1" in open_base(str(root_tar(tmp_path / "base.tar", there))).facts.libraries
