"""The cap finds the largest batch that keeps the target, from below and from above."""

from __future__ import annotations

import random

import pytest

from setsail.scheduling import Ticket
from setsail.scheduling.limiter import Limiter


def batch(rows: int, waited: float) -> list[Ticket]:
    return [Ticket(1, 0, "k", -waited * number / rows) for number in range(rows)]


@pytest.mark.parametrize("start", [1, 200])
def test_it_settles_where_wait_and_run_together_keep_the_target(start):
    limiter = Limiter(0.050, start)
    noise = random.Random(3)
    late = requests = 0
    caps = []
    for turn in range(6000):
        rows = limiter.cap
        seconds = (0.002 + 0.0005 * rows) * noise.uniform(0.9, 1.1)
        limiter.ran(batch(rows, seconds), rows, seconds, 0.0)
        if turn > 1000:
            caps.append(rows)
            late += sum(seconds * number / rows + seconds > 0.050 for number in range(rows))
            requests += rows
    assert 30 <= sum(caps) / len(caps) <= 46  # two runs of 46 rows are 50 ms
    assert late / requests < 0.03


def test_a_long_queue_is_not_the_fault_of_large_batches():
    limiter = Limiter(0.050, 20)
    for _ in range(300):
        limiter.ran(batch(20, waited=10.0), 20, 0.010, 0.0)
    assert limiter.cap >= 20


def test_a_cap_that_is_never_reached_does_not_grow():
    limiter = Limiter(1.0, 20)
    for _ in range(1000):
        limiter.ran(batch(3, 0.0), 3, 0.001, 0.0)
    assert limiter.cap == 20


def test_a_hiccup_of_the_machine_now_and_then_does_not_keep_it_down():
    limiter = Limiter(0.010, 20)
    for number in range(2000):
        rows = limiter.cap
        limiter.ran(batch(rows, 0.0), rows, 0.020 if number % 100 == 0 else 0.001, 0.0)
    assert limiter.cap > 20


def test_the_cap_stays_within_its_bounds():
    limiter = Limiter(0.001, 5, most=8)
    for _ in range(500):
        limiter.ran(batch(5, 0.0), 8, 0.0001, 0.0)
    assert limiter.cap == 8
    for _ in range(500):
        limiter.ran(batch(5, 0.0), 8, 1.0, 0.0)
    assert limiter.cap == 1
