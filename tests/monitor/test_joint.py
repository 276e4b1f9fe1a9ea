"""Columns that no longer go together, though each is as it was."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_patients import scores
from watched_series import Fed, reference

from setsail.monitor.joint import Projection, compared, fitted


def of(rows: np.ndarray) -> object:
    return fitted([("x", i) for i in range(rows.shape[1])], {"x": rows}, len(rows))


def shuffled(random: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """The same columns, each in an order of its own."""
    return np.stack([random.permutation(column) for column in rows.T], axis=1)


def test_broken_correlations_are_found_in_the_first_window_and_by_no_column() -> None:
    random = np.random.default_rng(3)
    made = reference(scores(random, 10_000))
    found = columns = 0
    for _ in range(40):
        fed = Fed(made)
        raised = [family for family, on, _ in fed.window(shuffled(random, scores(random, 500))) if on]
        found += "joint" in raised
        columns += "inputs" in raised
    assert found >= 38
    assert columns <= 1


def test_the_p_value_is_what_2000_resamples_of_the_reference_say() -> None:
    random = np.random.default_rng(4)
    rows = scores(random, 10_000)
    joint = of(rows)
    features = Projection.of(joint)({"x": rows})  # type: ignore[arg-type]
    mean = features.mean(0)
    drawn = [
        float(((features[random.integers(0, 10_000, 500)].mean(0) - mean) ** 2).sum()) * (1 + 500 / 10_000)
        for _ in range(2000)
    ]
    for share in (0.5, 0.1, 0.02):
        distance = float(np.quantile(drawn, 1 - share))
        window = mean + np.sqrt(distance) * np.eye(len(mean))[0]
        assert compared(joint, window * 500, 500)[1] == pytest.approx(share, rel=0.35)  # type: ignore[arg-type]


def test_rows_like_the_reference_are_unlikely_as_often_as_they_should_be() -> None:
    random = np.random.default_rng(6)
    joint = of(scores(random, 10_000))
    project = Projection.of(joint)  # type: ignore[arg-type]
    p = [compared(joint, project({"x": scores(random, 500)}).sum(0), 500)[1] for _ in range(200)]  # type: ignore[arg-type]
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert min(p) > 1e-4


def test_missing_and_far_values_are_ordinary_numbers_to_it() -> None:
    rows = scores(np.random.default_rng(0), 2000)
    rows[::7, 3], rows[5, 0] = np.nan, np.inf
    joint = of(rows)
    assert np.isfinite(Projection.of(joint)({"x": np.full((2, 30), np.nan)})).all()  # type: ignore[arg-type]


def test_few_rows_and_columns_that_never_vary_are_not_tested() -> None:
    random = np.random.default_rng(0)
    assert of(scores(random, 999)) is None
    rows = np.zeros((2000, 3))
    rows[:, 0] = random.standard_normal(2000)
    assert of(rows) is None


def test_the_same_rows_give_the_same_reference() -> None:
    rows = scores(np.random.default_rng(0), 1500)
    assert of(rows) == of(rows.copy())
