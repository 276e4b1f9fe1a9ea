"""A catalogue of clusters, mixtures and envelopes: each is fitted, emitted and held against its source."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDOneClassSVM
from sklearn.mixture import GaussianMixture
from sklearn_agreement import CANCER, IRIS, WINE, agree, catalogue, run

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert

DIGITS = load_digits().data[:300]

CLUSTERS = [
    (KMeans(3, n_init=2, random_state=0), IRIS[0]),
    (KMeans(10, n_init=1, random_state=0), DIGITS),
    (MiniBatchKMeans(4, n_init=1, random_state=0), WINE[0]),
    (KMeans(2, n_init=1, random_state=0, algorithm="elkan"), CANCER[0]),
]


@pytest.mark.parametrize(("estimator", "rows"), catalogue(CLUSTERS))
def test_k_means(estimator, rows):
    agree(estimator.fit(rows), rows, expect=("cluster", "distances", "transformed"))


@pytest.mark.parametrize("shape", ["full", "tied", "diag", "spherical"])
def test_gaussian_mixture(shape):
    model = GaussianMixture(3, covariance_type=shape, random_state=0).fit(IRIS[0])
    agree(model, IRIS[0], rtol=1e-6, atol=1e-9, expect=("cluster", "probabilities"))


@pytest.mark.parametrize("model", [EllipticEnvelope(random_state=0), SGDOneClassSVM(random_state=0)], ids=repr)
def test_outliers(model):
    agree(model.fit(CANCER[0]), CANCER[0], rtol=1e-8, atol=1e-8, expect=("label", "score"))


def test_float32_rows():
    rows = IRIS[0].astype(np.float32)
    agree(KMeans(3, n_init=1, random_state=0).fit(rows), rows, rtol=1e-4, atol=1e-4)


def test_a_centre_is_at_distance_zero_of_itself():
    model = KMeans(3, n_init=1, random_state=0).fit(IRIS[0])
    (results,) = run(model, model.cluster_centers_)
    np.testing.assert_allclose(np.diagonal(results["distances"]), 0.0, atol=1e-7)
    np.testing.assert_array_equal(results["cluster"], [0, 1, 2])


def test_a_mixture_is_served_as_a_clusterer():
    conversion = convert(GaussianMixture(2, random_state=0).fit(IRIS[0]), Intent(example=IRIS[0]))
    assert conversion.kind == "clusterer"
    assert [spec.name for spec in conversion.signature.outputs] == ["cluster"]
