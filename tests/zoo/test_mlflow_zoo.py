"""What MLflow itself writes: every flavour saved by mlflow-skinny in an environment of its own, packed or served, asked
through MLflow's own client and its JSON forms. The truth is `mlflow.pyfunc.load_model(…).predict`.

MADE is the catalogue: directory -> trust it takes. `python_function` is served with that environment's Python.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import client_envs
import numpy as np
import pytest
import requests
from client_envs import ask_client, client_python

import setsail
from setsail.server.run import Server
from setsail.server.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("yaml") is None, reason="needs PyYAML: pip install setsail[mlflow]"),
]

HAVE_TRANSFORMERS = all(find_spec(package) for package in ("transformers", "torch", "onnxscript"))

PINS = (
    "mlflow-skinny==3.17.2", "numpy==2.4.6", "pandas==3.1.1", "scikit-learn==1.9.0", "xgboost-cpu==3.2.0",
    "lightgbm==4.7.0", "catboost==1.2.10", "skops==0.16.0", "onnx==1.23.2", "onnxruntime==1.31.1", "protobuf==6.33.6",
)  # fmt: skip

MADE = {
    "sklearn-skops": (), "sklearn-pickle": ("pickle",), "sklearn-cloudpickle": ("pickle",), "sklearn-proba": (),
    "sklearn-array": (), "sklearn-mixed": ("pickle",), "xgboost-booster": (),
    "xgboost-classifier": (), "xgboost-regressor": (), "lightgbm-booster": (), "lightgbm-classifier": ("pickle",),
    "catboost-classifier": (), "onnx": (),
    "transformers-film": (), "transformers-topics": (),
    "xgboost-params": ("pyfunc",),  # which cannot be packed, and is run by MLflow instead
    "pyfunc": ("pyfunc",), "pyfunc-unsigned": ("pyfunc",), "pyfunc-hinted": ("pyfunc",),
}  # fmt: skip

# Trains, saves with signature and example, and writes what MLflow's own scoring answers beside it.
SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
import catboost, lightgbm as lgb, onnx, xgboost as xgb
from onnx import TensorProto, helper

root = sys.argv[1]

def put(name, module, model, rows, **more):
    path = os.path.join(root, name)
    module.save_model(model, path, input_example=rows[:5], pip_requirements=["mlflow-skinny"], **more)
    loaded = mlflow.pyfunc.load_model(path)
    told = loaded.predict(rows)
    plain = told.to_dict("records") if isinstance(told, pd.DataFrame) else told
    if isinstance(rows, pd.DataFrame):
        body = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    elif isinstance(rows, dict):
        body = {"inputs": {k: v.tolist() for k, v in rows.items()}}
    else:
        body = {"inputs": rows.tolist() if hasattr(rows, "tolist") else rows}
    json.dump({"body": body, "predictions": plain}, open(path + ".json", "w"), default=lambda v: v.tolist())

def signed(rows, told):
    return {"signature": infer_signature(rows, told)}

iris = load_iris(as_frame=True)
X, y = iris.data, iris.target
clf = LogisticRegression(max_iter=1000).fit(X, y)
for form in ("skops", "pickle", "cloudpickle"):
    put(f"sklearn-{form}", mlflow.sklearn, clf, X, serialization_format=form, **signed(X, clf.predict(X)))
put("sklearn-proba", mlflow.sklearn, clf, X, pyfunc_predict_fn="predict_proba", **signed(X, clf.predict_proba(X)))
A = X.to_numpy()
reg = LinearRegression().fit(A, y)
put("sklearn-array", mlflow.sklearn, reg, A, **signed(A, reg.predict(A)))
people = pd.DataFrame({"age": A[:, 0], "city": np.array(["Rome", "Oslo", "Graz"], dtype=object)[y], "rooms": y})
mixed = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), LinearRegression())
mixed.fit(people, A[:, 1])
put("sklearn-mixed", mlflow.sklearn, mixed, people, serialization_format="pickle",
    **signed(people, mixed.predict(people)))
cancer = load_breast_cancer(as_frame=True)
B, z = cancer.data.iloc[:120, :6], cancer.target[:120]
booster = xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgb.DMatrix(B, z), 5)
put("xgboost-booster", mlflow.xgboost, booster, B, **signed(B, booster.predict(xgb.DMatrix(B))))
margins = {"output_margin": False}
put("xgboost-params", mlflow.xgboost, booster, B,
    signature=infer_signature(B, booster.predict(xgb.DMatrix(B)), params=margins))
for name, made in (("classifier", xgb.XGBClassifier), ("regressor", xgb.XGBRegressor)):
    model = made(n_estimators=4, max_depth=3, n_jobs=1).fit(B, z)
    put(f"xgboost-{name}", mlflow.xgboost, model, B, **signed(B, model.predict(B)))
light = lgb.train({"objective": "binary", "verbose": -1, "num_leaves": 7, "num_threads": 1}, lgb.Dataset(B, z), 5)
put("lightgbm-booster", mlflow.lightgbm, light, B, **signed(B, light.predict(B)))
light = lgb.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1).fit(B, z)
put("lightgbm-classifier", mlflow.lightgbm, light, B, **signed(B, light.predict(B)))
cat = catboost.CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False, thread_count=1).fit(B, z)
put("catboost-classifier", mlflow.catboost, cat, B, **signed(B, cat.predict(B)))
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    [helper.make_tensor("w", TensorProto.FLOAT, [4, 2], np.arange(8.0))],
)
F = A.astype(np.float32)
put("onnx", mlflow.onnx, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), F,
    **signed(F, F[:, :2]))

class Total(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        total = model_input["age"] * (params or {}).get("k", 2.0) + model_input["rooms"]
        return pd.DataFrame({"total": total, "city": model_input["city"].str.upper()})

class Custom:
    @staticmethod
    def save_model(model, path, **more):
        mlflow.pyfunc.save_model(path, python_model=model, **more)

answer = pd.DataFrame({"total": [1.0], "city": ["A"]})
put("pyfunc", Custom, Total(), people, signature=infer_signature(people, answer, params={"k": 2.0}))
class Unsigned(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {"keys": sorted(model_input), "k": (params or {}).get("k")}

class Hinted(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return [text.upper() for text in model_input]

put("pyfunc-hinted", Custom, Hinted(), ["a fine film", "a bad film"] * 3)
mlflow.pyfunc.save_model(os.path.join(root, "pyfunc-unsigned"), python_model=Unsigned(),
                         pip_requirements=["mlflow-skinny"])
"""

