"""Hostile packagings: refused with `source.damaged`, nothing run, nothing written outside, nothing left behind."""

from __future__ import annotations

import gzip
import pickle
import tarfile
import time
from pathlib import Path

import pytest
from packagings import CANARY, MLMODELS, TARS, file

from setsail.apps.scripts.entry import entry
from setsail.convert import recognise
from setsail.errors import SetsailError


class Boom:
    """Unpickled, it would write the canary."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", MLMODELS)
def test_hostile_mlmodels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml", reason="needs PyYAML: pip install setsail[mlflow]")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path / "model.pkl", folder / "model.pkl"):
        place.write_bytes(pickle.dumps(Boom(tmp_path / CANARY)))
    (folder / "link.pkl").symlink_to(tmp_path / "model.pkl")
    (folder / "MLmodel").write_bytes(MLMODELS[name].encode("utf-8", "surrogatepass"))
    began = time.monotonic()
    with pytest.raises(SetsailError) as told:
        recognise(folder)
    assert told.value.code == "source.damaged"
    assert time.monotonic() - began < 10
    assert not (tmp_path / CANARY).exists()


def _archive(path: Path, name: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        file(archive, "code/inference.py")
        TARS[name](archive)
    return path


@pytest.mark.parametrize("name", TARS)
def test_hostile_archives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setsail.convert.scripts._MEMBERS", 100)  # 10,000 by default
    path = _archive(tmp_path / "model.tar.gz", name)
    assert recognise(path).format == "sagemaker-script"
    with pytest.raises(SetsailError) as told:
        entry(path)
    assert told.value.code == "source.damaged"
    assert [p.name for p in (tmp_path / "cache" / "archives").iterdir() if not p.name.endswith(".lock")] == []
    assert not any(p.name == CANARY for p in (tmp_path / CANARY, Path("/tmp") / CANARY) if p.exists())


def test_an_archive_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setsail.convert.scripts._SPARE", 1 << 20)
    monkeypatch.setattr("setsail.convert.scripts._TIMES", 2)
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        file(archive, "code/inference.py")
        file(archive, "model", bytes(8 << 20))
    with pytest.raises(SetsailError, match="unpacks to more") as told:
        entry(path)
    assert told.value.code == "source.damaged"


def test_an_archive_that_was_copied_half(tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.tar.gz", "one name twice")
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[: len(data) // 2])[:-9])
    with pytest.raises(SetsailError):
        entry(path)


def test_finding_a_script_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "m" / "code").mkdir(parents=True)
    canary = tmp_path / CANARY
    (tmp_path / "m" / "code" / "inference.py").write_text(f"open({str(canary)!r}, 'w')\ndef model_fn(d): ...\n")
    assert recognise(tmp_path / "m").trust == "app"
    entry(tmp_path / "m")
    assert not canary.exists()
