"""Being woken in time."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from setsail.loadtest.alarm import Alarm


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("delay", [-1.0, 0.0, 0.0123])
def test_it_rings_once_and_not_too_early(exact: bool, delay: float) -> None:
    async def rung() -> list[float]:
        rings: list[float] = []
        alarm = Alarm(asyncio.get_running_loop(), lambda: rings.append(perf_counter()), exact=exact)
        due = perf_counter() + delay
        alarm.set(perf_counter(), due)
        await asyncio.sleep(0.1)
        alarm.close()
        return [ring - due for ring in rings]

    (late,) = asyncio.run(rung())
    assert late > -0.001


def test_a_closed_one_does_not_ring() -> None:
    async def rung() -> list[int]:
        rings: list[int] = []
        for exact in (True, False):
            alarm = Alarm(asyncio.get_running_loop(), lambda: rings.append(1), exact=exact)
            alarm.set(perf_counter(), perf_counter() + 0.01)
            alarm.close()
        await asyncio.sleep(0.05)
        return rings

    assert asyncio.run(rung()) == []