# The same for pipelines: in this environment, which has torch and transformers, with MLflow's packages before ours.
PIPELINES = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import hugging, mlflow, transformers
from pathlib import Path

root = sys.argv[1]
texts = ["the cat sat on the mat", "a bad film", "who wrote this, why?", "great acting!"]
for name, problem in (("film", None), ("topics", "multi_label_classification")):
    model = hugging.bert(Path(root, "raw-" + name), problem_type=problem)
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=hugging.word_pieces())
    path = os.path.join(root, "transformers-" + name)
    mlflow.transformers.save_model(pipe, path, input_example=texts[:2], pip_requirements=["mlflow-skinny"])
    told = mlflow.pyfunc.load_model(path).predict(texts).to_dict("records")
    json.dump({"body": {"inputs": texts}, "predictions": told}, open(path + ".json", "w"))
"""

CLIENT = """
import json, sys
import numpy as np, pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
told = json.loads(sys.argv[3])
split = told["body"].get("dataframe_split")
rows = pd.DataFrame(split["data"], columns=split["columns"]) if split else np.array(told["body"]["inputs"])
client = ScoringServerClient(sys.argv[1], int(sys.argv[2]))
client.wait_server_ready(timeout=10)
print(json.dumps(client.invoke(rows).get_predictions().to_dict("records"), default=lambda v: v.tolist()))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return client_python("mlflow-models", *PINS)


