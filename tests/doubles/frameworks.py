"""One small model of every framework, to be asked in every form of every wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bundled import IRIS

__all__ = ["FRAMEWORKS", "ROWS", "Framework"]

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
    """Two inputs, one of them integers, and two outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(6).normal(size=(50, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["vector"]),
        helper.make_node("Mul", ["vector", "weight"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axes"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "embedding",
        [helper.make_tensor_value_info("token", TensorProto.INT64, ["n"]),
         helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("weighed", TensorProto.FLOAT, ["n", 6]),
         helper.make_tensor_value_info("total", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "embedding.onnx"))
    return folder / "embedding.onnx", (np.arange(8), np.linspace(-2, 2, 8, dtype=np.float32)[:, None])


FRAMEWORKS: Mapping[str, Framework] = {
    "sklearn": Framework("scikit-learn", _sklearn),
    "xgboost": Framework("XGBoost", _xgboost),
    "lightgbm": Framework("LightGBM", _lightgbm),
    "torch": Framework("PyTorch", _torch, table=False),
    "onnx": Framework("ONNX", _onnx, table=False, several=True),
}
