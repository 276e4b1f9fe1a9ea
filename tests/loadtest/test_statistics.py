"""Percentiles, where enough was measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from setsail.loadtest.statistics import BEYOND, keeps, needed, percentile, summarise

latencies = arrays(np.float64, st.integers(0, 1200), elements=st.floats(1e-6, 100))


@given(latencies, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_a_latency_that_enough_do_not_exceed(values: np.ndarray, share: float) -> None:
    ordered = np.sort(values)
    found = percentile(ordered, share)
    if len(values) < needed(share):
        assert found is None
        return
    assert found in ordered
    assert np.count_nonzero(ordered <= found) >= share * len(ordered) - 1e-6
    assert np.count_nonzero(ordered < found) < share * len(ordered) + 1e-6  # and none smaller is enough
    assert (1 - share) * len(ordered) >= BEYOND - 1e-6


@given(latencies)
def test_a_summary_rises_and_does_not_mind_the_order(values: np.ndarray) -> None:
    found = summarise(values)
    assert found == summarise(values[::-1])
    known = [v for v in (found.p50, found.p90, found.p99, found.max) if v is not None]
    assert known == sorted(known)
    assert found.count == len(values)
    assert (found.max is None) == (not len(values))


def test_known_percentiles() -> None:
    found = summarise(np.arange(1, 1001) / 1000)
    assert (found.p50, found.p90, found.p99, found.max) == (0.5, 0.9, 0.99, 1.0)
    assert found.to_json() == {"count": 1000, "p50_ms": 500.0, "p90_ms": 900.0, "p99_ms": 990.0, "max_ms": 1000.0}
    assert [needed(share) for share in (0.5, 0.9, 0.99)] == [10, 50, 500]


@given(latencies, st.integers(0, 20), st.floats(1e-6, 100))
def test_a_kept_target_agrees_with_the_percentile(values: np.ndarray, unanswered: int, target: float) -> None:
    worst = np.concatenate([values, np.full(unanswered, np.inf)])
    found = percentile(np.sort(worst), 0.99)
    if found is not None:
        assert keeps(values, unanswered, target) == (found <= target)


@pytest.mark.parametrize(("good", "bad", "kept"), [(0, 0, False), (1, 0, True), (99, 1, True), (98, 2, False)])
def test_errors_are_no_answers(good: int, bad: int, kept: bool) -> None:
    assert keeps(np.full(good, 0.001), bad, 0.01) is kept
