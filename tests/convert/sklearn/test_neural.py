"""A catalogue of multi-layer perceptrons: each is fitted, emitted and held against its source."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn_agreement import CANCER, DIABETES, IRIS, agree, catalogue, run

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]])
SMALL = {"hidden_layer_sizes": (8, 5), "max_iter": 30, "random_state": 0}
PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")

CLASSIFIERS = [(MLPClassifier(activation=a, **SMALL), d) for a in ACTIVATIONS for d in (CANCER, WORDS)]
REGRESSORS = [(MLPRegressor(activation=a, **SMALL), d) for a in ACTIVATIONS for d in (DIABETES, PAIR)]


def fitted(estimator, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data)


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator, data):
    agree(fitted(estimator, data), data[0], expect=("index", "probabilities"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(fitted(estimator, data), data[0], expect=("prediction",))


def test_extreme_rows_give_probabilities():
    model = fitted(MLPClassifier(**SMALL), IRIS)
    (results,) = run(model, IRIS[0][:5] * 1e6)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(IRIS[0][:5] * 1e6), atol=1e-12)


def test_several_labels_a_row_are_refused():
    model = fitted(MLPClassifier(**SMALL), (IRIS[0], np.stack([IRIS[1] == 0, IRIS[1] == 1], axis=1).astype(int)))
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", 4))
    assert caught.value.code == "convert.unsupported"
    assert "several labels" in str(caught.value)