@pytest.fixture(scope="module")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mlflow")
    told = ask_client(python, SCRIPT, str(made), seconds=500, env={"MLFLOW_DISABLE_TELEMETRY": "true"})
    assert told.rc == 0, told.err[-4000:]
    if HAVE_TRANSFORMERS:
        (packages,) = python.parents[1].glob("lib/python*/site-packages")
        doubles = Path(client_envs.__file__).parent
        variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{packages}:{doubles}"}
        told = ask_client(Path(sys.executable), PIPELINES, str(made), seconds=500, env=variables)
        assert told.rc == 0, told.err[-4000:]
    return made


@pytest.fixture(scope="module")
def server(folder: Path, python: Path) -> Iterator[Server]:
    with Server(Settings(port=0, admin_port=-1, trust="pyfunc", app_python=str(python))) as server:
        server.start()
        yield server


def served(name: str, folder: Path, server: Server) -> str:
    """Packed where it can be, and served. Returns where it is asked."""
    if "pyfunc" in MADE[name]:
        server.open(folder / name)
    else:
        packed = folder / f"{name}.setsail"
        with setsail.pack(folder / name, name=name, output=packed, trust=MADE[name], force=True) as made:
            assert any(f"flavour {name.partition('-')[0]}" in note for note in made.notes)
        server.open(packed)
    return f"{server.url}/invocations?model_name={name}"


def agree(ours: Any, theirs: Any) -> None:
    """By the parity rule for numbers; records by their keys, texts exactly."""
    if theirs and isinstance(theirs[0], dict):
        assert [sorted(row) for row in ours] == [sorted(row) for row in theirs]
        for key in theirs[0]:
            agree([row[key] for row in ours], [row[key] for row in theirs])
    elif theirs and isinstance(theirs[0], str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(np.array(ours, float), np.array(theirs, float), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MADE if name != "pyfunc-unsigned"])
def test_every_directory_answers_as_mlflow_does(name: str, folder: Path, server: Server) -> None:
    if name.startswith("transformers") and not HAVE_TRANSFORMERS:
        pytest.skip("needs transformers and PyTorch: pip install setsail[transformers]")
    told = json.loads((folder / f"{name}.json").read_text())
    url = served(name, folder, server)
    said = requests.post(url, json=told["body"], timeout=60)
    assert said.status_code == 200, said.text
    theirs = told["predictions"]
    agree(said.json()["predictions"], theirs["y"] if isinstance(theirs, dict) else theirs)


def test_the_directory_of_a_pickle_is_run_by_mlflow_where_only_that_is_trusted(folder: Path, server: Server) -> None:
    server.open(folder / "sklearn-cloudpickle", name="as-code")
    told = json.loads((folder / "sklearn-cloudpickle.json").read_text())
    said = requests.post(f"{server.url}/invocations?model_name=as-code", json=told["body"], timeout=60)
    agree(said.json()["predictions"], told["predictions"])
    meta = requests.get(f"{server.url}/v2/models/as-code", timeout=30).json()
    assert meta["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}]


def test_a_model_without_a_signature_gets_requests_as_mlflow_reads_them(folder: Path, server: Server) -> None:
    url = served("pyfunc-unsigned", folder, server)
    body = {"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]]}, "params": {"k": 3}}  # which need a schema
    said = requests.post(url, json=body, timeout=60)
    assert said.json() == {"predictions": {"keys": ["a", "b"], "k": None}}, said.text
    said = requests.post(url, json={"rows": []}, timeout=60)
    assert said.status_code == 400
    assert said.json()["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")
    assert "Traceback" not in said.text


@pytest.mark.parametrize("name", ["xgboost-booster", "sklearn-array", "pyfunc"])
def test_mlflows_own_client_gets_its_answers(name: str, folder: Path, python: Path) -> None:
    told = json.loads((folder / f"{name}.json").read_text())
    with Server(Settings(port=0, admin_port=-1, trust="pyfunc", app_python=str(python))) as server:
        served(name, folder, server)
        server.start()
        host, port = re.fullmatch(r"(http://[\d.]+):(\d+)", server.url).groups()  # type: ignore[union-attr]
        ours = ask_client(python, CLIENT, host.removeprefix("http://"), port, json.dumps(told)).json()
    theirs = told["predictions"]
    agree([next(iter(row.values())) for row in ours] if not isinstance(theirs[0], dict) else ours, theirs)
