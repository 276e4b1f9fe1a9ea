"""Canaries by simulation: how often one that is no worse is stopped, and how soon one that is worse."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.monitor.canary import Pairing, cells, differences, figures, log_capital, of, upper_bound, verdict
from setsail.monitor.meter import Meter, merged
from setsail.routing import Rule
from setsail.tensors import Array

RUNS, LOOKS, EVERY = 400, 200, 100  # 20,000 pairs, looked at every 100
STOP = log(100)  # alpha 0.01


def looks(control: float, candidate: float, block: int, seed: int) -> Array:
    """Counts of pairs at every look of every run: [RUNS, LOOKS, cells]."""
    k = np.array([comb(block, i) * control**i * (1 - control) ** (block - i) for i in range(block + 1)])
    chances = np.concatenate([(1 - candidate) * k, candidate * k])
    drawn = np.random.default_rng(seed).multinomial(EVERY, chances / chances.sum(), size=(RUNS, LOOKS))
    counts: Array = drawn.cumsum(axis=1)
    return counts


def first(reached: Array) -> Array:
    """Pairs at the first look that says so; infinite where none does."""
    found: Array = np.where(reached.any(axis=1), (reached.argmax(axis=1) + 1) * EVERY, np.inf)
    return found


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("block", [1, 8])
def test_a_canary_that_is_no_worse_is_hardly_ever_stopped(rate: float, block: int) -> None:
    stopped = np.isfinite(first(log_capital(looks(rate, rate, block, 1), block) >= STOP)).sum()
    assert stopped <= 8  # of 400; 4 are promised in the mean, and 0 to 2 are seen


def test_two_metrics_that_are_judged_together_are_not_two_chances() -> None:
    both = np.logaddexp(*(log_capital(looks(0.05, 0.05, 8, seed), 8) for seed in (2, 3))) - log(2)
    assert np.isfinite(first(both >= STOP)).sum() <= 8


@pytest.mark.slow  # the rows of the study
@pytest.mark.parametrize(
    ("control", "candidate", "found", "median"),
    [(0.05, 0.06, 0.8, 13_000), (0.05, 0.075, 1.0, 2500), (0.01, 0.02, 1.0, 4000)],
)
def test_a_canary_that_is_worse_is_stopped(control: float, candidate: float, found: float, median: float) -> None:
    when = first(log_capital(looks(control, candidate, 1, 4), 1) >= STOP)
    assert np.isfinite(when).mean() >= found
    assert np.median(when) <= median
    more = first(log_capital(looks(control, candidate, 8, 4), 8) >= STOP)  # nine times the control's traffic
    assert np.median(more) <= 0.65 * np.median(when)


def test_a_canary_that_fails_often_is_stopped_within_a_few_hundred() -> None:
    when = first(log_capital(looks(0.01, 0.1, 8, 5), 8) >= STOP)
    assert np.isfinite(when).all()
    assert np.median(when) <= 200


@pytest.mark.parametrize(("allowed", "control", "candidate"), [(0.01, 0.05, 0.06), (0.02, 0.01, 0.03)])
def test_a_canary_that_is_worse_than_allowed_is_hardly_ever_promoted(
    allowed: float, control: float, candidate: float
) -> None:
    promoted = first(log_capital(looks(control, candidate, 8, 6), 8, allowed, below=True) >= STOP)
    assert np.isfinite(promoted).sum() <= 8


def test_a_canary_that_is_as_good_is_promoted() -> None:
    promoted = first(log_capital(looks(0.01, 0.01, 8, 7), 8, 0.01, below=True) >= STOP)
    assert np.isfinite(promoted).all()
    assert np.median(promoted) <= 3000


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_no_bet_wins_in_the_mean(counts: list[int]) -> None:
    """Of every cell's probability under "no difference", each gambler's factor is 1 in the mean."""
    chances = np.array([0.95 * 0.95, 0.95 * 0.05, 0.05 * 0.95, 0.05 * 0.05])
    assert chances @ differences(1) == pytest.approx(0)
    one = np.eye(4)
    assert chances @ np.exp(log_capital(one, 1)) == pytest.approx(1)
    assert chances @ np.exp(log_capital(one, 1, below=True)) == pytest.approx(1)
    assert float(log_capital(np.array(counts), 1)) < 700


def test_the_bound_comes_nearer_and_covers() -> None:
    bounds = [upper_bound(np.array([n * 90, n * 5, n * 5, 0]), 1, 0.01) for n in (0, 1, 10, 100)]
    assert bounds[0] == 1.0
    assert bounds == sorted(bounds, reverse=True)
    assert 0 < bounds[-1] < 0.02
    exact = float(log_capital(np.array([9000, 500, 500, 0]), 1, bounds[-1], below=True))
    assert exact == pytest.approx(STOP, abs=1e-3)


# -- pairing -----------------------------------------------------------------------------------------------------------


def pairs(block: int, results: Sequence[tuple[str, int]]) -> list[int]:
    pairing, counts = Pairing(block), [0] * cells(block)
    for side, bad in results:
        cell = pairing.candidate(bad) if side == "new" else pairing.control(bad)
        if cell is not None:
            counts[cell] += 1
    return counts


def test_a_result_is_held_against_a_block() -> None:
    assert pairs(2, [("old", 1), ("new", 1), ("old", 0)]) == [0, 0, 0, 0, 1, 0]
    assert pairs(2, [("old", 1), ("old", 1), ("new", 0), ("new", 1)]) == [0, 0, 1, 0, 0, 0]


@given(st.lists(st.tuples(st.sampled_from(["old", "new"]), st.integers(0, 1)), max_size=300), st.integers(1, 8))
def test_whom_a_result_meets_does_not_depend_on_what_it_says(results: list[tuple[str, int]], block: int) -> None:
    assert sum(pairs(block, results)) == sum(pairs(block, [(side, 1 - bad) for side, bad in results]))


def test_simulated_traffic_of_a_tenth() -> None:
    rng = np.random.default_rng(8)
    results = [("new" if place % 10 == 0 else "old", int(rng.random() < 0.2)) for place in range(20_000)]
    counts = pairs(8, results)
    assert sum(counts) > 1900  # nearly every result of the canary is used
    found = figures(counts)
    assert found.candidate == pytest.approx(0.2, abs=0.03)
    assert found.control == pytest.approx(0.2, abs=0.02)


# -- decisions ---------------------------------------------------------------------------------------------------------

RULE = Rule(control=1, candidate=2, since=5, budget=0.1, block=1)


def test_every_metric_must_be_good_and_any_may_be_bad() -> None:
    good, bad = [5000, 0, 0, 0], [50, 0, 50, 0]
    assert verdict(RULE, {}).decision == "wait"
    assert verdict(RULE, {"error": good}).decision == "wait"  # nothing is known of its latency
    assert verdict(RULE, {"error": good, "latency": good}).decision == "promote"
    found = verdict(RULE, {"error": good, "latency": bad})
    assert found.decision == "rollback"
    assert "latency 0.5 against 0 in 100 pairs" in found.why
    assert verdict(RULE, {"error": good, "latency": good, "label": bad}).decision == "promote"  # not judged


def test_processes_add_up() -> None:
    meters = [Meter(), Meter()]
    for meter in meters:
        for cell in (0, 0, 3):
            meter.paired("m", 5, "error", cell, 4)
        meter.paired("m", 4, "error", 1, 4)  # another canary
    counts = merged(meter.snapshot() for meter in meters)
    assert of(counts.pairs, "m", RULE) == {"error": [4, 0, 0, 2]}
