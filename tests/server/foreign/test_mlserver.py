"""MLServer's folders as they are: settings of models and of the server, and a real tree served to Triton's client."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scaled import artifact
from shell import _booster, _joblib, process, wait
from sklearn.datasets import load_iris

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.server.foreign import configuration, mlserver
from setsail.server.run import Server
from setsail.server.settings import Settings

ROWS = load_iris().data[::30]
SKLEARN, XGBOOST = "mlserver_sklearn.SKLearnModel", "mlserver_xgboost.XGBoostModel"
Put = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Make a folder of a model with these settings; without a model file unless told who makes it."""

    def run(folder: str, make: Any = None, file: str = "model.json", **settings: Any) -> Path:
        place = tmp_path / "models" / folder
        place.mkdir(parents=True)
        (place / "model-settings.json").write_text(json.dumps(settings))
        if make is not None:
            make(place / file)
        return place

    return run


def nothing(source: Path, **given: Any) -> Path:
    raise AssertionError("scan packs nothing")


# -- settings of models ------------------------------------------------------------------------------------------------


def test_every_folder_with_settings_is_a_model(put: Put, tmp_path: Path) -> None:
    touch = Path.touch
    put("iris", touch, name="iris", implementation=XGBOOST, parameters={"uri": "./model.json", "version": "3"})
    put("deep/er", touch, "model.pkl", implementation=SKLEARN)
    put("lgb", touch, "model.bst", implementation="mlserver_lightgbm.LightGBMModel", parameters={"extra": {"a": 1}},
        parallel_workers=2, invented=1)  # fmt: skip
    found = mlserver.scan(tmp_path / "models", nothing)
    assert {(f.name, f.version, f.source.name) for f in found.values()} == {
        ("iris", 3, "model.json"), ("er", 1, "model.pkl"), ("lgb", 1, "model.bst"),
    }  # fmt: skip
    assert all(f.problem is None for f in found.values())
    told = [note.split(": ")[1] for note in mlserver.notes(tmp_path / "models")]
    assert told == ["parallel_workers", "invented", "parameters.extra"]


