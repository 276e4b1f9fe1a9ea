"""When requests are sent, and which rate is tried next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.loadtest.schedules import FRACTIONS, Search, arrivals

rates = st.floats(0.5, 5000)


@given(rates, st.floats(0.05, 10), st.integers(0, 2**32 - 1))
def test_arrivals_ascend_within_their_time_and_repeat(rate: float, seconds: float, seed: int) -> None:
    times = arrivals(rate, seconds, seed)
    assert np.array_equal(times, arrivals(rate, seconds, seed))
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < seconds)).all()


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(1000, 100, 7)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(100_000, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)  # as an exponential's are; even gaps would have none
    per_second = np.bincount(times.astype(int))
    assert per_second.var() == pytest.approx(1000, rel=0.5)  # as many as its mean


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1), (1e9, 1e3)])
def test_no_schedule_without_end_or_beginning(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="no schedule"):
        arrivals(rate, seconds)


def tried(peak: float, limit: float, halvings: int = 2) -> tuple[list[float], Search]:
    """The rates that are tried of a server that keeps its target up to `limit`."""
    search, rates = Search(peak, halvings), []
    while search.next is not None:
        rates.append(search.next)
        search.tell(search.next <= limit)
    return rates, search


@given(st.floats(1, 1e6), st.floats(0, 1.5), st.integers(0, 6))
def test_a_search_ends_below_the_limit_and_near_it(peak: float, share: float, halvings: int) -> None:
    limit = peak * share
    rates, search = tried(peak, limit, halvings)
    assert len(rates) <= len(FRACTIONS) + halvings
    assert all(0 < rate <= peak for rate in rates)
    assert search.best == max((rate for rate in rates if rate <= limit), default=0.0)
    assert search.best <= limit
    if halvings == 6 and share < 1:
        assert limit - search.best <= peak * 0.25 / 2**6 + 1e-9 * peak


@given(st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_search_ends_whatever_it_is_told(answers: list[bool]) -> None:
    search, good = Search(100), []
    for kept in answers:
        if search.next is None:
            break
        good += [search.next] if kept else []
        search.tell(kept)
    assert search.next is None
    assert search.best == max(good, default=0.0)
