"""A catalogue of neighbours: each model is fitted, emitted and held against its source."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn import neighbors as nb
from sklearn.datasets import load_digits
from sklearn_agreement import CANCER, DIABETES, IRIS, WINE, agree, catalogue, run

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
GAPS = (WINE[0], np.array([-7, 40, 1000])[WINE[1]])
PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))
ONE = (DIABETES[0], DIABETES[1][:, None])

CLASSIFIERS = [
    (nb.KNeighborsClassifier(), CANCER),
    (nb.KNeighborsClassifier(1, algorithm="kd_tree"), WORDS),
    (nb.KNeighborsClassifier(7, weights="distance"), GAPS),
    (nb.KNeighborsClassifier(algorithm="brute"), CANCER),
    (nb.KNeighborsClassifier(metric="manhattan"), WORDS),
    (nb.KNeighborsClassifier(metric="chebyshev"), CANCER),
    (nb.KNeighborsClassifier(p=3, weights="distance", algorithm="ball_tree"), CANCER),
]
REGRESSORS = [
    (nb.KNeighborsRegressor(), DIABETES),
    (nb.KNeighborsRegressor(weights="distance"), DIABETES),
    (nb.KNeighborsRegressor(3), ONE),
    (nb.KNeighborsRegressor(3, weights="distance", p=1), PAIR),
]
CENTROIDS = [
    (nb.NearestCentroid(), CANCER),
    (nb.NearestCentroid(), WORDS),
    (nb.NearestCentroid(shrink_threshold=0.1, priors="empirical"), WORDS),
    (nb.NearestCentroid(metric="manhattan"), GAPS),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator, data):
    agree(estimator.fit(*data), data[0], rtol=1e-6, expect=("index", "probabilities"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(estimator.fit(*data), data[0], rtol=1e-6, expect=("prediction",))


@pytest.mark.parametrize(("estimator", "data"), catalogue(CENTROIDS))
def test_centroids(estimator, data):
    agree(estimator.fit(*data), data[0], rtol=1e-7, expect=("index",))


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_local_outlier_factor(contamination):
    model = nb.LocalOutlierFactor(10, novelty=True, contamination=contamination).fit(CANCER[0])
    agree(model, CANCER[0], expect=("label", "score"))


def test_two_equal_training_rows_share_a_query_on_them():
    """At distance 0 only neighbours at distance 0 count, and equally: 1 / distance would be infinity."""
    rows = np.array([[0.1, 0.2], [0.1, 0.2], [0.4, 0.2]])
    model = nb.KNeighborsClassifier(3, weights="distance").fit(rows, ["a", "b", "b"])
    (results,) = run(model, rows[:1])
    np.testing.assert_array_equal(results["probabilities"], [[0.5, 0.5]])


def digits(count):
    rows, labels = load_digits(return_X_y=True)
    return rows[:count], labels[:count]


DRAWN = np.random.default_rng(0).uniform(0, 1, (300, 3))
DATED = np.column_stack([DRAWN[:, :2], np.where(DRAWN[:, 2] > 0.5, 0.0, 1e9)])


@pytest.mark.parametrize(
    ("rows", "product"),
    [(digits(400)[0], True), (IRIS[0][:100], False), (np.repeat(np.eye(8), 40, axis=0), False), (DATED, False)],
    ids=["digits", "few rows", "equal rows", "two dates"],
)
def test_candidates_are_sought_by_a_product_only_where_that_is_safe(rows, product):
    """Squares of 1e9 are 128 apart: a product would not see differences of 1 in the other features."""
    model = nb.KNeighborsRegressor(5, weights="distance").fit(rows, rows[:, 0])
    beside = rows + np.linspace(0.0, 0.01, rows.shape[1])
    for batch, results in zip((rows, beside), run(model, rows, beside), strict=True):
        np.testing.assert_allclose(results["prediction"], model.predict(batch), rtol=1e-6, atol=1e-6)
    graph = Graph()
    emit(graph, model, Value("x", "float64", rows.shape[1]))
    assert ("MatMul" in {node.op_type for node in graph._nodes}) is product


def test_wide_rows_are_summed_in_a_loop():
    rows = np.random.default_rng(0).normal(size=(60, 90))
    agree(nb.KNeighborsRegressor(3, metric="manhattan", weights="distance").fit(rows, rows[:, 0]), rows)


def test_a_sparse_training_set():
    agree(nb.KNeighborsClassifier(3).fit(sparse.csr_matrix(CANCER[0]), CANCER[1]), CANCER[0])


def test_extreme_rows_are_numbers():
    model = nb.KNeighborsClassifier(weights="distance").fit(*WINE)
    (results,) = run(model, WINE[0][:4] * 1e6)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(WINE[0][:4] * 1e6), rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        nb.KNeighborsClassifier(weights=lambda d: d + 1).fit(*WINE),
        nb.KNeighborsClassifier(metric="cosine").fit(*WINE),
        nb.KNeighborsClassifier().fit(WINE[0], np.stack([WINE[1], WINE[1]], axis=1)),
        nb.LocalOutlierFactor().fit(WINE[0]),
        nb.NearestCentroid(metric="manhattan").fit(*WINE).set_params(metric="cosine"),
    ],
    ids=["weights", "metric", "labels", "novelty", "centroid"],
)
def test_refused(model):
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), model, Value("x", "float64", 13))
    assert caught.value.code == "convert.unsupported"
    assert type(model).__name__ in str(caught.value)
