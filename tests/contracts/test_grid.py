"""Sixteen cells: a model of TensorFlow/Keras, scikit-learn, PyTorch and XGBoost, asked by a client of a Flask tutorial,
of TensorFlow Serving, of GraphPipe and of SageMaker. Each hears what the model itself says, by the parity rule.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from client_envs import ask_client, client_python
from frameworks import FRAMEWORKS, ROWS
from sagemaker_platform import Container, Endpoint
from speakers.clients import CLIENTS, Job, run
from tensorflow_env import tensorflow_python

import setsail
from setsail.artifact import read
from setsail.parity import compare
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.signature import Signature
from setsail.tensors import Array

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")]

# Where TensorFlow is: a small classifier of the iris, packed there, and what it says there of the rows.
KERAS = """
import sys
from pathlib import Path
import keras, numpy as np, setsail

folder = Path(sys.argv[1])
rows, train, labels = (np.load(folder / f"{name}.npy") for name in ("rows", "train", "labels"))
keras.utils.set_random_seed(0)
layers = [keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3, "softmax")]
model = keras.Sequential(layers)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(train, labels, epochs=3, verbose=0)
model.save(folder / "flowers.keras")
setsail.pack(folder / "flowers.keras", name="keras", output=folder / "keras.setsail").close()
np.save(folder / "truth.npy", model.predict(rows, verbose=0))
"""


@dataclass(frozen=True)
class Cell:
    """One artifact, what its model says of ROWS by its default output, and its signature."""

    artifact: Path
    signature: Signature
    truth: Array

    @property
    def name(self) -> str:
        return self.artifact.stem


def keras_cell(folder: Path) -> Cell:
    from bundled import IRIS

    for name, array in (("rows", ROWS), ("train", IRIS.X), ("labels", IRIS.y)):
        np.save(folder / f"{name}.npy", np.asarray(array, np.int64 if name == "labels" else np.float32))
    env = {"SETSAIL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    told = ask_client(tensorflow_python(), KERAS, str(folder), seconds=600, env=env)
    assert told.rc == 0, told.err[-3000:]
    return _read(folder / "keras.setsail", np.load(folder / "truth.npy"))


def live_cell(name: str, says: Callable[[Any], Any]) -> Callable[[Path], Cell]:
    def make(folder: Path) -> Cell:
        model, example = FRAMEWORKS[name].make(folder)
        setsail.pack(model, example, name=name, output=folder / f"{name}.setsail").close()
        return _read(folder / f"{name}.setsail", np.asarray(says(model)))

    return make


def _read(path: Path, truth: Array) -> Cell:
    with read(path) as artifact:
        return Cell(path, artifact.signature, truth)


def _torch(model: Any) -> Array:
    import torch

    with torch.no_grad():
        found: Array = model(torch.from_numpy(ROWS.astype(np.float32))).numpy()
    return found


def _table(model: Any) -> Any:
    import pandas

    return model.predict(pandas.DataFrame(ROWS, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"]))


MODELS: Mapping[str, Callable[[Path], Cell]] = {
    "TF/Keras": keras_cell,
    "scikit-learn": live_cell("sklearn", _table),
    "PyTorch": live_cell("torch", _torch),
    "XGBoost": live_cell("xgboost", _table),
}


# -- who asks: the rows, to the default output -------------------------------------------------------------------------


def flask(cell: Cell, folder: Path) -> Array:
    """`requests.post(url, json={"input": rows}).json()["prediction"]`, which is what tutorials have."""
    with setsail.serve(cell.artifact, port=0, admin_port=-1, block=False, as_="flask") as server:
        told = requests.post(f"{server.url}/predict", json={"input": ROWS.tolist()}, timeout=20).json()
    return np.array(told["prediction"])


def real_client(name: str) -> Callable[[Cell, Path], Array]:
    def ask(cell: Cell, folder: Path) -> Array:
        (given,) = cell.signature.inputs
        with Server(Settings(port=0, admin_port=-1)).start() as server:
            server.open(cell.artifact)
            job = Job(server.url, cell.name, {given.name: ROWS.astype(given.dtype.numpy)})
            (told,) = run(CLIENTS[name], [job], folder)
        assert not isinstance(told, str), told
        return told[cell.signature.defaults[0]]

    return ask


SAGEMAKER = """
import json, sys
import boto3
runtime = boto3.client("sagemaker-runtime", endpoint_url=sys.argv[1], region_name="us-east-1")
told = runtime.invoke_endpoint(EndpointName="e", ContentType="application/json", Body=sys.argv[2])
print(told["Body"].read().decode())
"""
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}


def sagemaker(cell: Cell, folder: Path) -> Array:
    """`invoke_endpoint` of boto3, against a stand-in of the platform in front of the container."""
    (folder / "model").mkdir()
    shutil.copy(cell.artifact, folder / "model")
    with Container(folder, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container, Endpoint(container) as endpoint:
        body = json.dumps(ROWS.tolist())
        told = ask_client(client_python("boto3", "boto3==1.44.5"), SAGEMAKER, endpoint.url, body, env=KEYS)
    return np.array(told.json())


ASKERS: Mapping[str, Callable[[Cell, Path], Array]] = {
    "Flask-shaped": flask,
    "TF Serving": real_client("TF Serving gRPC, content"),
    "GraphPipe": real_client("GraphPipe"),
    "SageMaker": sagemaker,
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cell]]:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("grid")
    made: dict[str, Cell] = {}

    def cell(name: str) -> Cell:
        if name not in made:
            made[name] = MODELS[name](folder)
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        yield cell


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("model", MODELS)
def test_a_cell(model: str, asker: str, cells: Callable[[str], Cell], tmp_path: Path) -> None:
    cell = cells(model)
    name = cell.signature.defaults[0]
    spec = cell.signature.output(name)
    told = ASKERS[asker](cell, tmp_path).astype(spec.dtype.numpy)
    signature = Signature(cell.signature.inputs, (spec,), (name,))
    check = compare(signature, {name: cell.truth.astype(spec.dtype.numpy)}, {name: told}, what="example")
    assert check.passed, f"{told} for {cell.truth}"
