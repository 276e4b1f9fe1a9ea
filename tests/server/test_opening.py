"""What a PATH stands for."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from xgboost import XGBRegressor

from setsail.errors import SetsailError
from setsail.server.apps import entry_of
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


def parametric(folder: Path) -> Path:
    """A directory of MLflow whose answers depend on parameters of the request, which no program has."""
    pytest.importorskip("yaml", reason="needs PyYAML: pip install setsail[mlflow]")
    from mlmodel import columns, directory

    flavours = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBRegressor"}}
    pyfunc = {"python_function": {"loader_module": "mlflow.xgboost"}}
    directory(folder, flavours | pyfunc, inputs=columns(a="double", b="double"), outputs=columns(y="double"),
              params=[{"name": "k", "type": "long", "default": 1, "shape": None}])  # fmt: skip
    XGBRegressor(n_estimators=3).fit(X, Y).save_model(folder / "model.ubj")
    return folder


def test_what_cannot_be_packed_is_run_as_the_code_it_has_where_that_is_trusted(tmp_path: Path) -> None:
    folder = parametric(tmp_path / "churn")
    found = resolve(folder, trust=("pyfunc",))
    assert found.path == folder / "MLmodel"
    assert "churn: served as the code in it, for it cannot be packed: what MLflow answers depends" in found.note
    entry = entry_of(found.path)
    assert entry is not None
    assert (entry.kind, entry.name, entry.place) == ("pyfunc", "churn", folder)


def test_without_that_trust_the_fault_tells_of_it(tmp_path: Path) -> None:
    with pytest.raises(SetsailError, match="or serve it as it is with --trust pyfunc") as caught:
        resolve(parametric(tmp_path / "churn"), trust=("pickle",))
    assert caught.value.code == "convert.unsupported"


def test_what_is_damaged_is_no_code_either(tmp_path: Path) -> None:
    folder = parametric(tmp_path / "churn")
    (folder / "model.ubj").unlink()
    with pytest.raises(SetsailError) as caught:
        resolve(folder, trust=("pyfunc",))
    assert caught.value.code == "source.damaged"
