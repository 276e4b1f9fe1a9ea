"""A catalogue of one-vs-rest, one-vs-one and many targets, held against their sources."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC, LinearSVC
from sklearn_agreement import CANCER, DIABETES, IRIS, WINE, agree, catalogue

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))
SHARES = (DIABETES[0], np.stack([DIABETES[1], DIABETES[0][:, 0], DIABETES[1] ** 0.5], axis=1))

CLASSIFIERS = [
    (OneVsRestClassifier(LogisticRegression()), IRIS),
    (OneVsRestClassifier(LogisticRegression()), CANCER),
    (OneVsRestClassifier(GaussianNB()), WORDS),
    (OneVsRestClassifier(GaussianNB()), CANCER),
    (OneVsRestClassifier(LinearSVC(random_state=0)), IRIS),
    (OneVsRestClassifier(LinearRegression()), IRIS),
    (OneVsOneClassifier(LogisticRegression()), IRIS),
    (OneVsOneClassifier(GaussianNB()), WORDS),
    (OneVsOneClassifier(SVC()), CANCER),
    (OneVsOneClassifier(GaussianNB()), CANCER),
]
REGRESSORS = [
    (MultiOutputRegressor(Ridge()), PAIR),
    (RegressorChain(Ridge(), order=[2, 0, 1]), SHARES),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("index",))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("prediction",))


@pytest.mark.parametrize(
    ("model", "width"),
    [
        (OneVsRestClassifier(GaussianNB()).fit(IRIS[0], np.eye(3, dtype=int)[IRIS[1]]), 4),
        (OneVsOneClassifier(SVC(kernel="precomputed")).fit(IRIS[0] @ IRIS[0].T, IRIS[1]), 150),
    ],
    ids=["labels", "kernel"],
)
def test_refused(model, width):
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", width))
    assert caught.value.code == "convert.unsupported"
