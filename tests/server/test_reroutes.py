"""Routes of several processes: decided once, the same in all of them, and judged by the counts of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakehouse import FakeModel
from furnished import furnish

from setsail.catalog import SetDefault
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.monitor.meter import Meter, Snapshot
from setsail.routing import Change, PutRoute, Reroute, Route, Routed, Routes, Routing, Rule, Sticky, cut
from setsail.server.channel import Answer, Fault
from setsail.server.fleet import Everywhere, Fleet
from setsail.server.questions import decode, decode_answer, encode, encode_answer, subject
from setsail.server.verdicts import Judge, decided
from setsail.serving.house import House
from setsail.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec.parse("x:float64[N]"),), (TensorSpec.parse("y:float64[N]"),), ("y",))
RULE = Rule(control=1, candidate=2, since=5)


def house(*versions: int) -> House:
    made = House()
    for version in versions:

        def run(arrays: Any, version: int = version) -> Any:
            return {"y": arrays["x"] + version}

        furnish(made, FakeModel("m", SIGNATURE, run, {"x": 1.0}, version))
    return made


class Circle:
    """Houses asked as a supervisor has them asked; questions are kept."""

    def __init__(self, *houses: House) -> None:
        self.houses = list(houses)
        self.asked: list[tuple[str, bytes]] = []

    def __call__(self, kind: str, body: bytes = b"", name: str = "", one: bool = False) -> tuple[Answer, ...]:
        self.asked.append((kind, body))
        return tuple(self.ask(house, kind, body) for house in self.houses[: 1 if one else None])

    def ask(self, house: Any, kind: str, body: bytes) -> Answer:
        try:
            return Answer(1, encode_answer(kind, house.answer(decode(kind, body), control=True)))
        except SetsailError as fault:
            return Answer(1, fault=Fault.of(fault))


def routing(at: House) -> Routing:
    return at.table.models["m"].routing


def test_a_route_travels() -> None:
    change = Change(3, "canary", Route(cut({1: 9, 2: 1}), Sticky("header", "user"), (4,), RULE), 1.5, "me", "why", 2)
    ask = PutRoute("m", Routing((change,)))
    assert decode(*encode(ask)) == ask
    told = Routed("m", ask.routing, (1, 2), 1)
    assert decode_answer("PutRoute", encode_answer("PutRoute", told)) == told
    assert decode_answer("Routes", encode_answer("Routes", (told,))) == (told,)
    assert decode(*encode(Routes("m"))) == Routes("m")
    assert (subject(ask), subject(Routes("m"))) == ("m", "")


def test_all_have_the_same_route_and_a_late_one_takes_it_over() -> None:
    circle = Circle(house(1, 2), house(1, 2))
    fleet = Fleet(circle)
    fleet.answer(Reroute("m", "route", {1: 90, 2: 10}))
    told = fleet.answer(Reroute("m", "promote", version=2, why="good"))
    assert [routing(one) == told.routing for one in circle.houses] == [True, True]
    late = house(1, 2)
    late.answer(decode(*circle.asked[-1]))  # what a worker that starts does again
    circle.houses.append(late)
    told = fleet.answer(Reroute("m", "rollback"))
    assert str(told.routing.route) == "v1=90 v2=10"
    assert [routing(one) == told.routing for one in circle.houses] == [True, True, True]


def test_of_two_changes_at_the_same_time_one_is_refused() -> None:
    one = house(1, 2)
    first, second = (PutRoute("m", Routing((Change(1, "route", Route(cut({v: 1})), float(v)),))) for v in (1, 2))
    one.answer(first)
    one.answer(first)  # the same once more is nothing
    with pytest.raises(SetsailError) as caught:
        one.answer(second)
    assert caught.value.code == "route.conflict"
    assert routing(one) == first.routing


def test_who_missed_a_change_catches_up() -> None:
    one, other = house(1, 2), house(1, 2)
    one.answer(Reroute("m", "promote", version=1))
    other.answer(PutRoute("m", routing(one)))
    one.answer(Reroute("m", "promote", version=2))
    one.answer(Reroute("m", "rollback"))
    other.answer(PutRoute("m", routing(one)))
    assert routing(other) == routing(one)


def test_who_missed_more_than_is_remembered_catches_up() -> None:
    one, other = house(1, 2), house(1, 2)
    for version in (1, 2):
        one.answer(Reroute("m", "promote", version=version))
    other.answer(PutRoute("m", Routing(routing(one).changes[:1])))
    other.answer(PutRoute("m", Routing((Change(40, "route", Route(cut({2: 1})), 9.0),))))
    assert routing(other).revision == 40


def test_a_worker_asks_for_all() -> None:
    circle = Circle(house(1, 2), house(1, 2))
    everywhere = Everywhere(circle.houses[0], Fleet(circle))
    everywhere.answer(Reroute("m", "promote", version=1), control=True)
    assert [str(routing(one).route) for one in circle.houses] == ["v1=100", "v1=100"]
    with pytest.raises(SetsailError) as caught:
        everywhere.answer(Reroute("m", "promote", version=2), control=False)
    assert caught.value.code == "control.refused"


def test_a_version_that_one_lacks_is_not_routed_to() -> None:
    with pytest.raises(SetsailError) as caught:
        Fleet(Circle(house(1, 2), house(1))).answer(Reroute("m", "promote", version=2))
    assert caught.value.code == "model.not_ready"


def test_a_default_cannot_be_set_beside_a_route() -> None:
    one = house(1, 2)
    one._sources["m", 1] = one._sources["m", 2] = one  # type: ignore[assignment]  # known, whatever from
    one.answer(Reroute("m", "promote", version=1))
    with pytest.raises(SetsailError) as caught:
        one.answer(SetDefault("m", 2))
    assert caught.value.code == "route.conflict"


def test_a_notebook_goes_by_the_route_too() -> None:
    one = house(1, 2)
    one.answer(Reroute("m", "route", {1: 50, 2: 50}))
    told = {one.predict(Request(ModelRef("m"), Rows([1.0]))).version for _ in range(4)}
    assert told == {1, 2}
    one.answer(Reroute("m", "canary", version=1))
    assert np.allclose(one.predict(Request(ModelRef("m", 2), Rows([1.0]))).outputs["y"], 3.0)


# -- judging -----------------------------------------------------------------------------------------------------------


def counts(*cells: int) -> Snapshot:
    return Snapshot(pairs={("m", 5, "error"): list(cells)})


def canary(rule: Rule = RULE) -> Routed:
    return Routed("m", Routing((Change(7, "canary", Route(cut({1: 9, 2: 1}), canary=rule), 1.0),)), (1, 2))


def test_what_follows_from_a_verdict() -> None:
    assert decided(canary(), counts(10, 0, 0, 0))[1] is None
    back = decided(canary(), counts(50, 0, 50, 0))[1]
    assert back is not None
    assert (back.action, back.version, back.after, back.who) == ("rollback", 1, 7, "canary")
    on = decided(canary(), counts(5000, 0, 0, 0))[1]
    assert on is not None
    assert (on.action, on.version) == ("promote", 2)
    told, ask = decided(canary(Rule(1, 2, 5, automatic=False)), counts(5000, 0, 0, 0))
    assert told is not None
    assert (told.decision, ask) == ("promote", None)
    assert decided(Routed("m", Routing()), counts(1, 0, 0, 0)) == (None, None)


def test_the_judge_adds_up_all_and_says_when_there_is_nothing_to_judge() -> None:
    one, meter = house(1, 2), Meter()
    judge = Judge(one, meter)
    assert not judge.look()
    route = one.answer(Reroute("m", "canary", version=1, percent=50, who="me")).routing.route
    for _ in range(60):
        meter.paired("m", route.canary.since, "error", 2, 4)
    assert judge.look()
    assert routing(one).changes[-1].what == "rollback"
    assert str(routing(one).route) == "v2=100"
    assert not judge.look()


def test_a_decision_about_a_route_that_has_changed_is_not_done(caplog: pytest.LogCaptureFixture) -> None:
    one = house(1, 2)
    judge = Judge(one, Meter())
    judge._do(Reroute("m", "promote", version=1, after=3))
    assert routing(one).route is None
    assert "route.conflict" in caplog.text
