"""A catalogue of naive Bayes models: each is fitted, emitted and held against its source."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import naive_bayes as nb
from sklearn_agreement import CANCER, IRIS, WINE, agree, catalogue, run

WORDS = (WINE[0], np.array(["barolo", "grignolino", "barbera"])[WINE[1]])
COUNTS = (np.round(WINE[0]), WINE[1])

MODELS = [
    (nb.GaussianNB(), IRIS),
    (nb.GaussianNB(priors=[0.2, 0.8]), CANCER),
    (nb.GaussianNB(), WORDS),
    (nb.BernoulliNB(), CANCER),
    (nb.BernoulliNB(binarize=2.5, alpha=0.1), IRIS),
]
COUNTING = [
    (nb.MultinomialNB(), COUNTS),
    (nb.MultinomialNB(fit_prior=False), COUNTS),
    (nb.ComplementNB(), COUNTS),
    (nb.ComplementNB(norm=True), COUNTS),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(MODELS + COUNTING))
def test_models(estimator, data):
    agree(estimator.fit(*data), data[0], atol=1e-10, expect=("index", "probabilities"))


def test_categories():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (120, 5)).astype(float)
    model = nb.CategoricalNB(min_categories=4).fit(codes, rng.integers(0, 3, 120))
    whole, one, cut = run(model, codes, codes[:1], codes + 0.25 * (codes < 3))
    np.testing.assert_allclose(whole["probabilities"], model.predict_proba(codes), rtol=1e-12)
    np.testing.assert_array_equal(whole["index"], model.predict(codes))
    np.testing.assert_array_equal(one["probabilities"], whole["probabilities"][:1])
    np.testing.assert_array_equal(cut["probabilities"], whole["probabilities"])


def test_extreme_rows_give_probabilities():
    model = nb.GaussianNB().fit(*IRIS)
    (results,) = run(model, IRIS[0][:5] * 1e6)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(IRIS[0][:5] * 1e6), atol=1e-12)
