"""XGBoost and LightGBM wrappers as a step of scikit-learn.

The step before hands over float64, and the booster casts where its own library does: a scaler in front of XGBoost must
be computed in float64 and rounded once, or splits flip.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from setsail.convert.graph import Graph
from setsail.convert.links import answers
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import numbers, refuse

__all__ = ["lightgbm", "xgboost"]


def xgboost(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """XGBClassifier, XGBRegressor, XGBRanker and XGBRF…"""
    return _booster(graph, estimator, x, "setsail.convert.xgboost")


def lightgbm(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """LGBMClassifier, LGBMRegressor and LGBMRanker."""
    return _booster(graph, estimator, x, "setsail.convert.lightgbm")


def _booster(graph: Graph, estimator: Any, x: Value | Frame, module: str) -> Results:
    known = import_module(module).facts(estimator)
    if known.categories.named:
        raise refuse(estimator, "has categories of a data frame, which no step hands it by name",
                     "pack the booster alone, or encode the categories in the pipeline")  # fmt: skip
    if known.ensemble is None:
        raise refuse(estimator, "has linear parts that ONNX trees cannot hold", "use a tree booster of constants")
    found = answers(graph, known.ensemble, known.plan, numbers(graph, x, estimator).name, "float64")
    if "value" in found:
        width = known.ensemble.targets if known.ensemble.targets > 1 else None
        return {"prediction": Value(graph.cast(found["value"], "float64"), "float64", width)}
    shares = Value(graph.cast(found["probabilities"], "float64"), "float64", len(known.plan.classes))
    return {"index": Value(found["index"], "int64", None), "probabilities": shares}
