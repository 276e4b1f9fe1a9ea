"""What a PATH stands for."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from xgboost import XGBRegressor

from setsail.errors import SetsailError
from setsail.server.opening import is_repository, resolve

X = np.arange(40.0).reshape(20, 2) % 7
Y = X @ [2.0, -1.0]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def booster(tmp_path: Path) -> Path:
    path = tmp_path / "trees.ubj"
    XGBRegressor(n_estimators=3).fit(X, Y).save_model(path)
    return path


def test_an_artifact_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a.setsail").write_bytes(b"read later")
    assert resolve(tmp_path / "a.setsail").path == tmp_path / "a.setsail"


def test_an_artifact_by_another_name_is_recognised(tmp_path: Path, booster: Path) -> None:
    renamed = tmp_path / "trees.zip"
    renamed.write_bytes(resolve(booster).path.read_bytes())
    assert resolve(renamed).path == renamed


def test_a_source_is_packed_once(booster: Path) -> None:
    first = resolve(booster)
    assert "packed into the cache" in first.note
    second = resolve(booster)
    assert "found in the cache" in second.note
    assert second.path == first.path


def test_another_model_under_the_same_name_is_packed_anew(booster: Path) -> None:
    first = resolve(booster)
    XGBRegressor(n_estimators=4).fit(X, Y).save_model(booster)
    assert resolve(booster).path != first.path


def test_a_pickle_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    joblib.dump(LinearRegression().fit(X, Y), tmp_path / "m.joblib")
    with pytest.raises(SetsailError) as caught:
        resolve(tmp_path / "m.joblib")
    assert caught.value.code == "source.trust"
    assert f"setsail pack {tmp_path / 'm.joblib'} --trust pickle" in caught.value.message


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        resolve(tmp_path / "gone.onnx")
    assert caught.value.code == "source.missing"


def test_which_directories_are_repositories(tmp_path: Path, booster: Path) -> None:
    versions, single, side, empty = (tmp_path / n for n in ("versions", "single", "side", "empty"))
    (versions / "credit/1").mkdir(parents=True)
    for folder in (single, side, empty):
        folder.mkdir()
    (single / "model.ubj").write_bytes(booster.read_bytes())
    (side / "a.setsail").write_bytes(b"")
    (side / "notes.json").write_text(json.dumps({"made": "by hand"}))
    assert [is_repository(p) for p in (versions, single, side, empty, booster)] == [True, False, True, True, False]
