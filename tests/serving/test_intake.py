"""Requests of an event loop, with a loop that is a list: what runs together, where, and who hears of what."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response, Rows
from setsail.monitor.meter import Meter
from setsail.scheduling import Rules
from setsail.serving.intake import Intake
from setsail.serving.leases import Facts, Loaded, Other
from setsail.serving.table import Table
from setsail.serving.turns import Turns
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array

FLOAT = BY_NAME["float32"]
ONCE = {1: 2e-5, 2: 2e-5, 4: 2e-5, 8: 2e-5, 16: 2e-5, 32: 2e-5}
SLOW = {1: 0.01, 2: 0.011, 4: 0.012}


class Loop:
    """Turns when told to; other threads may call in."""

    def __init__(self) -> None:
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.came = threading.Event()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.soon.append((callback, args))

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self.call_soon(callback, *args)
        self.came.set()

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        raise AssertionError("no timers by default")

    def turn(self) -> None:
        ready, self.soon = self.soon, []
        for callback, args in ready:
            callback(*args)

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            assert self.came.wait(10), "the thread never called back"
            self.came.clear()
            self.turn()


class Doubler:
    """A model of one column that doubles it, and remembers how many rows each run had."""

    max_batch: int | None = None

    def __init__(self) -> None:
        self.signature = Signature((TensorSpec("x", FLOAT, ("N",)),), (TensorSpec("y", FLOAT, ("N",)),), ("y",))
        self.runs: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.gate.wait(10)
        x = inputs["x"]
        self.runs.append(len(x))
        self.threads.add(threading.current_thread().name)
        if np.any(x == 13):
            raise SetsailError("model.run", "the model does not like 13")
        return {"y": x * 2}

    def close(self) -> None: ...


class Stand:
    """One model behind an intake."""

    def __init__(self, ladder: Mapping[int, float] = ONCE, cache: int = 0, **rules: Any) -> None:
        self.model, self.loop, self.meter = Doubler(), Loop(), Meter()
        self.loaded = Loaded(self.model, Facts("fake 1", {}, "v", "", ladder=ladder, invariant=True))
        table = Table().queued("m", 1).moved("m", 1, "loading").moved("m", 1, "warming")
        self.table = table.moved("m", 1, "ready", loaded=self.loaded)
        self.intake = Intake(
            lambda: self.table, Turns(self.loop), rules=Rules(**rules), meter=self.meter, cache=lambda name: cache
        )
        self.answers: dict[int, Any] = {}

    def ask(self, number: int, rows: list[Any], deadline: float = inf) -> Any:
        def done(outcome: Response | BaseException) -> None:
            assert number not in self.answers, "answered twice"
            self.answers[number] = outcome.outputs["y"].tolist() if isinstance(outcome, Response) else outcome

        return self.intake.submit(Request(ModelRef("m"), Rows(rows), id=str(number)), done, deadline=deadline)

    def fault(self, number: int) -> str:
        assert isinstance(self.answers[number], SetsailError), self.answers[number]
        code: str = self.answers[number].code
        return code


def busy(stand: Stand) -> None:
    """Turns that brought several requests, so that the next one is waited for as well."""
    stand.ask(-1, [0.0])
    stand.ask(-2, [0.0])
    stand.loop.turn()
    stand.model.runs.clear()


def test_a_lone_request_is_answered_before_submit_returns() -> None:
    stand = Stand()
    stand.ask(1, [1.0])
    assert stand.answers == {1: [2.0]}


def test_requests_of_one_turn_share_a_run_and_get_their_own_rows() -> None:
    stand = Stand()
    busy(stand)
    for number in range(5):
        stand.ask(number, [float(number), 100.0 + number])
    stand.loop.turn()
    assert stand.model.runs == [10]
    assert {n: stand.answers[n] for n in range(5)} == {n: [2.0 * n, 200.0 + 2 * n] for n in range(5)}


class Asker:
    """A client's end as connections are one: it is told, and holds the ticket so that it may cancel."""

    ticket: Any = None

    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def __call__(self, outcome: Any) -> None:
        self.told.append(outcome)


@pytest.mark.parametrize(("ladder", "cancelled"), [(ONCE, False), (ONCE, True), (SLOW, False)])
def test_whoever_is_told_is_not_kept_by_what_was_asked(ladder: Mapping[int, float], cancelled: bool) -> None:
    """A ring of the two would keep every body in memory until the garbage collector comes round."""
    stand = Stand(ladder)
    if ladder is ONCE:
        busy(stand)
    told: list[Any] = []
    kept = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            asker = Asker(told)
            asker.ticket = stand.intake.submit(Request(ModelRef("m"), Rows([1.0])), asker)
            asker.ticket.cancelled = cancelled
            kept.append(weakref.ref(asker))
        del asker
        stand.loop.turn()
        if ladder is SLOW:
            stand.loop.until(lambda: len(told) == 3)
        assert [type(outcome) for outcome in told] == [SetsailError if cancelled else Response] * 3
        assert [ref() for ref in kept] == [None, None, None]
    finally:
        gc.enable()


