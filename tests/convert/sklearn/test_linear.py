"""A catalogue of linear models: each is fitted, emitted and held against its source."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import discriminant_analysis as da
from sklearn import linear_model as lm
from sklearn import svm
from sklearn.exceptions import ConvergenceWarning
from sklearn_agreement import CANCER, DIABETES, IRIS, WINE, agree, catalogue, run

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

COUNTS = (DIABETES[0], np.round(DIABETES[1] / 20))
PAIR = (DIABETES[0], np.stack([DIABETES[1], -(DIABETES[1] ** 0.5)], axis=1))
ONE = (DIABETES[0], DIABETES[1][:, None])

REGRESSORS = [
    (lm.LinearRegression(), DIABETES),
    (lm.LinearRegression(), ONE),
    (lm.LinearRegression(fit_intercept=False), PAIR),
    (lm.Ridge(), DIABETES),
    (lm.Ridge(), PAIR),
    (lm.RidgeCV(), DIABETES),
    (lm.Lasso(alpha=0.1), DIABETES),
    (lm.Lasso(alpha=0.1), ONE),
    (lm.MultiTaskLasso(alpha=0.1), PAIR),
    (lm.ElasticNet(alpha=0.1), DIABETES),
    (lm.ElasticNetCV(cv=2, alphas=5), DIABETES),
    (lm.Lars(), DIABETES),
    (lm.LassoLarsIC(), DIABETES),
    (lm.OrthogonalMatchingPursuit(), PAIR),
    (lm.BayesianRidge(), DIABETES),
    (lm.ARDRegression(), DIABETES),
    (lm.HuberRegressor(max_iter=1000), DIABETES),
    (lm.QuantileRegressor(quantile=0.8, alpha=0.01), DIABETES),
    (lm.TheilSenRegressor(max_subpopulation=20, random_state=0), (DIABETES[0][:, :2], DIABETES[1])),
    (lm.SGDRegressor(random_state=0), DIABETES),
    (lm.RANSACRegressor(random_state=0), DIABETES),
    (lm.RANSACRegressor(random_state=0), ONE),
    (svm.LinearSVR(random_state=0), DIABETES),
    (lm.PoissonRegressor(), COUNTS),
    (lm.GammaRegressor(), DIABETES),
    (lm.TweedieRegressor(power=1.5, link="log"), COUNTS),
    (lm.TweedieRegressor(power=0, link="identity"), DIABETES),
]

WORDS = (IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]])
GAPS = (WINE[0], np.array([-7, 40, 1000])[WINE[1]])

PROBABLE = [
    (lm.LogisticRegression(), CANCER),
    (lm.LogisticRegression(), WORDS),
    (lm.LogisticRegression(solver="liblinear"), CANCER),
    (lm.LogisticRegressionCV(cv=2, Cs=2, l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"), IRIS),
    (lm.SGDClassifier(loss="log_loss", random_state=0), CANCER),
    (lm.SGDClassifier(loss="log_loss", random_state=0), GAPS),
    (lm.SGDClassifier(loss="modified_huber", random_state=0), CANCER),
    (lm.SGDClassifier(loss="modified_huber", random_state=0), WORDS),
    (da.LinearDiscriminantAnalysis(), WINE),
    (da.LinearDiscriminantAnalysis(), CANCER),
    (da.LinearDiscriminantAnalysis(solver="lsqr"), IRIS),
    (da.LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=1), WINE),
    (da.QuadraticDiscriminantAnalysis(), WINE),
    (da.QuadraticDiscriminantAnalysis(priors=[0.1, 0.9], reg_param=0.1), CANCER),
]

DECISIVE = [
    (lm.SGDClassifier(random_state=0), IRIS),
    (lm.Perceptron(random_state=0), CANCER),
    (lm.Perceptron(random_state=0), GAPS),
    (lm.SGDClassifier(penalty=None, learning_rate="pa1", random_state=0), WORDS),
    (lm.RidgeClassifier(), CANCER),
    (lm.RidgeClassifierCV(), WINE),
    (svm.LinearSVC(random_state=0), CANCER),
    (svm.LinearSVC(random_state=0), IRIS),
]


def fitted(estimator, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data)


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(fitted(estimator, data), data[0], expect=("prediction",))


@pytest.mark.parametrize(("estimator", "data"), catalogue(PROBABLE))
def test_classifiers_with_probabilities(estimator, data):
    agree(fitted(estimator, data), data[0], expect=("index", "probabilities", "decision"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(DECISIVE))
def test_classifiers_by_decision(estimator, data):
    agree(fitted(estimator, data), data[0], expect=("index", "decision"))


@pytest.mark.parametrize("data", [CANCER, IRIS], ids=["binary", "softmax"])
def test_extreme_rows_give_probabilities(data):
    model = fitted(lm.LogisticRegression(), data)
    far = np.vstack([data[0][:3] * 1e6, -data[0][:3] * 1e6])
    (results,) = run(model, far)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(far), atol=1e-12)


def test_sparsified_weights():
    agree(fitted(lm.LogisticRegression(), IRIS).sparsify(), IRIS[0])


def test_float32_rows():
    rows = IRIS[0].astype(np.float32)
    agree(fitted(lm.LogisticRegression(), (rows, IRIS[1])), rows, rtol=1e-5, atol=1e-6)


def test_several_labels_a_row_are_refused():
    labels = np.stack([IRIS[1] == 0, IRIS[1] == 1], axis=1).astype(int)
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), lm.RidgeClassifier().fit(IRIS[0], labels), Value("x", "float64", 4))
    assert caught.value.code == "convert.unsupported"
    assert "RidgeClassifier" in str(caught.value)