@pytest.mark.parametrize(
    ("settings", "field", "todo"),
    [
        ({"implementation": "models.MyModel"}, "implementation", "--trust app"),
        ({"implementation": "mlserver_huggingface.HuggingFaceRuntime"}, "implementation", "setsail pack DIR"),
        ({"implementation": "mlserver_alibi_explain.AlibiExplainRuntime"}, "implementation", "explains"),
        ({}, "implementation", ""),
        ({"implementation": XGBOOST, "parameters": {"uri": "s3://bucket/model.json"}}, "parameters.uri", "copy"),
        ({"implementation": XGBOOST, "parameters": {"uri": "none.json"}}, "parameters.uri", ""),
        ({"implementation": XGBOOST, "parameters": []}, None, ""),
        ({"implementation": XGBOOST, "parameters": [1]}, "parameters", ""),
        ({"implementation": 1}, "implementation", ""),
        ({"implementation": XGBOOST, "inputs": [{"name": "a", "datatype": "FP3", "shape": [-1]}]}, "inputs", ""),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(put: Put, settings: Any, field: str | None, todo: str) -> None:
    root = put("m", **settings).parent
    (found,) = mlserver.scan(root, nothing).values()
    if field is None:
        assert found.problem is None
        return
    assert found.problem is not None
    assert (found.name, found.version, found.problem.code) == ("m", 1, "repository.config")
    assert field in str(found.problem.field)
    assert todo in found.problem.todo


def test_settings_that_are_no_json_name_their_folder(put: Put) -> None:
    place = put("m", implementation=XGBOOST)
    for text in ("{", "[]", "[" * 100_000):
        (place / "model-settings.json").write_text(text)
        (found,) = mlserver.scan(place.parent, nothing).values()
        assert (found.name, found.problem is not None) == ("m", True)
    (place / "model-settings.json").write_text('{"name": "../up", "implementation": "x"}')
    (found,) = mlserver.scan(place.parent, nothing).values()
    assert found.problem is not None
    assert found.problem.code == "model.name"


def test_versions_that_are_no_numbers_get_some(put: Put, tmp_path: Path) -> None:
    for folder, version in (("a", "v0.10.0"), ("b", "v0.9.0"), ("c", "2"), ("d", "v1")):
        put(folder, Path.touch, name="m", implementation=XGBOOST, parameters={"version": version})
    found = {place.name: f.version for place, f in mlserver.scan(tmp_path / "models", nothing).items()}
    assert found == {"b": 1, "c": 2, "a": 3, "d": 4}
    assert "m: version 'v0.10.0' is 3 here" in mlserver.notes(tmp_path / "models")


# -- settings of the server --------------------------------------------------------------------------------------------


def test_the_servers_settings_in_our_terms(tmp_path: Path) -> None:
    body = {
        "debug": False, "http_port": 9080, "grpc_port": 9081, "metrics_port": 9082, "host": "0.0.0.0",
        "parallel_workers": 0, "grpc_max_message_length": 1 << 20, "cors_settings": {"allow_origins": ["http://a"]},
        "kafka_enabled": True, "metrics_endpoint": "/metrics", "load_models_at_startup": False, "new": 1,
    }  # fmt: skip
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(body))
    found = configuration.read(path)
    assert found is not None
    assert found.settings == {
        "as_": "mlserver", "host": "0.0.0.0", "workers": 1, "max_body": 1 << 20, "cors_origins": "http://a",
        "ports": "8080=9080,8081=9081,8082=9082",
    }  # fmt: skip
    assert [note.split(":")[0] for note in found.notes] == ["kafka_enabled", "load_models_at_startup", "new"]


@pytest.mark.parametrize("text", ["", "[]", '{"http_port": "8080"}', '{"parallel_workers": -1}'])
def test_settings_that_are_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(SetsailError) as caught:
        configuration.read(tmp_path / "settings.json")
    assert caught.value.code == "setting.value"


# -- a tree that is served ---------------------------------------------------------------------------------------------


def test_a_tree_is_served_to_tritons_client(put: Put, tmp_path: Path) -> None:
    http = pytest.importorskip("tritonclient.http")
    import joblib
    import xgboost

    metadata = [{"name": "predict", "datatype": "FP32", "shape": [-1, 4]}]
    put("boosted", _booster, implementation=XGBOOST, parameters={"version": "v0.1.0"})
    put("linear", _joblib, "model.joblib", implementation=SKLEARN, parameters={"uri": "./model.joblib"},
        inputs=metadata)  # fmt: skip
    put("mine", implementation="mine.Model")
    root = tmp_path / "models"
    (root / "settings.json").write_text(json.dumps({"http_port": 0, "grpc_port": 0, "metrics_port": 0}))
    started = process("serve", root, "--as", "mlserver", "--trust", "pickle", "--admin-port", "-1", "--workers", "1",
                      "--json")  # fmt: skip
    assert started.stdout is not None
    try:
        ready = json.loads(started.stdout.readline())
        client = http.InferenceServerClient(ready["url"].partition("://")[2])
        answers = {}
        for name, called in (("boosted", "anything"), ("linear", "predict")):
            rows = http.InferInput(called, list(ROWS.shape), "FP32")
            rows.set_data_from_numpy(ROWS.astype(np.float32), binary_data=False)
            answers[name] = client.infer(name, [rows]).as_numpy("probabilities")
        client.close()
    finally:
        started.send_signal(signal.SIGTERM)
        found = wait(started)
    booster = xgboost.Booster(model_file=root / "boosted" / "model.json")
    names = booster.feature_names
    wanted = booster.predict(xgboost.DMatrix(ROWS, feature_names=names))
    np.testing.assert_allclose(answers["boosted"], wanted, rtol=1e-3, atol=1e-4)
    linear = joblib.load(root / "linear" / "model.joblib").predict_proba(ROWS.astype(np.float32))
    np.testing.assert_allclose(answers["linear"], linear, rtol=1e-3, atol=1e-4)
    assert "mine version 1 could not be loaded" in found.err


def test_a_pickle_is_not_loaded_without_trust(put: Put, tmp_path: Path) -> None:
    artifact(put("ours", implementation=SKLEARN) / "ours.setsail", 2.0).close()
    put("pickled", _joblib, "model.pkl", implementation=SKLEARN)
    with Server(Settings(admin_port=-1)) as server:
        server.open(tmp_path / "models")
        (ours,), (pickled,) = (server.house.table.status(ModelRef(name)) for name in ("ours", "pickled"))
        assert (ours.state, pickled.state) == ("ready", "failed")
        assert "add --trust pickle" in pickled.reason
