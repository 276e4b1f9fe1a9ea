"""A catalogue of votes, stacks and bags: each is fitted, emitted and held against its source."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import ensemble as en
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn_agreement import CANCER, DIABETES, WINE, agree, catalogue

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
GAPS = (WINE[0], np.array([-7, 40, 1000])[WINE[1]])
PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))

SCALED = make_pipeline(StandardScaler(), LogisticRegression())
THREE = [("lr", SCALED), ("nb", GaussianNB()), ("no", "drop"), ("knn", KNeighborsClassifier(3))]
LINES = [("lr", LinearRegression()), ("knn", KNeighborsRegressor(3))]

CLASSIFIERS = [
    (en.VotingClassifier(THREE), WORDS),
    (en.VotingClassifier(THREE, weights=[2, 1, 5, 2]), GAPS),
    (en.VotingClassifier(THREE, voting="soft"), WORDS),
    (en.VotingClassifier(THREE, voting="soft", weights=[1, 2, 9, 0.5], flatten_transform=True), CANCER),
    (en.VotingClassifier(THREE, voting="soft", flatten_transform=False), GAPS),
    (en.StackingClassifier(THREE, cv=2), WORDS),
    (en.StackingClassifier(THREE, cv=2), CANCER),
    (en.StackingClassifier(THREE, SCALED, cv=2, passthrough=True), GAPS),
    (en.StackingClassifier([("svm", SVC()), ("p", RidgeClassifier())], SCALED, cv=2), WORDS),
    (en.StackingClassifier(THREE, RidgeClassifier(), cv=2, stack_method="predict"), WORDS),
    (en.BaggingClassifier(GaussianNB(), 5, max_features=0.6, random_state=0), WORDS),
    (en.BaggingClassifier(Perceptron(random_state=0), 5, random_state=0), CANCER),
    (en.BaggingClassifier(SCALED, 3, max_samples=0.3, random_state=0), GAPS),
]
REGRESSORS = [
    (en.VotingRegressor(LINES), DIABETES),
    (en.VotingRegressor(LINES, weights=[1, 3]), DIABETES),
    (en.StackingRegressor(LINES, cv=2), DIABETES),
    (en.StackingRegressor(LINES, Ridge(), cv=2, passthrough=True), DIABETES),
    (en.BaggingRegressor(Ridge(), 4, max_features=0.5, random_state=0), DIABETES),
    (en.BaggingRegressor(Ridge(), 4, random_state=0), PAIR),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("index",))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("prediction",))


def test_a_bag_that_missed_a_class():
    rows = np.vstack([WINE[0][:40], WINE[0][-1:]])
    labels = np.r_[WINE[1][:40], 2]
    model = en.BaggingClassifier(KNeighborsClassifier(1), 6, max_samples=0.4, random_state=0).fit(rows, labels)
    assert min(len(e.classes_) for e in model.estimators_) < 3
    agree(model, rows, expect=("index", "probabilities"))


def test_an_inner_estimator_with_labels_of_its_own_is_refused():
    inner = GaussianNB().fit(*WORDS)
    model = en.StackingClassifier([("nb", inner)], cv="prefit", stack_method="predict_proba").fit(*WORDS)
    agree(model, WORDS[0], expect=("index", "probabilities"))
    voting = en.VotingClassifier([("nb", GaussianNB())]).fit(*WORDS)
    voting.estimators_ = [inner]
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), voting, Value("x", "float64", 13))
    assert caught.value.code == "convert.unsupported"
    assert "GaussianNB" in str(caught.value)
