"""The measurement as a whole, against servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec as real_find_spec
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from toy_server import Answering, reply, toy

from setsail.errors import SetsailError
from setsail.loadtest import bench
from setsail.loadtest.bench import Plan, measure
from setsail.loadtest.inputs import Inputs, made_up
from setsail.loadtest.report import Phase, Report
from setsail.loadtest.subject import Subject
from setsail.loadtest.targets import place
from setsail.signature import Signature, TensorSpec

TABLE = Signature((TensorSpec.parse("x:float32[N,2]"),), (TensorSpec.parse("y:float32[N]"),), ("y",))
WHOLE = Signature((TensorSpec.parse("x:float32[2]"),), (TensorSpec.parse("y:float32[1]"),), ("y",))


class Watcher:
    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, title: str) -> None:
        self.phases.append(title)

    def update(self, fraction: float, rows: int) -> None:
        assert 0 <= fraction <= 1

    def done(self, phase: Phase) -> None:
        assert phase.seconds > 0


def body(value: float) -> bytes:
    return json.dumps({"outputs": [{"name": "y", "data": [value]}]}).encode()


def measured(answering: Answering, plan: Plan, signature: Signature = TABLE, inputs: Inputs | None = None) -> Report:
    with toy(answering) as port:
        where = place(f"http://127.0.0.1:{port}", "m")
        return measure(Subject(where, signature, inputs or made_up(signature)), plan, Watcher())


def steady(n: int, head: str, sent: bytes) -> tuple[bytes, float]:
    return reply(body(0.5)), 0.002


QUICK = Plan(clients=(1, 2), seconds=0.2)
ONE = Plan(clients=(1,), seconds=0.2, modes=("closed",))
FEW = Inputs({"x": np.zeros((2, 2), np.float32)}, 2, "two rows")


def test_all_modes_in_turn() -> None:
    report = measured(steady, QUICK)
    kinds = [phase.kind for phase in report.phases]
    assert kinds == ["closed", "closed", *["open"] * kinds.count("open"), "offline"]
    assert kinds.count("open") >= 3
    assert report.target is not None
    assert report.target >= 0.005
    assert report.phases[-1].rows == 128
    assert report.unequal == 0
    assert report.phases[0].server_cpu is None  # not ours to see
    assert json.loads(json.dumps(report.to_json()))["model"] == "m"


def test_a_given_rate_and_target() -> None:
    report = measured(steady, Plan(seconds=0.3, modes=("open",), rate=50.0, target=0.5))
    (phase,) = report.phases
    assert (phase.offered, phase.kept, report.best_rate) == (50.0, True, 50.0)
    missed = measured(steady, Plan(seconds=0.3, modes=("open",), rate=50.0, target=0.001))
    assert missed.best_rate == 0.0
    assert any("no open-loop rate" in note for note in missed.notes)


def test_without_a_batch_dimension_nothing_is_offline() -> None:
    report = measured(steady, Plan(clients=(1,), seconds=0.1, modes=("closed", "offline")), WHOLE)
    assert [phase.kind for phase in report.phases] == ["closed"]
    assert any("batch dimension" in note for note in report.notes)


@pytest.mark.parametrize(
    ("answering", "says"),
    [
        (lambda n, head, sent: (reply(b'{"error":"no such input"}', "400 Bad"), 0.0), "no such input"),
        (lambda n, head, sent: (reply(b"<html>"), 0.0), "not one of this wire"),
        (lambda n, head, sent: (reply(body(float(n))), 0.0), "differently"),
    ],
    ids=["refused", "another language", "by chance"],
)
def test_answers_not_worth_measuring(answering: Answering, says: str) -> None:
    with pytest.raises(SetsailError) as caught:
        measured(answering, ONE, inputs=FEW)
    assert caught.value.code == "bench.answers"
    assert says in str(caught.value)


def test_answers_that_change_later_are_counted() -> None:
    report = measured(lambda n, head, sent: (reply(body(0.5 if n < 20 else 0.7)), 0.001), ONE, inputs=FEW)
    assert report.unequal > 0
    assert any("do not agree" in note for note in report.notes)
    near = measured(lambda n, head, sent: (reply(body(0.5 if n < 20 else 0.5001)), 0.001), ONE, inputs=FEW)
    assert near.unequal == 0


def test_nobody_there() -> None:
    with toy(steady) as port:
        pass
    subject = Subject(place(f"http://127.0.0.1:{port}", "m"), TABLE, made_up(TABLE))
    with pytest.raises(SetsailError) as caught:
        measure(subject, ONE, Watcher())
    assert caught.value.code == "bench.target"


def test_grpc_without_grpcio(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: Callable[[str], Any] = lambda name: None if name == "grpc" else real_find_spec(name)  # noqa: E731
    monkeypatch.setattr(bench, "find_spec", hidden)
    with pytest.raises(SetsailError) as caught:
        measure(Subject(place("http://h", "m"), TABLE, made_up(TABLE)), Plan(wire="grpc"), Watcher())
    assert caught.value.code == "dependency.missing"
    assert caught.value.facts["command"] == 'pip install "setsail[grpcio]"'
    assert caught.value.kind.exit == 3


def test_a_client_that_is_the_bottleneck_says_so() -> None:
    found = measured(steady, ONE, inputs=FEW)
    slow, starved = (replace(found.phases[0], **{name: 0.95}) for name in ("client_cpu", "client_wait"))
    notes = bench.notes(Report(found.about, [slow]), None)
    assert any("the client was the bottleneck (closed 1: up to 95% of a core)" in note for note in notes)
    assert any("wait for a core up to 95%" in note for note in bench.notes(Report(found.about, [starved]), None))
    assert bench.notes(Report(found.about, [replace(found.phases[0], client_cpu=0.3, client_wait=0.0)]), None) == []
