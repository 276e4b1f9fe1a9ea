"""How patient a supervisor is with a slot. What a worker process does is in `test_supervisor.py`."""

from __future__ import annotations

from setsail.server.hands import Patience


def test_a_death_after_a_steady_life_is_answered_at_once() -> None:
    patience = Patience()
    assert [patience.died(3600.0) for _ in range(50)] == [0.0] * 50


def test_deaths_in_a_row_wait_ever_longer_and_end() -> None:
    patience = Patience()
    waits = [patience.died(0.0) for _ in range(9)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, None]


def test_a_steady_life_between_forgives() -> None:
    patience = Patience()
    for _ in range(8):
        patience.died(1.0)
    assert patience.died(10.0) == 0.0
    assert patience.died(1.0) == 0.1
