"""Leaves without an emitter of ours go through skl2onnx in double precision, quietly, or are refused by name."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from setsail.convert.conversion import Intent
from setsail.convert.graph import Graph
from setsail.convert.sklearn import fallback
from setsail.convert.sklearn.emit import Value
from setsail.convert.sklearn.model import convert
from setsail.errors import SetsailError

X, Y = load_iris(return_X_y=True)


def test_a_regressor_keeps_its_rank(agrees: Any) -> None:
    model = make_pipeline(StandardScaler(), GaussianProcessRegressor(RBF(), alpha=0.1)).fit(X[::3], X[::3, 0])
    conversion = agrees(model, X, rtol=1e-6)
    assert str(conversion.signature.outputs[0]) == "prediction:float64[N]"


def test_a_transformer_behind_ours(agrees: Any) -> None:
    agrees(make_pipeline(StandardScaler(), GaussianRandomProjection(2, random_state=0)).fit(X), X)


def test_a_leaf_that_only_converts_in_single_precision_is_refused() -> None:
    with pytest.raises(SetsailError, match="KNNImputer") as caught:
        convert(KNNImputer(n_neighbors=2).fit(X), Intent(example=X))
    assert caught.value.code == "convert.unsupported"


@pytest.mark.parametrize("labels", [Y, np.array(["a", "b", "c"])[Y], Y * 5 - 3])
def test_a_classifier_gives_an_index_into_its_classes(labels: Any) -> None:
    graph = Graph()
    results = fallback.emit(graph, LogisticRegression(max_iter=300).fit(X, labels), Value("x", "float64", 4))
    assert (results["index"].dtype, results["index"].width) == ("int64", None)
    assert results["probabilities"].width == 3


def test_the_converter_is_silent(caplog: Any, capsys: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        fallback.emit(Graph(), LinearRegression().fit(X, Y), Value("x", "float64", 4))
    assert not [r for r in caplog.records if r.name.startswith("skl2onnx")]
    assert capsys.readouterr().out == ""


class Doubler(TransformerMixin, BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Doubler:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * 2


class Guess(ClassifierMixin, BaseEstimator):
    def fit(self, X: Any, y: Any) -> Guess:
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


class Mean(RegressorMixin, BaseEstimator):
    def fit(self, X: Any, y: Any) -> Mean:
        self.mean_, self.n_features_in_ = np.mean(y), X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


@pytest.mark.parametrize("step", [Doubler(), Guess(), Mean()], ids=lambda s: type(s).__name__)
def test_an_estimator_nobody_can_convert_is_named(step: Any) -> None:
    model = make_pipeline(StandardScaler(), step).fit(X, Y)
    with pytest.raises(SetsailError, match=type(step).__name__) as caught:
        convert(model, Intent(example=X))
    assert caught.value.code == "convert.unsupported"
