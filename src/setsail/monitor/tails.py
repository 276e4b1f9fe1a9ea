"""Tail probabilities of the distributions that watching needs, for whole arrays, out of numpy alone.

A serving machine has no other use for SciPy, which is larger than the server; `tests/monitor/test_tails.py` holds these
against it.
"""

from __future__ import annotations

from math import erfc, exp, lgamma, log, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from setsail.tensors import Array

__all__ = ["binomial", "bound", "chi_square", "two_sided", "weighted_chi_squares"]

_TERMS: Final = 500
_FARTHEST: Final = 5000  # terms of a binomial's tail; those beyond are nothing
_EPSILON: Final = 1e-15
_TINY: Final = 1e-300
_lgamma: Final[Any] = np.vectorize(lgamma, otypes=[np.float64])
_erfc: Final[Any] = np.vectorize(erfc, otypes=[np.float64])


def chi_square(statistic: ArrayLike, degrees: ArrayLike) -> Array:
    """P(X >= statistic) for chi-square with so many degrees of freedom; 1 where there are none.

    The regularised upper incomplete gamma function Q(degrees/2, statistic/2): its series below the mean, Lentz's
    continued fraction above (Abramowitz and Stegun 6.5.29 and 6.5.31).
    """
    x, a = np.broadcast_arrays(np.asarray(statistic, np.float64) / 2, np.asarray(degrees, np.float64) / 2)
    tail = np.ones(x.shape)
    for part, tail_of in (((a > 0) & (x > 0) & (x < a + 1), _below), ((a > 0) & (x >= a + 1), _above)):
        if part.any():
            xs, shapes = x[part], a[part]
            tail[part] = tail_of(xs, shapes, np.exp(shapes * np.log(xs) - xs - _lgamma(shapes)))
    return tail


def two_sided(z: ArrayLike) -> Array:
    """P(|Z| >= |z|) for a standard normal Z."""
    return np.asarray(_erfc(np.abs(np.asarray(z, np.float64)) / sqrt(2)))


def _below(x: Array, a: Array, front: Array) -> Array:
    term = total = 1 / a
    for k in range(1, _TERMS):
        term = term * x / (a + k)
        total = total + term
        if np.all(term < total * _EPSILON):
            break
    return np.asarray(1 - total * front)


def _above(x: Array, a: Array, front: Array) -> Array:
    b = x + 1 - a
    c = np.full_like(x, 1 / _TINY)
    d = 1 / b
    fraction = d
    for k in range(1, _TERMS):
        step = -k * (k - a)
        b = b + 2
        d = 1 / _off_zero(step * d + b)
        c = _off_zero(b + step / c)
        fraction = fraction * d * c
        if np.all(np.abs(d * c - 1) < _EPSILON):
            break
    return np.asarray(fraction * front)


def _off_zero(values: Array) -> Array:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def binomial(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) for so many trials."""
    if successes <= 0:
        return 1.0
    if successes > trials or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    k = np.arange(successes, min(trials, successes + _FARTHEST) + 1)
    ways = lgamma(trials + 1) - _lgamma(k + 1.0) - _lgamma(trials - k + 1.0)
    return min(1.0, float(np.exp(ways + k * log(chance) + (trials - k) * np.log1p(-chance)).sum()))


def weighted_chi_squares(statistic: float, weights: Array) -> float:
    """P(sum of weight * chi-square(1) >= statistic), by the saddlepoint approximation.

    Source: Kuonen 1999, Saddlepoint approximations for distributions of quadratic forms in normal variables. Its
    relative error in the tail is a few percent.
    """
    weights = weights[weights > weights.max(initial=0.0) * 1e-12]
    mean = float(weights.sum())
    if weights.size == 0:
        return 1.0
    if abs(statistic - mean) < 1e-6 * mean:  # the formula has a hole at the mean
        statistic = mean * (1 + 1e-6)
    zeta = _saddle(statistic, weights, mean)
    left = 1 - 2 * zeta * weights
    curvature = 2 * float((weights**2 / left**2).sum())
    depth = 2 * (zeta * statistic + 0.5 * float(np.log(left).sum()))
    w = (1 if zeta > 0 else -1) * sqrt(max(depth, 1e-300))
    v = zeta * sqrt(curvature)
    return min(1.0, max(0.0, 0.5 * erfc((w + log(v / w) / w) / sqrt(2))))


def _saddle(statistic: float, weights: Array, mean: float) -> float:
    """Where the slope of the cumulant generating function is the statistic."""
    high = 0.5 / float(weights.max())
    low, high = (0.0, high * (1 - 1e-12)) if statistic > mean else (-1e6 * weights.size / mean, 0.0)
    for _ in range(80):
        middle = (low + high) / 2
        if float((weights / (1 - 2 * middle * weights)).sum()) < statistic:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def bound(mean: float, count: int, risk: float) -> float:
    """What the expectation of values in [0, 1] is not above, but with this risk, given their mean (Chernoff)."""
    low, high = mean, 1.0
    if count == 0:
        return 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if exp(-count * _divergence(mean, middle)) > risk:
            low = middle
        else:
            high = middle
    return high


def _divergence(p: float, q: float) -> float:
    """Kullback and Leibler's, of one coin from another."""
    q = min(max(q, 1e-15), 1 - 1e-15)
    heads = p * log(p / q) if p > 0 else 0.0
    return heads + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)
