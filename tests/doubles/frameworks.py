"""One small model of every framework, to be asked in every form of every wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bundled import IRIS
from embedding import embedding

from setsail.signature import Signature
from setsail.tensors import Array

__all__ = ["FRAMEWORKS", "ROWS", "Framework", "rows_of"]

ROWS = IRIS.rows[:7]
TABLE = pd.DataFrame(IRIS.X, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"])


class Framework(NamedTuple):
    """How a model of it is made: `make` gives what is packed, and an example if it must have one.

    Attributes:
        table: whether its input is a table, which has names for its columns; else it is a bare tensor.
        several: whether it has several inputs.
    """

    title: str
    make: Callable[[Path], tuple[Any, Any]]
    table: bool = True
    several: bool = False


def _sklearn(folder: Path) -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array(["setosa", "versicolor", "virginica"])[IRIS.y]
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(TABLE, names), TABLE


def _xgboost(folder: Path) -> tuple[Any, Any]:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1).fit(TABLE, IRIS.y), TABLE


def _lightgbm(folder: Path) -> tuple[Any, Any]:
    import lightgbm

    return lightgbm.LGBMRegressor(n_estimators=8, num_leaves=7, n_jobs=1, verbose=-1).fit(TABLE, IRIS.y), TABLE


def _torch(folder: Path) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Softmax(-1))
    return layers.eval(), torch.from_numpy(IRIS.X[:8].astype(np.float32))


def _onnx(folder: Path) -> tuple[Any, Any]:
    return embedding(folder, 8)


def rows_of(signature: Signature) -> dict[str, Array]:
    """Rows to ask any of them."""
    if len(signature.inputs) == 1:
        return {signature.inputs[0].name: ROWS.astype(signature.inputs[0].dtype.numpy)}
    weight = np.linspace(-1.3, 1.7, 5, dtype=np.float32)[:, None]
    return {"token": np.arange(5, dtype=np.int64) * 9, "weight": weight}


FRAMEWORKS: Mapping[str, Framework] = {
    "sklearn": Framework("scikit-learn", _sklearn),
    "xgboost": Framework("XGBoost", _xgboost),
    "lightgbm": Framework("LightGBM", _lightgbm),
    "torch": Framework("PyTorch", _torch, table=False),
    "onnx": Framework("ONNX", _onnx, table=False, several=True),
}
