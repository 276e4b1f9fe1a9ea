"""The one predict path, over runners that record what they were given."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scaled import ROWS, answers, signature

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response, Rows
from setsail.serving.leases import Facts, Loaded
from setsail.serving.observers import Finished
from setsail.serving.predict import Timings, begin, predict, together
from setsail.serving.table import Table
from setsail.shares import Share
from setsail.tensors import Array


class Doubling:
    """Doubles, and keeps the size of every batch."""

    def __init__(self, max_batch: int | None = None, fault: Exception | None = None) -> None:
        self.signature, self.max_batch, self.fault = signature(), max_batch, fault
        self.batches: list[int] = []
        self.closed = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.batches.append(len(inputs["x"]))
        if self.fault is not None:
            raise self.fault
        return answers(inputs["x"], 2.0)

    def close(self) -> None:
        self.closed = True


def table(runner: Doubling, version: int = 1) -> tuple[Table, Loaded]:
    loaded = Loaded(runner, Facts("none", {}, "onnx", ""))
    made = Table().queued("m", version).moved("m", version, "loading").moved("m", version, "warming")
    return made.moved("m", version, "ready", loaded=loaded), loaded


def ask(**changes: Any) -> Request:
    return Request(**({"model": ModelRef("m"), "body": Rows(ROWS.tolist())} | changes))


def code(runner: Doubling, request: Request) -> str:
    with pytest.raises(SetsailError) as caught:
        predict(lambda: table(runner)[0], request)
    return caught.value.code


def test_an_answer_has_every_output_in_order_and_names_the_defaults() -> None:
    response = predict(lambda: table(Doubling(), 7)[0], ask(id="r1"))
    assert (response.model, response.version, response.id) == ("m", 7, "r1")
    assert list(response.outputs) == ["y", "total"]
    assert response.defaults == ("y",)
    assert response.outputs["y"].tolist() == (ROWS * 2).tolist()


@pytest.mark.parametrize(("limit", "batches"), [(None, [3]), (3, [3]), (2, [2, 1]), (1, [1, 1, 1])])
def test_a_batch_over_the_limit_is_split_and_joined(limit: int | None, batches: list[int]) -> None:
    runner = Doubling(limit)
    response = predict(lambda: table(runner)[0], ask())
    assert runner.batches == batches
    assert response.outputs["y"].tolist() == (ROWS * 2).tolist()
    assert response.outputs["total"].tolist() == [6, 14, 22]


class Strict(Doubling):
    """Refuses a row that begins with 5, by its number in what it was given, as steps do."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for row in np.flatnonzero(inputs["x"][:, 0] == 5).tolist():
            raise SetsailError(
                "input.media", f"step image.decode: input 'x', row {row}, is no image", field="x", row=row
            )
        return super().run(inputs)


@pytest.mark.parametrize("limit", [None, 2, 1])
def test_the_row_in_a_fault_is_the_requests_own_whatever_slice_it_was_in(limit: int | None) -> None:
    with pytest.raises(SetsailError) as caught:
        predict(lambda: table(Strict(limit))[0], ask())
    assert (caught.value.code, caught.value.facts["row"]) == ("input.media", 2)
    assert "input 'x', row 2, is no image" in caught.value.what


class Row(list[Any]):
    """A list that can be watched."""


@pytest.mark.parametrize("others", [0, 2])
def test_a_request_that_was_refused_is_gone_with_its_fault(others: int) -> None:
    tables = table(Doubling())[0]
    bodies = [Rows([Row([1, 2, 3])]), *[Rows([[1, 2]])] * others]
    watched = weakref.ref(bodies[0].rows[0])
    gc.disable()
    try:
        leased = [begin(lambda: tables, ask(body=body), 0.0) for body in bodies]
        told = together(leased, Timings())
        assert isinstance(told[0], SetsailError)
        del leased, bodies
        assert watched() is None
    finally:
        gc.enable()


