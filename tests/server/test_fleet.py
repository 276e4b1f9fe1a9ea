"""Several workers as one: what they say, merged; asked through bytes as over a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel

from setsail.catalog import (
    Index,
    IsLive,
    IsReady,
    Load,
    Metadata,
    Statistics,
    Status,
    Unload,
    VersionStatistics,
    VersionStatus,
)
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.monitor.meter import Meter
from setsail.monitor.statistics import statistics
from setsail.server.channel import SNAPSHOT, Answer, Fault
from setsail.server.counts import encoded
from setsail.server.fleet import Everywhere, Fleet, merged_statuses, predict
from setsail.server.questions import decode, encode_answer
from setsail.signature import Signature, TensorSpec

SPEC = Signature((TensorSpec.parse("x:float64[N]"),), (TensorSpec.parse("y:float64[N]"),), ("y",))


def double(name: str = "double", state: str = "ready") -> FakeModel:
    return FakeModel(name, SPEC, lambda arrays: {"y": arrays["x"] * 2}, {"x": 1.5}, state=state)


class Circle:
    """Houses asked as a supervisor has them asked."""

    def __init__(self, *houses: Any) -> None:
        self.houses = houses

    def __call__(self, kind: str, body: bytes = b"", name: str = "", one: bool = False) -> tuple[Answer, ...]:
        return tuple(self.ask(house, kind, body) for house in self.houses[: 1 if one else None])

    def ask(self, house: Any, kind: str, body: bytes) -> Answer:
        try:
            return Answer(1, encode_answer(kind, house.answer(decode(kind, body), control=True)))
        except SetsailError as fault:
            return Answer(1, fault=Fault.of(fault))


def status(version: int, state: str = "ready", **more: Any) -> VersionStatus:
    return VersionStatus("m", version, state, **more)


@pytest.mark.parametrize(
    ("states", "merged"),
    [
        (("ready", "ready"), "ready"),
        (("ready", "loading"), "loading"),
        (("ready", "failed"), "failed"),
        (("ready", "draining"), "draining"),
        (("warming", "loading"), "loading"),
        (("gone", "gone"), "gone"),
        (("ready", None), "loading"),
        (("gone", None), "gone"),
    ],
)
def test_a_version_is_ready_when_it_is_ready_in_all(states: Sequence[str | None], merged: str) -> None:
    found = [[status(1, state)] if state is not None else [] for state in states]
    assert [s.state for s in merged_statuses(found)] == [merged]


def test_the_reason_of_a_failure_is_kept() -> None:
    (merged,) = merged_statuses([[status(1)], [status(1, "failed", reason="no memory")]])
    assert merged.reason == "no memory"
    assert not merged.default


def test_while_a_takeover_is_on_its_way_the_version_that_all_have_is_meant() -> None:
    ahead = [status(1), status(2, default=True)]
    behind = [status(1, default=True), status(2, "loading")]
    assert [s.default for s in merged_statuses([ahead, behind])] == [True, False]
    assert [s.default for s in merged_statuses([ahead, [status(1), status(2)]])] == [False, True]
    assert [s.default for s in merged_statuses([ahead, [status(1)]])] == [True, False]


def test_labels_are_those_that_all_have() -> None:
    (merged,) = merged_statuses([[status(1, labels=("a", "b"))], [status(1, labels=("b",))]])
    assert merged.labels == ("b",)


def test_a_fleet_answers_as_a_house_does() -> None:
    house = FakeHouse(double())
    fleet = Fleet(Circle(FakeHouse(double()), FakeHouse(double())))
    assert fleet.answer(IsLive()) is True
    assert fleet.answer(IsReady()) is True
    for ask in (Index(), Status(ModelRef("double")), Metadata(ModelRef("double"))):
        assert fleet.answer(ask) == house.answer(ask)
    response = fleet.answer(Request(ModelRef("double"), Rows([1.5, 2.0]), id="7"))
    assert response.outputs["y"].tolist() == [3.0, 4.0]
    assert (response.model, response.version, response.id, response.defaults) == ("double", 1, "7", ("y",))
    assert response.signature == SPEC
    assert predict(fleet, np.array([1.0, 2.0]), None).tolist() == [2.0, 4.0]


def test_one_that_is_not_ready_is_enough() -> None:
    fleet = Fleet(Circle(FakeHouse(double()), FakeHouse(double(state="loading"))))
    assert fleet.answer(IsReady()) is False
    assert fleet.answer(IsReady(ModelRef("double"))) is False
    assert [s.state for s in fleet.answer(Index())] == ["loading"]


def test_load_and_unload_go_to_all() -> None:
    houses = [FakeHouse(double()), FakeHouse(double())]
    fleet = Fleet(Circle(*houses))
    assert fleet.answer(Unload("double")) is None
    assert fleet.answer(Load("double")) is None
    assert [house.asks for house in houses] == [[Unload("double"), Load("double")]] * 2
    with pytest.raises(SetsailError) as caught:
        fleet.answer(Load("double"), control=False)
    assert caught.value.code == "control.refused"


def test_a_fault_of_one_is_the_answer() -> None:
    fleet = Fleet(Circle(FakeHouse(double()), FakeHouse()))
    with pytest.raises(SetsailError) as caught:
        fleet.answer(Load("double"))
    assert caught.value.code == "model.unknown"
    with pytest.raises(SetsailError) as caught:
        fleet.answer(Request(ModelRef("other"), Rows([1.0])))
    assert caught.value.code == "model.unknown"


def test_which_model_is_predicted_with() -> None:
    fleet = Fleet(Circle(FakeHouse(double(), double("other"))))
    with pytest.raises(SetsailError) as caught:
        predict(fleet, [1.0], None)
    assert caught.value.code == "model.unknown"
    assert caught.value.expected == "double, other"
    assert predict(fleet, np.array([1.0]), "other").tolist() == [2.0]


def test_a_worker_asks_all_only_what_concerns_all() -> None:
    own, others = FakeHouse(double()), FakeHouse(double())
    everywhere = Everywhere(own, Fleet(Circle(own, others)))
    everywhere.answer(Index(), control=False)
    everywhere.answer(Unload("double"), control=True)
    assert own.asks == [Index(), Unload("double")]
    assert others.asks == [Unload("double")]


def test_without_control_its_own_house_refuses() -> None:
    class Strict:
        def answer(self, ask: Any, *, control: bool) -> Any:
            assert not control
            raise SetsailError("control.refused", "not here")

    with pytest.raises(SetsailError) as caught:
        Everywhere(Strict(), Fleet(Circle())).answer(Load("double"), control=False)
    assert caught.value.code == "control.refused"


class Counting:
    """A house that has answered requests for one version, or has none."""

    def __init__(self, *rows: int) -> None:
        self.meter = Meter()
        for count in rows:
            self.meter.answered("m", 1, "plain", "ok", 0.5, count)

    def answer(self, ask: Statistics, *, control: bool) -> tuple[VersionStatistics, ...]:
        counts = self.meter.snapshot()
        if not counts.rows:
            raise SetsailError("model.unknown", "not here")
        return statistics(counts, [("m", 1)])


class CountingCircle(Circle):
    def ask(self, house: Any, kind: str, body: bytes) -> Answer:
        return Answer(1, encoded(house.meter)) if kind == SNAPSHOT else super().ask(house, kind, body)


def test_statistics_are_sums_over_those_that_have_the_model() -> None:
    (found,) = Fleet(CountingCircle(Counting(2, 3), Counting(), Counting(1))).answer(Statistics())
    assert (found.name, found.version, found.inferences, found.success.count) == ("m", 1, 6, 3)
    with pytest.raises(SetsailError) as caught:
        Fleet(CountingCircle(Counting())).answer(Statistics())
    assert caught.value.code == "model.unknown"
