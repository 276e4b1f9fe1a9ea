"""A catalogue of support vector machines: each is fitted, emitted and held against its source."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import svm
from sklearn.datasets import load_digits
from sklearn_agreement import CANCER, DIABETES, IRIS, WINE, agree, catalogue, run

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
DIGITS = tuple(part[:300] for part in load_digits(return_X_y=True))

CLASSIFIERS = [
    (svm.SVC(), CANCER),
    (svm.SVC(), IRIS),
    (svm.SVC(gamma=0.05, C=10), DIGITS),
    (svm.SVC(kernel="linear"), IRIS),
    (svm.SVC(kernel="poly", degree=2, coef0=1), WORDS),
    (svm.SVC(kernel="poly", gamma="auto"), CANCER),
    (svm.SVC(kernel="sigmoid", gamma=0.01), IRIS),
    (svm.SVC(decision_function_shape="ovo"), WORDS),
    (svm.SVC(break_ties=True), DIGITS),
    (svm.NuSVC(nu=0.2), IRIS),
    (svm.NuSVC(nu=0.2, kernel="linear"), CANCER),
]
PROBABLE = [
    (svm.SVC(probability=True, random_state=0), CANCER),
    (svm.SVC(probability=True, random_state=0), WORDS),
    (svm.SVC(probability=True, random_state=0, gamma=0.001), DIGITS),
    (svm.NuSVC(probability=True, nu=0.2, random_state=0), IRIS),
]
REGRESSORS = [
    (svm.SVR(C=100), DIABETES),
    (svm.SVR(kernel="poly", coef0=1), DIABETES),
    (svm.NuSVR(kernel="linear"), DIABETES),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("index", "decision"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(PROBABLE))
def test_probabilities(estimator, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `probability` is to be replaced by calibration
        estimator.fit(*data)
    agree(estimator, data[0], rtol=1e-7, expect=("index", "decision", "probabilities"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(estimator.fit(*data), data[0], expect=("prediction",))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_one_class(kernel):
    agree(svm.OneClassSVM(kernel=kernel, nu=0.2).fit(WINE[0]), WINE[0], expect=("label", "score"))


def test_a_kernel_computed_by_the_client():
    products = IRIS[0] @ IRIS[0].T
    agree(svm.SVC(kernel="precomputed").fit(products, IRIS[1]), products)


def test_fitted_on_a_sparse_matrix():
    model = svm.SVC().fit(sparse.csr_matrix(DIGITS[0]), DIGITS[1])
    agree(model, DIGITS[0])


def test_rows_far_from_zero_keep_their_digits():
    """Values of 1e6 that differ by 0.1 are squared to 1e12, where doubles are 1e-4 apart."""
    rows = IRIS[0] + 1e6
    agree(svm.SVR(gamma=0.5).fit(rows, IRIS[1]), rows, rtol=1e-6)


def test_a_narrow_kernel_on_rows_of_mixed_size():
    """One feature of 1e6 would drown the others' 0.1 in a matrix product; gamma is of the small ones' size."""
    rows = IRIS[0] * [1e6, 1, 1, 1]
    agree(svm.SVR(gamma=2.0).fit(rows, IRIS[1]), rows)


def test_extreme_rows_are_numbers():
    model = svm.SVC(kernel="rbf").fit(*IRIS)
    (results,) = run(model, IRIS[0][:5] * 1e150)
    assert np.isfinite(results["decision"]).all()


def test_a_kernel_in_python_is_refused():
    model = svm.SVC(kernel=lambda a, b: a @ b.T).fit(*IRIS)
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", 4))
    assert caught.value.code == "convert.unsupported"
    assert "kernel" in str(caught.value)
