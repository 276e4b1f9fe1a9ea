"""Hostile archives of TorchServe: refused before anything is unpacked; what they hold never runs unasked."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import mars
import pytest

from setsail import convert
from setsail.convert import mar
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack
from setsail.server.run import Server
from setsail.server.settings import Settings


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", mars.ATTACKS)
def test_hostile_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    path = mars.ATTACKS[name](tmp_path / "in" / "m")
    with pytest.raises(SetsailError) as caught:
        mar.archive(path).unpacked()
    assert caught.value.code == "source.damaged", str(caught.value)
    assert str(caught.value).isprintable()
    unpacked = tmp_path / "cache" / "archives"
    assert not unpacked.exists() or not [p for p in unpacked.iterdir() if p.is_dir()]
    assert sorted(os.listdir(tmp_path / "in")) == [path.name]
    assert not Path("/tmp/setsail-canary").exists()


def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = mars.ATTACKS["zip slip"](tmp_path / "m")
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", mars.manifest())
        packed.writestr("handler.py", "")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("handler.py", "import os")
    with pytest.raises(SetsailError) as caught:
        mar.archive(path)
    assert caught.value.code == "source.damaged"
    assert "two members" in caught.value.what


def test_nothing_in_an_archive_runs_without_trust_nor_reaches_out_with_it(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = (
        f"import os\nfor place in ({str(canary)!r}, os.path.join(os.path.dirname(__file__), 'canary')):\n"
        "    try:\n        open(place, 'w').close()\n    except OSError:\n        pass\n"
        "def handle(data, context):\n    return data and ['ran'] * len(data)\n"
    )
    path = tmp_path / "m.mar"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", mars.manifest())
        packed.writestr("handler.py", code)
    assert convert.recognise(path).trust == "mar"
    with pytest.raises(SetsailError) as caught:
        pack(path, Intent(), PackOptions(trust=("pickle", "torchscript", "app")))
    assert caught.value.code in ("source.trust", "convert.unsupported")
    with Server(Settings(port=0, admin_port=-1, trust="app")) as server, pytest.raises(SetsailError) as caught:
        server.open(path)
    assert caught.value.code == "source.trust"
    with Server(Settings(port=0, admin_port=-1, trust="mar")) as server:
        server.open(path)
    assert not list(tmp_path.rglob("canary"))
    assert not (mar.archive(path).unpacked() / "canary").exists()
