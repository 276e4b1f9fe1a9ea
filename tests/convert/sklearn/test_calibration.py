"""A catalogue of calibrated classifiers, isotonic regression and thresholds, held against their sources."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC, LinearSVC
from sklearn_agreement import CANCER, DIABETES, WINE, agree, catalogue, run

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
YES = (CANCER[0], np.array(["no", "yes"])[CANCER[1]])
BASES = (LinearSVC(random_state=0), GaussianNB())

CALIBRATED = [
    (CalibratedClassifierCV(base, method=method, cv=2), data)
    for method in ("sigmoid", "isotonic", "temperature")
    for base in BASES
    for data in (CANCER, WORDS)
] + [
    (CalibratedClassifierCV(SVC(), cv=2, ensemble=False), WORDS),
    (CalibratedClassifierCV(FrozenEstimator(GaussianNB().fit(*WORDS)), method="isotonic"), WORDS),
]
THRESHOLDS = [
    (FixedThresholdClassifier(LogisticRegression(), threshold=0.8), CANCER),
    (FixedThresholdClassifier(LogisticRegression(), response_method="decision_function"), CANCER),
    (FixedThresholdClassifier(LogisticRegression(), threshold=0.1, pos_label="no"), YES),
    (FixedThresholdClassifier(LinearSVC(random_state=0), threshold=0.3, pos_label="no"), YES),
    (TunedThresholdClassifierCV(LogisticRegression(), cv=2), CANCER),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CALIBRATED))
def test_calibrated(estimator, data):
    agree(estimator.fit(*data), data[0], rtol=1e-8, atol=1e-8, expect=("index", "probabilities"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(THRESHOLDS))
def test_thresholds(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("index",))


@pytest.mark.parametrize("beyond", ["clip", "nan"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_isotonic(beyond, dtype):
    rows = DIABETES[0][:, 2:3].astype(dtype)
    model = IsotonicRegression(out_of_bounds=beyond).fit(rows, DIABETES[1].astype(dtype))
    agree(model, rows, rtol=1e-9 if dtype == "float64" else 1e-4)


def test_isotonic_with_one_threshold():
    model = IsotonicRegression(out_of_bounds="clip").fit([[2.0], [2.0]], [1.0, 3.0])
    (results,) = run(model, np.array([[1.0], [2.0], [9.0]]))
    np.testing.assert_array_equal(results["prediction"], [2.0, 2.0, 2.0])


def test_isotonic_that_fails_out_of_bounds_is_refused():
    model = IsotonicRegression(out_of_bounds="raise").fit(DIABETES[0][:, 2], DIABETES[1])
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", 1))
    assert caught.value.code == "convert.unsupported"
