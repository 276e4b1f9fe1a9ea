"""Estimators that answer for another one, or without looking."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn_agreement import CANCER, DIABETES, IRIS, agree, catalogue

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]])
HALF = (CANCER[0], np.where(np.arange(len(CANCER[1])) % 3, CANCER[1], -1))
PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))

MODELS = [
    (DummyClassifier(strategy="prior"), CANCER),
    (DummyClassifier(strategy="most_frequent"), CANCER),
    (DummyClassifier(strategy="constant", constant="versicolor"), WORDS),
    (DummyRegressor(), DIABETES),
    (DummyRegressor(strategy="median"), PAIR),
    (DummyRegressor(strategy="quantile", quantile=0.2), DIABETES),
    (FrozenEstimator(LogisticRegression(max_iter=500).fit(*WORDS)), WORDS),
    (FrozenEstimator(Ridge().fit(*PAIR)), PAIR),
    (SelfTrainingClassifier(LogisticRegression()), HALF),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(MODELS))
def test_models(estimator, data):
    agree(estimator.fit(*data), data[0])


@pytest.mark.parametrize(
    "model",
    [
        DummyClassifier(strategy="stratified").fit(*IRIS),
        DummyClassifier().fit(IRIS[0], np.stack([IRIS[1], IRIS[1]], axis=1)),
    ],
    ids=["drawn", "labels"],
)
def test_refused(model):
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", 4))
    assert caught.value.code == "convert.unsupported"
