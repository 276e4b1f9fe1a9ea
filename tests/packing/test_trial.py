"""A candidate program meets its source's answers in a child process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from setsail import convert
from setsail.convert.conversion import Intent, Probe
from setsail.errors import SetsailError
from setsail.packing.trial import Trial, head, run_trial
from setsail.variants import Variant


@pytest.fixture(scope="module")
def made(ridge: Ridge, diabetes: Any) -> tuple[Trial, Probe]:
    """A trial of a right program, with the example's rows."""
    conversion = convert.convert(ridge, Intent(example=diabetes[0]))
    program = conversion.programs[0]
    probe = next(p for p in conversion.probes if p.what == "example")
    trial = Trial(program.variant, conversion.signature, conversion.processing, program.files)
    return trial, Probe(probe.what, probe.inputs, probe.outputs)


def cut(rows: Probe, count: int) -> Probe:
    return replace(rows, inputs=head(rows.inputs, count), outputs=head(rows.outputs, count))


@pytest.mark.parametrize(
    ("count", "checked"), [(150, {(1, 16), (7, 63), (0, 150)}), (7, {(1, 7), (7, 7), (0, 7)}), (3, {(1, 3), (0, 3)})]
)
def test_rows_go_in_one_by_one_oddly_and_all_at_once(
    made: tuple[Trial, Probe], count: int, checked: set[tuple[int, int]]
) -> None:
    report = run_trial(made[0], [cut(made[1], count)], 1.0)
    assert report.passed
    assert {(c.batch, c.rows) for c in report.checks} == checked


def test_a_program_for_one_row_is_only_asked_row_by_row(made: tuple[Trial, Probe]) -> None:
    single = replace(made[0], variant=Variant("onnx", "onnx", "float64", "model.onnx", max_batch=1))
    assert [(c.batch, c.rows) for c in run_trial(single, [made[1]], 1.0).checks] == [(1, 64)]


def test_other_answers_fail_and_say_where(made: tuple[Trial, Probe]) -> None:
    wrong = made[1].outputs["prediction"].copy()
    wrong[100] += 5
    report = run_trial(made[0], [replace(made[1], outputs={"prediction": wrong})], 1.0)
    assert [c.passed for c in report.checks] == [True, True, False]
    assert (report.checks[-1].worst_row, round(report.worst, 6)) == (100, 5.0)


def test_the_gate_stands_before_the_runtime(made: tuple[Trial, Probe]) -> None:
    with pytest.raises(SetsailError) as caught:
        run_trial(replace(made[0], files={"model.onnx": b"no program"}), [made[1]], 1.0)
    assert caught.value.code == "program.parse"


def test_a_program_that_is_not_the_signatures_fails_its_trial(made: tuple[Trial, Probe], diabetes: Any) -> None:
    X, Y = diabetes
    narrow = convert.convert(Ridge().fit(X[:, :2], Y), Intent(example=X[:, :2])).programs[0]
    with pytest.raises(SetsailError) as caught:
        run_trial(replace(made[0], files=narrow.files), [made[1]], 1.0)
    assert caught.value.code == "program.trial"
    assert "'onnx'" in caught.value.what
    assert "failed its trial run: " in caught.value.what  # and why, whole
    assert "…" not in str(caught.value)


def test_the_first_rows_of_arrays_and_whole_scalars() -> None:
    arrays = {"a": np.arange(5), "b": np.array(7)}
    cut = head(arrays, 2)
    assert (cut["a"].tolist(), cut["b"].tolist()) == ([0, 1], 7)
