"""The folder in which the documentation's examples run: small trained models and rows, and a server of three of them.

Files: model.ubj (XGBoost), model.txt (LightGBM), model.onnx, pipeline.joblib, credit-1.setsail and credit.setsail (a
scikit-learn classifier, packed), rows.csv and rows.npy (for all of these), people.csv; with PyTorch also model.pt
(TorchScript of an image model). Names in Python blocks: `setsail` is not among them, `model`, `X`, `X_test`, `y` are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import setsail
from setsail.artifact import Artifact

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:200, :4], y[:200]


def credit() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


def furnish(folder: Path) -> None:
    """Put the models and rows into the folder. What is not installed is left out."""
    model = credit()
    joblib.dump(model, folder / "pipeline.joblib")
    with setsail.pack(model, X, name="credit", output=folder / "credit-1.setsail") as packed:
        (folder / "model.onnx").write_bytes(packed.files("onnx")["model.onnx"])
    (folder / "credit.setsail").write_bytes((folder / "credit-1.setsail").read_bytes())
    header = ",".join(f"x{i}" for i in range(X.shape[1]))
    np.savetxt(folder / "rows.csv", X[:20], "%.6g", ",", header=header, comments="")
    np.save(folder / "rows.npy", X[:20])
    (folder / "people.csv").write_text("city,age,member,children\nRome,42,true,2\nOslo,7,false,0\n")
    _boosters(folder)
    _torch(folder)


def _boosters(folder: Path) -> None:
    import lightgbm
    import xgboost

    names = [f"x{i}" for i in range(X.shape[1])]
    data = xgboost.DMatrix(X, y, feature_names=names)
    xgboost.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, data, 3).save_model(
        folder / "model.ubj"
    )
    parameters = {"objective": "binary", "num_leaves": 4, "num_threads": 1, "verbose": -1}
    lightgbm.train(parameters, lightgbm.Dataset(X, y, feature_name=names), 3).save_model(folder / "model.txt")


def _torch(folder: Path) -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own: people still have such files
        torch.jit.script(net.eval()).save(str(folder / "model.pt"))


def people() -> tuple[Any, Any]:
    """Numbers and text in one frame; what it answers is age + 2 children."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "age": rng.integers(1, 90, 60).astype(float), "city": np.array(["Rome", "Oslo"], object)[np.arange(60) % 2],
        "children": rng.integers(0, 5, 60), "member": rng.integers(0, 2, 60).astype(bool),
    })  # fmt: skip
    prepare = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    return make_pipeline(prepare, LinearRegression()).fit(frame, frame["age"] + 2 * frame["children"]), frame


def reviews() -> tuple[Any, list[str]]:
    texts = ["a fine film", "a bad film", "some fine text", "bad text", "some review", "a bad review"] * 3
    labels = ["neg" if "bad" in t else "pos" for t in texts]
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels), texts


@contextmanager
def serving(folder: Path) -> Iterator[Any]:
    """A server of `iris`, `people` and `reviews`."""
    flowers = load_iris()
    iris = LogisticRegression(max_iter=1000).fit(flowers.data, flowers.target_names[flowers.target])
    made: dict[str, tuple[Any, Any]] = {"iris": (iris, flowers.data), "people": people(), "reviews": reviews()}
    artifacts: list[Artifact] = [
        setsail.pack(model, example, name=name, output=folder / f"{name}.setsail")
        for name, (model, example) in made.items()
    ]
    with setsail.serve(*artifacts, port=0, admin_port=-1, block=False) as server:
        yield server
    for artifact in artifacts:
        artifact.close()
