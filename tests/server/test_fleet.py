"""Several workers as one: what they say, merged; asked through bytes as over a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel

from setsail.catalog import (
    Describe,
    Index,
    IsLive,
    IsReady,
    Load,
    Locate,
    Metadata,
    ModelDescription,
    Process,
    Register,
    Registered,
    Scale,
    Statistics,
    Status,
    Unload,
    Unregister,
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


class Managed:
    """A house that registers anything as version 3 of `m`, or cannot, and has `known` of it."""

    def __init__(self, pid: int, *known: str, code: str = "") -> None:
        self.pid, self.known, self.code, self.asks = pid, known, code, []

    def answer(self, ask: Any, *, control: bool) -> Any:
        self.asks.append(ask)
        match ask:
            case Locate():
                return Registered("m", 3, "/store/" + ask.url)
            case Register() if self.code:
                raise SetsailError(self.code, "not here")
            case Register():
                return Registered(ask.name, ask.version, "/store/" + ask.url)
            case Unregister():
                return False
            case Scale():
                return self.told(ask.version or 0, "ready")
            case Describe():
                return tuple(self.told(version + 1, state) for version, state in enumerate(self.known))

    def told(self, version: int, state: str) -> ModelDescription:
        processes = (Process(self.pid, 1.0, 9),) if state == "ready" else ()
        return ModelDescription("m", version, "f", state, framework="xgboost" if state == "ready" else "",
                                processes=processes)  # fmt: skip


def test_one_worker_says_what_a_file_is_and_all_register_just_that() -> None:
    houses = [Managed(1), Managed(2)]
    assert Fleet(Circle(*houses)).answer(Register("f")) == Registered("m", 3, "/store/f")
    assert [house.asks for house in houses] == [[Locate("f"), Register("f", "m", 3)], [Register("f", "m", 3)]]
    own, other = Managed(1), Managed(2)
    Everywhere(own, Fleet(Circle(own, other))).answer(Register("f"), control=True)
    assert (own.asks, other.asks) == ([Locate("f"), Register("f", "m", 3)], [Register("f", "m", 3)])


def test_a_registration_that_some_cannot_do_is_undone_by_all() -> None:
    houses = [Managed(1), Managed(2, code="model.failed")]
    with pytest.raises(SetsailError) as caught:
        Fleet(Circle(*houses)).answer(Register("f", "m", 3))
    assert caught.value.code == "model.failed"
    assert [house.asks[-1] for house in houses] == [Unregister("m", 3)] * 2


def test_a_registration_that_nobody_can_do_leaves_what_is_there() -> None:
    houses = [Managed(1, code="model.exists"), Managed(2, code="model.exists")]
    with pytest.raises(SetsailError) as caught:
        Fleet(Circle(*houses)).answer(Register("f", "m", 3))
    assert caught.value.code == "model.exists"
    assert Unregister("m", 3) not in houses[0].asks


def test_a_description_lists_the_processes_of_all_and_the_worst_state() -> None:
    fleet = Fleet(Circle(Managed(1, "ready", "ready"), Managed(2, "ready", "loading"), Managed(3, "ready")))
    one, two = fleet.answer(Describe("m"))
    assert (one.state, [p.pid for p in one.processes], one.framework) == ("ready", [1, 2, 3], "xgboost")
    assert (two.state, [p.pid for p in two.processes], two.framework) == ("loading", [1], "xgboost")


def test_a_version_is_scaled_by_its_number_in_all() -> None:
    houses = [Managed(1, "ready", "parked"), Managed(2, "ready", "parked")]
    told = Fleet(Circle(*houses)).answer(Scale("m"))
    assert (told.version, [p.pid for p in told.processes]) == (1, [1, 2])
    assert [house.asks[-1] for house in houses] == [Scale("m", 1)] * 2


def test_management_without_control_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        Fleet(Circle()).answer(Register("f"), control=False)
    assert caught.value.code == "control.refused"


def test_a_default_that_all_have_set_is_told_though_it_is_not_ready() -> None:
    pinned = [status(1), status(2, "parked", default=True)]
    assert [s.default for s in merged_statuses([pinned, pinned])] == [False, True]


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
