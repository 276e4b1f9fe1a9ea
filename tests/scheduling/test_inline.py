"""Trust in a model's run times: earned slowly, lost at once, not lost by one hiccup of the machine."""

from __future__ import annotations

from math import inf

from setsail.scheduling.inline import Trust, Turn

LIMIT = 0.0005


def ran(trust: Trust, *seconds: float) -> bool:
    for one in seconds:
        trust.ran(trust.held, 0.0002, one)
    return trust.held


def test_a_measured_quick_model_is_trusted_from_the_start_others_are_not():
    assert Trust(LIMIT, 0.0003).held
    assert not Trust(LIMIT, 0.0004).held  # under the limit, but not clearly
    assert not Trust(LIMIT, inf).held


def test_quick_runs_in_a_row_earn_it():
    trust = Trust(LIMIT, inf)
    assert not ran(trust, *[0.0002] * 7, 0.001, *[0.0002] * 7)
    assert ran(trust, 0.0002)


def test_large_batches_that_are_slow_as_predicted_prove_nothing_either_way():
    trust = Trust(LIMIT, inf)
    for _ in range(8):
        trust.ran(False, 0.003, 0.003)
        trust.ran(False, 0.0002, 0.0002)
    assert trust.held


def test_one_run_that_no_preemption_explains_ends_it():
    assert not ran(Trust(LIMIT, 0.0001), 26 * LIMIT)


def test_two_runs_far_beyond_the_limit_end_it():
    trust = Trust(LIMIT, 0.0001)
    assert ran(trust, 4.1 * LIMIT)
    assert not ran(trust, 4.1 * LIMIT)


def test_a_slow_run_now_and_then_does_not():
    trust = Trust(LIMIT, 0.0001)
    for _ in range(100):
        assert ran(trust, *[0.0002] * 20, 0.001)


def test_slow_runs_close_together_do():
    assert not ran(Trust(LIMIT, 0.0001), 0.001, 0.0002, 0.001, 0.0002, 0.001, 0.001)


def test_each_loss_asks_for_more_proofs_and_calm_for_fewer():
    trust = Trust(LIMIT, 0.0001)
    asked = []
    for _ in range(3):
        ran(trust, 1.0)
        asked.append(trust.asked)
        while not ran(trust, 0.0002):
            pass
    assert asked == [16, 32, 64]
    ran(trust, *[0.0002] * 3 * 4096)
    assert trust.asked == 8


def test_a_turn_begins_with_a_new_number_only():
    turn = Turn()
    turn.begin(1)
    turn.spent = 0.5
    turn.begin(1)
    assert turn.spent == 0.5
    turn.begin(2)
    assert turn.spent == 0.0
