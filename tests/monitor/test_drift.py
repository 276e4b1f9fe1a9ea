"""Drift of columns: the test against SciPy's, its false alarms and its power by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_patients import patients, scores
from scipy import stats
from scipy.spatial.distance import jensenshannon
from watched_series import Fed, reference

from setsail.monitor.drift import SCALES, SHARES, Layout, Rule, examined


def one(old: list[int], new: list[int]) -> tuple[float, float, float]:
    finding = examined(np.array([old], float), np.array([new], float))
    return float(finding.p[0]), float(finding.psi[0]), float(finding.js[0])


def test_with_full_bins_the_p_value_is_scipys() -> None:
    old, new = [500, 400, 300, 800], [60, 30, 45, 65]
    assert one(old, new)[0] == pytest.approx(stats.chi2_contingency([old, new], correction=False).pvalue, rel=1e-9)


def ranked(old: list[int], new: list[int], ordered: int) -> float:
    layout = Layout([len(old)], [ordered])
    return float(examined(np.array([old], float), np.array([new], float), layout.ranked).p[0])


def test_numbers_are_tested_by_scipys_ranks_too() -> None:
    old, new = [500, 400, 300, 800, 0], [45, 35, 35, 135, 0]
    rows = [np.repeat(np.arange(5), side) for side in (old, new)]
    p = stats.mannwhitneyu(*rows, method="asymptotic", use_continuity=False).pvalue
    assert p < one(old, new)[0] / 2  # a shift: chi-square looks in every direction
    assert ranked(old, new, 4) == pytest.approx(2 * p, rel=1e-9)


def test_missing_values_have_no_rank() -> None:
    old, new = [500, 500, 500, 500], [56, 56, 56, 82]
    assert ranked(old, new, 3) == pytest.approx(min(1.0, 2 * one(old, new)[0]), rel=1e-9)
    assert ranked(old, new, 4) < ranked(old, new, 3)


def test_one_bin_with_most_of_the_rows_is_left_to_chi_square() -> None:
    old, new = [9000, 500, 500], [440, 30, 30]
    assert ranked(old, new, 3) == one(old, new)[0]


def test_an_unheard_of_bin_counts_for_what_it_is() -> None:
    """One row of 500 that is missing, where 100,000 had none: chi-square alone would call that impossible."""
    p, _, _ = one([50_000, 50_000, 0], [250, 249, 1])
    assert 0.005 < p < 0.02
    assert one([50_000, 50_000, 0], [240, 240, 20])[0] < 1e-12


def test_the_distance_is_scipys_and_the_index_has_no_bias() -> None:
    old, new = [4000, 3000, 3000], [300, 400, 300]
    _, _, js = one(old, new)
    assert js == pytest.approx(jensenshannon(np.array(old) / 1e4, np.array(new) / 1e3, base=2), rel=0.01)
    random = np.random.default_rng(0)
    null = [one(old, random.multinomial(500, [0.4, 0.3, 0.3]).tolist())[1] for _ in range(300)]
    assert abs(float(np.mean(null))) < 0.001


def test_nothing_is_found_in_nothing() -> None:
    assert one([10, 20], [0, 0]) == (1.0, 0.0, 0.0)
    assert one([0, 0], [10, 20]) == (1.0, 0.0, 0.0)


def test_columns_of_different_sizes_are_one_table() -> None:
    table = Layout([2, 3]).table(np.array([1, 2, 3, 4, 5]))
    assert table.tolist() == [[1, 2, 0], [3, 4, 5]]


def test_p_values_are_uniform_where_nothing_changed() -> None:
    random = np.random.default_rng(2)
    shares = np.array([0.3, 0.25, 0.25, 0.15, 0.03, 0.02])
    old = random.multinomial(20_000, shares, size=2000)
    new = random.multinomial(500, shares, size=2000)
    p = np.array([one(a.tolist(), b.tolist())[0] for a, b in zip(old, new, strict=True)])
    assert 0.03 < float((p < 0.05).mean()) < 0.07


def test_far_out_the_ranks_keep_their_promise() -> None:
    """Of windows like the reference no more than promised are under a small p-value, however the bins are filled."""
    random = np.random.default_rng(4)
    for shares in ([0.1] * 10, [0.5, 0.3, 0.1, 0.05, 0.05], [0.01, 0.01, 0.48, 0.5]):
        old = random.multinomial(5000, shares, size=60_000).astype(float)
        new = random.multinomial(200, shares, size=60_000).astype(float)
        p = examined(old, new, np.ones_like(old, bool)).p
        assert (p < 1e-3).sum() <= 90  # 60 and three times their deviation, and what chi-square's own limit is off


def alarms(seed: int, references: int, windows: int, *, joint: bool) -> int:
    """Windows in which anything was found, of rows like the reference's."""
    random, found = np.random.default_rng(seed), 0
    for _ in range(references):
        fed = Fed(reference(scores(random, 10_000), joint=joint))
        for _ in range(windows):
            fed.window(scores(random, 500))
            found += any(alarm.quiet == 0 for alarm in fed.series.alarms.values() if alarm.raised)
    return found


def test_windows_like_the_reference_raise_nothing() -> None:
    assert alarms(5, 2, 150, joint=False) <= 1


@pytest.mark.slow
def test_3200_windows_like_the_reference_raise_next_to_nothing() -> None:
    assert alarms(7, 8, 400, joint=True) <= 8


def shifted(random: np.random.Generator, rows: int) -> np.ndarray:
    drawn = patients(random, rows)
    drawn[:, 3] += 0.2 * SPREAD[3]
    return np.asarray(drawn)


SPREAD = patients(np.random.default_rng(0), 20_000).std(0)


def test_a_fifth_of_a_deviation_in_one_of_thirty_columns_is_found_in_the_first_thousand_rows() -> None:
    random = np.random.default_rng(11)
    made = reference(patients(random, 10_000), joint=False)
    found = 0
    for _ in range(60):
        fed = Fed(made, Rule(rows=1000))
        raised = fed.window(shifted(random, 1000))
        found += any(family == "inputs" and "x[3]" in why for family, on, why in raised if on)
    assert found >= 57


def test_so_it_is_in_columns_of_normal_numbers_nine_times_of_ten() -> None:
    """A t-test of the rows themselves, at the same share of the promise, would find it 19 times of 20."""
    random = np.random.default_rng(17)
    made, found = reference(random.standard_normal((10_000, 30)), joint=False), 0
    for _ in range(60):
        rows = random.standard_normal((1000, 30))
        rows[:, 3] += 0.2
        found += any("x[3]" in why for _, on, why in Fed(made, Rule(rows=1000)).window(rows) if on)
    assert found >= 51


def test_half_of_that_is_found_within_sixteen_windows() -> None:
    random, found = np.random.default_rng(13), 0
    made = reference(patients(random, 10_000), joint=False)
    for _ in range(10):
        fed = Fed(made)
        for _ in range(16):
            drawn = patients(random, 500)
            drawn[:, 3] += 0.1 * SPREAD[3]
            fed.window(drawn)
        found += fed.series.alarms["inputs"].raised > 0
    assert found >= 9


def test_the_families_share_one_promise() -> None:
    assert sum(SHARES.values()) == 1.0
    assert SCALES == (1, 4, 16)