def test_outputs_are_narrowed_in_the_signatures_order() -> None:
    both = predict(lambda: table(Doubling())[0], ask(outputs=("total", "y")))
    assert list(both.outputs) == ["y", "total"]
    one = predict(lambda: table(Doubling())[0], ask(outputs=("total",)))
    assert (list(one.outputs), one.defaults) == (["total"], ("total",))
    assert code(Doubling(), ask(outputs=("nope",))) == "output.unknown"


def test_who_asked_for_the_same_outputs_shares_what_is_written_of_them() -> None:
    tables = table(Doubling())[0]
    asks = [None, ("total",), None, ("total",), ("y", "total")]
    leased = [begin(lambda: tables, ask(body=Rows([[i, 0.0]]), outputs=names), 0.0) for i, names in enumerate(asks)]
    told = [outcome for outcome in together(leased, Timings()) if isinstance(outcome, Response)]
    assert [list(r.outputs) for r in told] == [["y", "total"], ["total"], ["y", "total"], ["total"], ["y", "total"]]
    assert [r.outputs["total"].tolist() for r in told] == [[0], [2], [4], [6], [8]]
    assert [r.defaults for r in told] == [("y",), ("total",), ("y",), ("total",), ("y",)]
    runs = [r.outputs.run for r in told if isinstance(r.outputs, Share)]
    assert [runs.index(run) for run in runs] == [0, 1, 0, 1, 4]


def test_a_signature_name_is_the_default_or_an_output() -> None:
    one = predict(lambda: table(Doubling())[0], ask(signature="total"))
    assert list(one.outputs) == ["total"]
    assert code(Doubling(), ask(signature="classify")) == "model.signature"


def test_a_bad_request_never_reaches_the_model() -> None:
    runner = Doubling()
    assert code(runner, ask(body=Rows([[1, 2, 3]]))) == "input.shape"
    assert runner.batches == []


def test_observers_are_told_of_answers_and_faults_and_cannot_spoil_them(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Finished] = []

    def broken(event: Finished) -> None:
        raise RuntimeError("observer")

    predict(lambda: table(Doubling(), 3)[0], ask(), (broken, seen.append))
    with pytest.raises(SetsailError):
        predict(lambda: table(Doubling())[0], ask(body=Rows([])), (seen.append,))
    with pytest.raises(SetsailError):
        predict(lambda: Table(), ask(), (seen.append,))
    answered, refused, unknown = seen
    assert (answered.version, answered.rows, answered.error) == (3, 3, None)
    assert answered.seconds > 0
    assert answered.outputs["total"].tolist() == [6, 14, 22]
    assert [(e.version, e.rows, e.error.code) for e in (refused, unknown) if isinstance(e.error, SetsailError)] == [
        (1, 0, "input.empty"), (0, 0, "model.unknown"),
    ]  # fmt: skip
    assert "an observer failed" in caplog.text


def test_a_fault_of_the_runtime_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    fault = SetsailError("model.run", "the model failed (id ab12)", id="ab12", detail="Gemm says no")
    runner = Doubling(fault=fault)
    made, loaded = table(runner)
    with caplog.at_level(logging.ERROR), pytest.raises(SetsailError):
        predict(lambda: made, ask())
    assert "Gemm says no" in caplog.text
    assert "ab12" in caplog.text
    loaded.retire(lambda: None)
    assert runner.closed  # the lease was given back in spite of the fault


def test_a_request_that_found_a_retired_version_looks_again() -> None:
    old, new = Doubling(), Doubling()
    stale, loaded = table(old)
    loaded.retire(lambda: None)
    tables = iter([stale, table(new, 2)[0]])
    assert predict(lambda: next(tables), ask()).version == 2
    assert (old.batches, new.batches) == ([], [3])


def test_inputs_are_not_changed() -> None:
    body = Rows(ROWS.tolist())
    predict(lambda: table(Doubling())[0], ask(body=body))
    assert np.array_equal(np.array(body.rows, dtype=np.float32), ROWS)
