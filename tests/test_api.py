"""The public Python names (`contract.md` §3), and what importing them costs."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from starlette.applications import Starlette
from starlette.routing import Mount

import setsail
from setsail import packing
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError

X, y = load_iris(return_X_y=True)
MODEL = LogisticRegression(max_iter=500).fit(X, y)


def test_the_public_names_are_there_and_no_others() -> None:
    for name in setsail.__all__:
        assert getattr(setsail, name) is not None
    assert set(dir(setsail)) == set(setsail.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pakc'"):
        _ = setsail.pakc


def test_importing_setsail_imports_no_framework() -> None:
    code = "import sys, setsail; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = eval(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    heavy = {"numpy", "onnxruntime", "onnx", "sklearn", "torch", "xgboost", "lightgbm", "uvicorn", "starlette", "rich"}
    assert not heavy & set(loaded)


def test_pack_load_predict(tmp_path: Path) -> None:
    artifact = setsail.pack(MODEL, X, output=tmp_path / "iris.setsail")
    assert artifact.parity.passed
    with setsail.load(artifact.path) as model:
        assert (model.predict(X) == MODEL.predict(X)).all()
        assert np.allclose(model.predict({"input": X})["probabilities"], MODEL.predict_proba(X))


def test_pack_says_all_that_the_command_line_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Intent] = []
    monkeypatch.setattr(packing, "pack", lambda model, intent, options: asked.append(intent))
    setsail.pack("folder", framework="torch", factory="m:f", weights=Path("w.pt"), signature="score", labels=["a", "b"])
    setsail.pack("folder")
    assert asked[0] == Intent(framework="torch", factory="m:f", weights="w.pt", signature="score", labels=("a", "b"))
    assert asked[1] == Intent()


def test_pack_names_the_file_after_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert setsail.pack(MODEL, X, version=4).path.name == "logisticregression-4.setsail"
    with pytest.raises(SetsailError) as caught:
        setsail.pack(MODEL, X, version=4)
    assert caught.value.code == "artifact.exists"


def test_a_notebook_serves_a_live_model() -> None:
    with setsail.serve(MODEL, example=X, port=0, admin_port=-1, block=False) as server:
        assert (server.predict(X[:5]) == MODEL.predict(X[:5])).all()
        reply = httpx.post(f"{server.url}/v1/models/logisticregression:predict", json={"instances": X[:5].tolist()})
        assert reply.json()["predictions"] == MODEL.predict(X[:5]).tolist()


def test_a_notebook_stands_in_for_another_server() -> None:
    with setsail.serve(MODEL, example=X, port=0, admin_port=-1, as_="tfserving", block=False) as server:
        told = {door["role"]: door["url"] for door in server.describe()["doors"]}
        assert server.url == told["data"]
        (name,) = {model["name"] for model in server.describe()["models"]}
        body = {"instances": X[:2].tolist()}
        answer = httpx.post(f"{server.url}/v1/models/{name}:predict", json=body)
        assert answer.json() == {"predictions": MODEL.predict(X[:2]).tolist()}
        assert httpx.post(f"{server.url}/predict/{name}", json=X[:2].tolist()).status_code == 404


def test_a_notebook_may_have_other_processes_answer() -> None:
    with setsail.serve(MODEL, example=X, port=0, admin_port=-1, workers=2, block=False) as server:
        assert "2 workers" in repr(server)
        assert (server.predict(X[:5]) == MODEL.predict(X[:5])).all()
        reply = httpx.post(f"{server.url}/v1/models/logisticregression:predict", json={"instances": X[:5].tolist()})
        assert reply.json()["predictions"] == MODEL.predict(X[:5]).tolist()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        setsail.serve(MODEL, example=X, block=False, prot=80)
    assert caught.value.code == "setting.unknown"


def test_asgi_mounts_in_another_application(tmp_path: Path) -> None:
    models = setsail.asgi(setsail.pack(MODEL, X, name="iris", output=tmp_path / "iris.setsail").path)
    app = Starlette(routes=[Mount("/models", app=models)])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post("/models/v1/models/iris:predict", json={"instances": X[:3].tolist()})

    assert asyncio.run(ask()).json() == {"predictions": MODEL.predict(X[:3]).tolist()}
    models.close()


def test_asgi_refuses_a_directory_of_which_nothing_loads(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris/1.setsail").write_bytes(b"PK")
    with pytest.raises(SetsailError) as caught:
        setsail.asgi(tmp_path)
    assert caught.value.code.startswith("artifact.")


def test_asgi_without_models_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        setsail.asgi()
    assert caught.value.code == "source.missing"
