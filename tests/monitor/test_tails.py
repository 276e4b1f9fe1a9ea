"""Tail probabilities, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from setsail.monitor.tails import binomial, bound, chi_square, two_sided, weighted_chi_squares


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 10, 30, 64, 511])
def test_chi_square_is_scipys(degrees: int) -> None:
    at = np.array([1e-6, 0.1, 1.0, degrees - 0.5, degrees + 1.5, degrees * 2.0, degrees * 5.0, 300.0])
    np.testing.assert_allclose(chi_square(at, degrees), stats.chi2.sf(at, degrees), rtol=1e-9, atol=1e-300)


def test_both_sides_of_the_normal_are_scipys() -> None:
    at = np.array([-7.0, -1.0, 0.0, 0.3, 4.7, 30.0])
    np.testing.assert_allclose(two_sided(at), 2 * stats.norm.sf(np.abs(at)), rtol=1e-9)


def test_without_degrees_nothing_is_unlikely() -> None:
    assert chi_square([0.0, 5.0], [0, 0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("hits", "trials", "chance"), [(0, 10, 0.1), (1, 10, 0.1), (7, 100, 0.02), (60, 1000, 0.05)])
def test_binomial_is_scipys(hits: int, trials: int, chance: float) -> None:
    assert binomial(hits, trials, chance) == pytest.approx(stats.binom.sf(hits - 1, trials, chance), rel=1e-9)


def test_what_cannot_be_has_no_chance_and_what_must_be_is_certain() -> None:
    assert (binomial(11, 10, 0.5), binomial(1, 10, 0.0), binomial(5, 10, 1.0)) == (0.0, 0.0, 1.0)


def test_equal_weights_are_one_chi_square() -> None:
    for at in (2.0, 9.0, 20.0, 45.0):
        assert weighted_chi_squares(at, np.ones(10)) == pytest.approx(stats.chi2.sf(at, 10), rel=0.03)


def test_unequal_weights_are_what_a_million_draws_say() -> None:
    weights = np.array([3.0, 2.0, 1.0, 0.5, *[0.05] * 20])
    drawn = (np.random.default_rng(1).chisquare(1, (1_000_000, 24)) @ weights[:, None])[:, 0]
    for share in (0.5, 0.05, 1e-3, 1e-4):
        assert weighted_chi_squares(float(np.quantile(drawn, 1 - share)), weights) == pytest.approx(share, rel=0.15)


def test_without_weights_nothing_is_unlikely() -> None:
    assert weighted_chi_squares(1.0, np.zeros(3)) == 1.0


def test_a_mean_stays_under_its_bound() -> None:
    random = np.random.default_rng(0)
    over = [bound(float((random.random(300) < 0.1).mean()), 300, 0.01) < 0.1 for _ in range(2000)]
    assert np.mean(over) <= 0.01
    assert bound(0.0, 0, 0.01) == 1.0
    assert 0.1 < bound(0.1, 10_000, 0.01) < 0.11
