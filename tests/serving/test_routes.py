"""Routes as arithmetic: shares, stickiness, how little a change moves, and what may follow what."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.routing import KEPT, SLOTS, Reroute, Route, Routing, Rule, Sticky, cut, shares
from setsail.serving.routes import Picker, rerouted

WEIGHTS = st.dictionaries(st.integers(1, 6), st.integers(0, 100), min_size=1).filter(lambda w: sum(w.values()) > 0)


def picker(weights: dict[int, float], ready: Any = (1, 2, 3, 4, 5, 6)) -> Picker:
    return Picker("m", Route(cut(weights)), ready, start=0.0)


def changed(now: Routing, action: str, **given: Any) -> Routing:
    ready = given.pop("ready", (1, 2, 3))
    return rerouted(now, Reroute("m", action, **given), known=(1, 2, 3), ready=ready, default=3, when=1.5)


def code(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        call(*arguments, **named)
    return caught.value.code


# -- the circle --------------------------------------------------------------------------------------------------------


@given(WEIGHTS)
def test_shares_are_the_weights(weights: dict[int, float]) -> None:
    found, total = shares(cut(weights)), sum(weights.values())
    assert sum(found.values()) == SLOTS
    assert {v for v, w in weights.items() if w} == set(found)
    for version, slots in found.items():
        assert abs(slots / SLOTS - weights[version] / total) <= len(weights) / SLOTS


@given(WEIGHTS, WEIGHTS)
def test_a_change_moves_only_what_must_move(before: dict[int, float], after: dict[int, float]) -> None:
    old, new = cut(before), cut(after, cut(before))
    lost = sum(max(0, slots - shares(new).get(version, 0)) for version, slots in shares(old).items())
    assert sum(a != b for a, b in zip(slots_of(old), slots_of(new), strict=True)) == lost


def slots_of(spans: Any) -> list[int]:
    found: list[int] = []
    for end, version in spans:
        found += [version] * (end - len(found))
    return found


def test_a_version_of_next_to_nothing_has_a_slot() -> None:
    assert shares(cut({1: 1e9, 2: 1.0, 3: 1.0})) == {1: SLOTS - 2, 2: 1, 3: 1}


# -- choosing ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 99))
def test_requests_without_a_key_are_spread_evenly(percent: int) -> None:
    route = picker({1: 100 - percent, 2: percent})
    second = 0
    for number in range(1, 400):
        second += route.choose() == 2
        assert abs(second - number * percent / 100) < 4  # chance alone would be off by 10 now and then


def test_a_key_stays_and_only_the_share_that_must_moves() -> None:
    keys = [f"client {number}" for number in range(4000)]
    before = Picker("m", Route(cut({1: 90, 2: 10})), (1, 2))
    after = Picker("m", Route(cut({1: 70, 2: 30}, before.route.spans)), (1, 2))
    first, then = [before.choose(key) for key in keys], [after.choose(key) for key in keys]
    assert first == [before.choose(key) for key in keys]
    assert Counter(first)[2] / len(keys) == pytest.approx(0.1, abs=0.02)
    moved = [(a, b) for a, b in zip(first, then, strict=True) if a != b]
    assert set(moved) == {(1, 2)}
    assert len(moved) / len(keys) == pytest.approx(0.2, abs=0.02)


def test_models_have_different_first_clients() -> None:
    keys = [str(number) for number in range(2000)]
    route = Route(cut({1: 90, 2: 10}))
    one, other = ({key for key in keys if Picker(name, route, (1, 2)).choose(key) == 2} for name in ("a", "b"))
    assert len(one & other) < 60  # a tenth of a tenth is 20


@pytest.mark.parametrize("sticky", [True, False])
def test_the_share_of_one_that_is_away_goes_to_the_others(sticky: bool) -> None:
    route = Route(cut({1: 50, 2: 25, 3: 25}))
    whole, without = (Picker("m", route, ready, start=0.0) for ready in ((1, 2, 3), (2, 3)))
    keys = [f"k{n}" if sticky else None for n in range(4000)]
    first, then = [whole.choose(key) for key in keys], [without.choose(key) for key in keys]
    assert all(a == b for a, b in zip(first, then, strict=True) if a != 1)
    assert Counter(then)[2] / len(keys) == pytest.approx(0.5, abs=0.03)
    assert Picker("m", route, ()).choose("k") is None
    assert (whole.main, without.main) == (1, 3)


# -- changes -----------------------------------------------------------------------------------------------------------


def test_a_route_and_back_again() -> None:
    one = changed(Routing(), "route", weights={1: 90, 2: 10}, sticky=Sticky("header", "User"), who="me", why="try")
    two = changed(one, "route", weights={1: 50, 2: 50})
    assert str(two.route) == "v1=50 v2=50 sticky header:user"
    back = changed(two, "rollback")
    assert back.route == one.route
    assert (back.revision, back.changes[-1].before, back.changes[0].who, back.changes[0].why) == (3, 0, "me", "try")
    start = changed(back, "rollback")
    assert start.route is None
    assert code(changed, start, "rollback") == "route.nothing"
    assert code(changed, Routing(), "rollback") == "route.nothing"


def test_what_is_ended_comes_back() -> None:
    one = changed(Routing(), "promote", version=2)
    assert str(one.route) == "v2=100"
    assert changed(changed(one, "clear"), "rollback").route == one.route


def test_a_canary_has_a_control_and_a_block() -> None:
    one = changed(Routing(), "canary", version=2, percent=10.0, budget=0.1)
    assert one.route is not None
    assert one.route.canary == Rule(3, 2, 1500, budget=0.1, block=8)
    assert one.route.shares == {3: 9000, 2: 1000}
    assert str(changed(one, "promote").route) == "v2=100"
    assert changed(one, "rollback").route is None
    half = changed(one, "canary", percent=50.0)
    assert half.route is not None
    assert half.route.canary is not None
    assert (half.route.canary.candidate, half.route.canary.block) == (2, 1)


def test_a_shadow_answers_nobody() -> None:
    one = changed(Routing(), "shadow", version=2)
    assert str(one.route) == "v3=100 shadow v2"
    assert str(changed(one, "route", weights={1: 1}).route) == "v1=100 shadow v2"
    assert str(changed(one, "route", weights={2: 1}).route) == "v2=100"
    assert str(changed(one, "shadow").route) == "v3=100"
    assert code(changed, one, "shadow", version=3) == "route.value"


@pytest.mark.parametrize(
    ("action", "given", "expected"),
    [
        ("route", {}, "route.value"),
        ("route", {"weights": {1: 0}}, "route.value"),
        ("route", {"weights": {1: -1, 2: 2}}, "route.value"),
        ("route", {"weights": {1: float("nan")}}, "route.value"),
        ("route", {"weights": {1: 1}, "sticky": Sticky("cookie", "a")}, "route.value"),
        ("route", {"weights": {1: 1, 9: 1}}, "model.version"),
        ("route", {"weights": {1: 1, 2: 1}, "ready": (1, 3)}, "model.not_ready"),
        ("route", {"weights": {1: 1}, "after": 7}, "route.conflict"),
        ("canary", {"version": 3}, "route.value"),
        ("canary", {"version": 2, "percent": 100.0}, "route.value"),
        ("canary", {"version": 2, "alpha": 0.0}, "route.value"),
        ("canary", {"version": 2, "budget": -1.0}, "route.value"),
        ("promote", {}, "route.nothing"),
        ("dance", {}, "route.value"),
    ],
)
def test_what_no_route_can_be_made_of(action: str, given: dict[str, Any], expected: str) -> None:
    assert code(changed, Routing(), action, **given) == expected


def test_the_history_does_not_grow_for_ever() -> None:
    now = Routing()
    for number in range(KEPT * 2):
        now = changed(now, "route", weights={1: 1 + number % 5, 2: 1})
    assert len(now.changes) == KEPT
    assert code(go_back, now, KEPT) == "route.nothing"  # what was before the oldest is forgotten


def go_back(now: Routing, times: int) -> None:
    for _ in range(times):
        now = changed(now, "rollback")
