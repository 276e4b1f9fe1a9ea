"""What is learned of a fresh model: seconds by rows, and whether rows may share a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.runtime import Weights
from setsail.serving import ladder
from setsail.serving.ladder import HIGHEST, Ladder, climb, drawn
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

ROWS = {"x": np.arange(10, dtype=np.float32).reshape(5, 2)}


class Clock:
    """Time that passes only while the model runs."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Model:
    """A runner of any arithmetic, whose runs take what `cost` says of their rows."""

    weights = Weights()
    signature = Signature((TensorSpec.parse("x:float32[N,2]"),), (TensorSpec.parse("y:float32[N]"),), ("y",))

    def __init__(self, clock: Clock, cost: Callable[[int], float], answer: Callable[[Array], Array]) -> None:
        self.clock, self.cost, self.answer = clock, cost, answer
        self.max_batch: int | None = None
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = inputs["x"]
        self.sizes.append(len(rows))
        self.clock.now += self.cost(len(rows))
        return {"y": self.answer(rows)}

    def close(self) -> None: ...


def total(rows: Array) -> Array:
    return rows.sum(axis=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ladder, "perf_counter", made)
    return made


def test_a_quick_model_is_climbed_to_the_top(clock: Clock) -> None:
    learned = climb(Model(clock, lambda rows: 1e-5, total), ROWS)
    assert list(learned.seconds) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert max(learned.seconds) == HIGHEST
    assert list(learned.seconds.values()) == pytest.approx([1e-5] * 9)
    assert learned.invariant
    assert clock.now < ladder.BUDGET


def test_it_ends_two_rungs_after_more_rows_stopped_helping(clock: Clock) -> None:
    learned = climb(Model(clock, lambda rows: 1e-5 * max(rows, 4), total), ROWS)
    assert list(learned.seconds) == [1, 2, 4, 8, 16]


def test_a_slow_model_that_gains_nothing_is_run_for_two_rows_and_no_more(clock: Clock) -> None:
    model = Model(clock, lambda rows: 0.04 * rows, total)
    assert climb(model, ROWS) == Ladder({1: pytest.approx(0.04), 2: pytest.approx(0.08)}, True)
    assert model.sizes == [1, 1, 2]


def test_a_slow_model_that_gains_much_is_climbed_on(clock: Clock) -> None:
    learned = climb(Model(clock, lambda rows: 0.03 * max(rows / 16, 1), total), ROWS)
    assert list(learned.seconds) == [1, 2, 4, 8, 16, 32]


def test_a_very_slow_model_is_only_run_alone_and_held_against_the_answers_it_gave(clock: Clock) -> None:
    model = Model(clock, lambda rows: 3.0 * rows, total)
    assert climb(model, ROWS, {"y": total(ROWS["x"])}) == Ladder({1: 3.0}, True)
    assert climb(model, ROWS, {"y": total(ROWS["x"]) + 1}) == Ladder({1: 3.0}, False)
    assert climb(model, ROWS) == Ladder({1: 3.0}, False)  # nothing is known of rows among others


def test_rows_that_see_each_other_may_not_share_a_run(clock: Clock) -> None:
    learned = climb(Model(clock, lambda rows: 1e-5, lambda rows: total(rows) - rows.mean()), ROWS)
    assert not learned.invariant
    assert learned.seconds


def test_a_difference_within_the_tolerance_is_none(clock: Clock) -> None:
    model = Model(clock, lambda rows: 1e-5, lambda rows: total(rows) + np.float32(3e-4 * (len(rows) > 1)))
    assert not climb(model, {"x": ROWS["x"][:1] * 0}).invariant
    assert climb(model, {"x": ROWS["x"][:1] * 0}, tolerance=10).invariant


def test_a_program_of_one_row_at_once_has_one_rung(clock: Clock) -> None:
    model = Model(clock, lambda rows: 1e-5, total)
    model.max_batch = 1
    assert climb(model, ROWS, {"y": total(ROWS["x"])}) == Ladder({1: pytest.approx(1e-5)}, False)


def test_a_model_without_a_batch_is_timed_whole(clock: Clock) -> None:
    model = Model(clock, lambda rows: 1e-5, lambda rows: rows[0])
    model.signature = Signature((TensorSpec.parse("x:float32[2]"),), (TensorSpec.parse("y:float32[]"),), ("y",))
    assert climb(model, {"x": ROWS["x"][0]}) == Ladder({1: pytest.approx(1e-5)}, False)


def test_a_model_that_fails_on_its_rows_has_no_ladder(clock: Clock) -> None:
    def fails(rows: Array) -> Array:
        raise SetsailError("model.run", "no")

    assert climb(Model(clock, lambda rows: 1e-5, fails), ROWS) == Ladder()


def test_drawn_rows_fit_the_signature_differ_and_are_always_the_same() -> None:
    known = TensorSpec.parse("word:string[N,1]")
    signature = Signature(
        (TensorSpec.parse("x:float32[N,T,3]"), TensorSpec.parse("ids:int64[N]"), known),
        (TensorSpec.parse("y:bool[N]"),),
        ("y",),
    )
    rows = drawn(signature)
    assert {name: (array.shape, array.dtype) for name, array in rows.items()} == {
        "x": ((32, 1, 3), np.float32), "ids": ((32,), np.int64), "word": ((32, 1), object),
    }  # fmt: skip
    assert all(len({str(row) for row in array}) > 1 for array in rows.values())
    for name, array in drawn(signature).items():
        np.testing.assert_array_equal(array, rows[name])
    assert NULL not in rows["word"]