def test_a_request_that_is_refused_leaves_its_neighbours_one_run() -> None:
    stand = Stand()
    busy(stand)
    for number, rows in enumerate(([1.0], ["one"], [3.0], [float("nan")])):
        stand.ask(number, rows)
    stand.loop.turn()
    assert (stand.answers[0], stand.answers[2]) == ([2.0], [6.0])
    assert (stand.fault(1), stand.fault(3)) == ("input.dtype", "input.nan")
    assert stand.model.runs == [2]


def test_a_run_that_fails_is_made_again_for_each_alone() -> None:
    stand = Stand()
    busy(stand)
    for number, value in enumerate((1.0, 13.0, 3.0)):
        stand.ask(number, [value])
    stand.loop.turn()
    assert (stand.answers[0], stand.answers[2]) == ([2.0], [6.0])
    assert stand.fault(1) == "model.run"
    assert stand.model.runs == [3, 1, 1, 1]


def test_a_slow_model_runs_on_a_thread_and_what_comes_meanwhile_is_its_next_batch() -> None:
    stand = Stand(SLOW)
    stand.model.gate.clear()
    for number in range(4):
        stand.ask(number, [float(number)])
        stand.loop.turn()
    assert stand.answers == {}
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 4)
    assert stand.answers == {n: [2.0 * n] for n in range(4)}
    assert stand.model.runs == [1, 3]
    assert stand.model.threads == {"setsail-run"}


def test_a_thread_takes_what_waits_though_the_loop_does_not_come_round() -> None:
    stand = Stand(SLOW)
    busy_thread(stand)
    gone = stand.ask(2, [2.0])
    stand.ask(3, [3.0])
    stand.ask(4, [4.0])
    stand.loop.turn()
    gone.cancelled = True
    stand.model.gate.set()
    while len(stand.model.runs) < 2:  # nobody turns the loop
        assert stand.loop.came.wait(10)
    assert stand.model.runs == [1, 2]
    stand.loop.until(lambda: len(stand.answers) == 4)
    assert (stand.answers[3], stand.answers[4], stand.fault(2)) == ([6.0], [8.0], "request.cancelled")
    assert stand.model.threads == {"setsail-run"}


def test_whoever_asks_while_a_thread_ends_its_run_sees_one_state_or_the_other() -> None:
    class Runs(list):  # type: ignore[type-arg]
        """A list from which the thread takes its run slowly."""

        taken = threading.Event()

        def remove(self, batch: Any) -> None:
            super().remove(batch)
            self.taken.set()
            time.sleep(0.05)

    stand = Stand(SLOW)
    busy_thread(stand)
    scheduler = stand.loaded.line.scheduler
    scheduler._runs = Runs(scheduler._runs)
    stand.model.gate.set()
    assert Runs.taken.wait(10)
    assert stand.intake.admit(ModelRef("m"), 10, time.perf_counter() + 5) is None
    stand.loop.until(lambda: 1 in stand.answers)


def busy_thread(stand: Stand) -> None:
    """A run that lasts until the gate is opened."""
    stand.model.gate.clear()
    stand.ask(1, [1.0])
    stand.loop.turn()


def test_a_cancelled_request_is_not_run() -> None:
    stand = Stand(SLOW)
    stand.model.gate.clear()
    stand.ask(1, [1.0])
    ticket = stand.ask(2, [2.0])
    ticket.cancelled = True
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 2)
    assert stand.fault(2) == "request.cancelled"
    assert stand.model.runs == [1]


def test_a_deadline_that_passes_while_waiting_is_told_though_the_lane_is_busy() -> None:
    stand = Stand(SLOW)
    stand.model.gate.clear()
    stand.ask(1, [1.0])
    stand.ask(2, [2.0], deadline=time.perf_counter() + 100)
    stand.loop.turn()
    stand.intake.tick(time.perf_counter() + 101)
    assert stand.fault(2) == "request.deadline"
    stand.model.gate.set()
    stand.loop.until(lambda: 1 in stand.answers)
    assert stand.intake.waiting() == 0


