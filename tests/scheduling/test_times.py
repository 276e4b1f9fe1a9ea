"""What is known about run times: a curve over rows that outliers do not move and real changes do."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.scheduling import RunTimes

LADDER = {1: 0.010, 2: 0.011, 4: 0.013, 8: 0.018}


def test_nothing_known_is_infinite_and_one_row_is_all_that_is_known_to_be_useful():
    times = RunTimes()
    assert (times.predict(1), times.useful, times.known) == (inf, 1, False)
    assert RunTimes.from_ladder({}).known is False


def test_points_lines_between_them_flat_below_and_growing_with_the_rows_beyond():
    times = RunTimes.from_ladder({2: 0.010, 4: 0.014, 8: 0.020})
    assert times.predict(4) == 0.014
    assert times.predict(3) == pytest.approx(0.012)
    assert times.predict(6) == pytest.approx(0.017)
    assert times.predict(1) == 0.010
    assert times.predict(16) == pytest.approx(0.040)


def test_an_outlier_moves_the_mean_by_a_tenth_and_a_lasting_change_is_followed():
    times = RunTimes.from_ladder(LADDER)
    times.observe(1, 5.0)
    assert times.predict(1) == pytest.approx(0.011)
    for _ in range(50):
        times.observe(1, 0.010)
    assert times.predict(1) == pytest.approx(0.010, rel=0.01)
    for _ in range(5):
        times.observe(1, 0.100)
    assert times.predict(1) > 0.050
    for _ in range(20):
        times.observe(1, 0.100)
    assert times.predict(1) == pytest.approx(0.100, rel=0.1)
    for _ in range(60):
        times.observe(1, 0.020)
    assert times.predict(1) == pytest.approx(0.020, rel=0.1)


def test_the_first_slow_run_of_a_new_size_is_held_against_the_other_sizes():
    times = RunTimes.from_ladder(LADDER)
    times.observe(16, 9.0)
    assert times.predict(16) == pytest.approx(2 * 0.036)


@pytest.mark.parametrize(
    ("ladder", "useful"),
    [
        ({1: 0.010, 2: 0.011, 4: 0.013, 8: 0.026, 16: 0.052}, 4),  # as good a row as any larger batch
        ({1: 0.010, 2: 0.0195, 4: 0.039}, 1),  # nothing to gain: do not make anybody wait
        ({1: 0.010, 2: 0.011, 4: 0.012}, 8),  # still gaining at the end of the ladder: go on
        ({1: 0.010}, 1),
    ],
)
def test_useful_is_the_smallest_batch_of_nearly_the_least_time_a_row(ladder, useful):
    assert RunTimes.from_ladder(ladder, overhead=0.0).useful == useful


def test_what_a_batch_costs_besides_its_run_counts():
    flat = {1: 0.0004, 2: 0.0008, 4: 0.0016, 8: 0.0032}
    assert RunTimes.from_ladder(flat, overhead=0.0).useful == 1
    assert RunTimes.from_ladder(flat, overhead=0.0002).useful == 4


def test_useful_is_learnt_without_a_ladder_and_learnt_again():
    times = RunTimes(overhead=0.0)
    for _ in range(100):
        for rows in (1, 2, 4, 8):
            times.observe(rows, 0.010 + 0.0001 * rows)
    assert times.useful == 16
    for _ in range(200):  # now each row costs as much alone
        for rows in (1, 2, 4, 8):
            times.observe(rows, 0.010 * rows)
    assert times.useful == 1


def test_a_size_that_looked_bad_once_is_tried_again():
    times = RunTimes.from_ladder({1: 0.010, 2: 0.020}, overhead=0.0)
    tried = set()
    for _ in range(20 * 256):
        times.observe(1, 0.010)
        tried.add(times.useful)
    assert tried == {1, 2}


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(1e-6, 10.0)), min_size=1, max_size=300))
def test_predictions_stay_within_what_was_seen(runs):
    times = RunTimes()
    for rows, seconds in runs:
        times.observe(rows, seconds)
    assert 1 <= times.useful <= 1024
    for rows in (1, 2, 3, 7, 64, 300):
        assert 0 < times.predict(rows) <= 300 * max(seconds for _, seconds in runs)


def test_sizes_beyond_all_buckets_are_predicted_and_not_kept():
    times = RunTimes.from_ladder(LADDER)
    times.observe(1 << 30, 100.0)
    assert times.predict(1 << 30) == pytest.approx(0.018 * (1 << 30) / 8)
