"""A turn of the loop, with a loop that is a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from setsail.serving.turns import Turns


class Loop:
    """Calls back when told to, not when time passes."""

    def __init__(self) -> None:
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.later: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.soon.append((callback, args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        self.later.append((delay, callback, args))

    def turn(self) -> None:
        ready, self.soon = self.soon, []
        for callback, args in ready:
            callback(*args)


class Line:
    def __init__(self, fails: bool = False) -> None:
        self.pumps = 0
        self.fails = fails

    def pump(self, now: float) -> None:
        self.pumps += 1
        if self.fails:
            raise RuntimeError("boom")


def test_a_lone_request_runs_at_once() -> None:
    loop = Loop()
    turns, line = Turns(loop), Line()
    for turn in range(1, 4):
        turns.note(line)
        assert line.pumps == turn
        loop.turn()


def test_what_comes_in_one_turn_is_pumped_once_at_its_end() -> None:
    loop = Loop()
    turns, line = Turns(loop), Line()
    turns.note(line)
    turns.note(line)
    turns.note(line)
    assert line.pumps == 1  # the first, when nothing said yet that more would come
    loop.turn()
    assert line.pumps == 2
    for _ in range(3):  # the last turn was busy, so this one waits for its end
        turns.note(line)
    assert line.pumps == 2
    loop.turn()
    assert line.pumps == 3


def test_every_line_of_a_turn_is_pumped_though_one_fails() -> None:
    loop = Loop()
    turns = Turns(loop)
    bad, good = Line(fails=True), Line()
    turns.note(bad)
    turns.note(bad)
    turns.note(good)
    loop.turn()
    assert (bad.pumps, good.pumps) == (2, 1)


def test_a_new_turn_has_a_new_number() -> None:
    loop = Loop()
    turns = Turns(loop)
    before = turns.number
    turns.note(Line())
    loop.turn()
    assert turns.number > before


def test_a_timer_pumps_later() -> None:
    loop = Loop()
    turns, line = Turns(loop), Line()
    turns.later(0.002, line)
    ((delay, callback, args),) = loop.later
    callback(*args)
    assert (delay, line.pumps) == (0.002, 1)