def test_a_full_queue_is_told_before_anything_is_decoded() -> None:
    stand = Stand(SLOW, queue_rows=2)
    stand.model.gate.clear()
    for number in range(3):
        assert stand.intake.admit(ModelRef("m"), 10) is None
        stand.ask(number, [1.0])
        stand.loop.turn()
    refusal = stand.intake.admit(ModelRef("m"), 10)
    assert refusal is not None
    assert refusal.code == "model.busy"
    assert refusal.facts["retry_after"] >= 1
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 3)


def test_a_full_queue_refuses_unread_what_no_other_signature_has_room_for() -> None:
    stand = Stand(SLOW, queue_rows=2)
    stand.model.gate.clear()
    stand.loaded.others["other"] = Other(stand.model, stand.loaded.facts, stand.loaded, "other")
    told: list[Any] = []

    def fill(signature: str) -> None:
        for _ in range(3):
            stand.intake.submit(Request(ModelRef("m"), Rows([1.0]), None, signature), told.append)
            stand.loop.turn()

    fill("serving_default")
    assert stand.intake.admit(ModelRef("m"), 10) is None
    fill("other")
    refusal = stand.intake.admit(ModelRef("m"), 10)
    assert refusal is not None
    assert refusal.code == "model.busy"
    stand.model.gate.set()
    stand.loop.until(lambda: len(told) == 6)


def test_a_version_ends_after_its_last_waiting_request() -> None:
    stand = Stand(SLOW)
    stand.model.gate.clear()
    ended = threading.Event()
    stand.ask(1, [1.0])
    stand.ask(2, [2.0])
    stand.loaded.retire(ended.set)
    assert not ended.is_set()
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 2)
    assert ended.is_set()


def test_an_unknown_model_is_told_at_once() -> None:
    stand = Stand()
    told: list[Any] = []
    stand.intake.submit(Request(ModelRef("other"), Rows([1.0])), told.append)
    assert told[0].code == "model.unknown"


# -- the response cache ------------------------------------------------------------------------------------------------


def test_an_equal_request_is_answered_from_memory() -> None:
    stand = Stand(cache=10_000)
    for number in range(3):
        stand.ask(number, [1.0, 2.0])
        stand.loop.turn()
    stand.ask(9, [1.0, 3.0])
    stand.loop.turn()
    assert stand.model.runs == [2, 2]
    assert stand.answers == {0: [2.0, 4.0], 1: [2.0, 4.0], 2: [2.0, 4.0], 9: [2.0, 6.0]}
    hits = {hit: told.count for (_, _, hit), told in stand.meter.snapshot().caches.items()}
    assert hits == {True: 2, False: 2}


def test_equal_requests_that_come_together_share_one_run() -> None:
    stand = Stand(SLOW, cache=10_000)
    stand.model.gate.clear()
    for number in range(4):
        stand.ask(number, [7.0])
        stand.loop.turn()
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 4)
    assert stand.model.runs == [1]
    assert set(map(tuple, stand.answers.values())) == {(14.0,)}


def test_a_failure_is_not_kept_and_whoever_waited_asks_anew() -> None:
    stand = Stand(SLOW, cache=10_000)
    stand.model.gate.clear()
    for number in range(2):
        stand.ask(number, [13.0])
        stand.loop.turn()
    stand.model.gate.set()
    stand.loop.until(lambda: len(stand.answers) == 2)
    assert (stand.fault(0), stand.fault(1)) == ("model.run", "model.run")
    assert stand.model.runs == [1, 1]


@pytest.mark.parametrize("rows", [["one"], []])
def test_a_request_that_is_refused_is_refused_with_a_cache_too(rows: list[Any]) -> None:
    stand = Stand(cache=10_000)
    stand.ask(1, rows)
    stand.loop.turn()
    assert stand.fault(1).startswith("input.")


# -- alone -------------------------------------------------------------------------------------------------------------


def test_a_lone_request_that_may_be_slow_goes_to_the_thread() -> None:
    """Its bytes bound its rows: a thousand rows of this model would hold up the loop, though one would not."""
    stand = Stand({1: 1e-4, 2: 2e-4, 4: 4e-4})
    stand.intake.submit(Request(ModelRef("m"), Rows([1.0] * 1000)), lambda outcome: None, nbytes=4000)
    stand.loop.turn()
    assert stand.model.threads <= {"setsail-run"}
    stand.loop.until(lambda: stand.model.runs == [1000])
    assert stand.model.threads == {"setsail-run"}


def test_lone_requests_are_counted_as_batches_of_one() -> None:
    stand = Stand()
    for number in range(3):
        stand.ask(number, [1.0])
        stand.loop.turn()
    runs = stand.meter.snapshot().runs["m", 1]
    assert {rows: costs[0] for rows, costs in runs.sizes.items()} == {1: 3}
