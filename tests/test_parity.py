"""The parity rule of contract.md §6, by examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.parity import ABSOLUTE, RELATIVE, Check, ParityReport, compare
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

REGRESSOR = Signature(
    (TensorSpec.parse("x:float64[N]"),), (TensorSpec.parse("prediction:float64[N]"),), ("prediction",)
)
SPECS = TensorSpec.parse("label:string[N]"), TensorSpec.parse("probabilities:float64[N,2]")
CLASSIFIER = Signature(
    REGRESSOR.inputs,
    (SPECS[0], TensorSpec(SPECS[1].name, SPECS[1].dtype, SPECS[1].shape, labels=("no", "yes"))),
    ("label",),
)


def held(source: Any, ours: Any, what: str = "synthetic", **more: Any) -> Check:
    return compare(REGRESSOR, {"prediction": np.array(source, float)}, {"prediction": np.array(ours, float)},
                   what=what, **more)  # fmt: skip


def answers(labels: list[str], scores: list[list[float]]) -> dict[str, np.ndarray]:
    return {"label": np.array(labels, dtype=object), "probabilities": np.array(scores)}


def classified(source: dict[str, np.ndarray], ours: dict[str, np.ndarray], **more: Any) -> Check:
    return compare(CLASSIFIER, source, ours, what="synthetic", **more)


@pytest.mark.parametrize(
    ("source", "ours", "passed"),
    [
        (0.0, 0.99e-4, True),
        (0.0, 1.01e-4, False),
        (100.0, 100.1, True),
        (100.0, 100.1002, False),
        (-100.0, -99.9, True),
        (np.nan, np.nan, True),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e300, False),
        (1e300, np.inf, False),
    ],
)
def test_the_rule(source: float, ours: float, passed: bool) -> None:
    check = held([1.0, source], [1.0, ours])
    assert check.passed is passed
    assert check.failed == (not passed)
    assert check.worst_row == (0 if source == ours or (np.isnan(source) and np.isnan(ours)) else 1)


@given(st.floats(-1e30, 1e30), st.floats(0.0, 1.9))
def test_the_rule_for_any_score(score: float, share: float) -> None:
    moved = score + share * (ABSOLUTE + RELATIVE * abs(score))
    allowed = abs(moved - score) <= ABSOLUTE + RELATIVE * abs(score)
    assert held([score], [moved]).passed is allowed


def test_a_tolerance_multiplies_both_terms() -> None:
    assert not held([100.0], [100.3]).passed
    assert held([100.0], [100.3], tolerance=3.0).passed
    assert not held([100.0], [100.4], tolerance=3.0).passed


def test_the_worst_difference_and_where() -> None:
    check = held([1.0, 2.0, 3.0], [1.0, 2.5, 3.1])
    assert (check.rows, check.failed, check.worst, check.worst_output, check.worst_row) == (3, 2, 0.5, "prediction", 1)


def test_a_label_may_differ_only_where_the_source_is_undecided() -> None:
    source = answers(["no", "yes"], [[0.50005, 0.49995], [0.1, 0.9]])
    assert classified(source, answers(["yes", "yes"], [[0.49996, 0.50004], [0.1, 0.9]])).passed
    wrong = classified(source, answers(["no", "no"], [[0.5, 0.5], [0.1, 0.9]]))
    assert (wrong.passed, wrong.failed) == (False, 1)


def test_a_near_tie_excuses_the_label_and_not_the_score() -> None:
    source = answers(["no"], [[0.5, 0.5]])
    assert not classified(source, answers(["yes"], [[0.4, 0.6]])).passed


def test_a_near_tie_of_two_does_not_excuse_a_third() -> None:
    three = Signature(
        REGRESSOR.inputs,
        (
            TensorSpec("label", BY_NAME["string"], ("N",), labels=("a", "b", "c")),
            TensorSpec("probabilities", BY_NAME["float64"], ("N", 3), labels=("a", "b", "c")),
        ),
        ("label",),
    )
    scores = np.array([[0.45, 0.45, 0.1]])
    source, second, third = ({"label": np.array([v], dtype=object), "probabilities": scores} for v in ("a", "b", "c"))
    assert compare(three, source, second, what="example").passed
    assert not compare(three, source, third, what="example").passed


def test_a_decision_at_zero_excuses_either_of_two_labels() -> None:
    two = Signature(
        REGRESSOR.inputs,
        (TensorSpec("label", BY_NAME["string"], ("N",), labels=("no", "yes")), TensorSpec.parse("decision:float64[N]")),
        ("label",),
    )
    for value, passes in ((1e-9, True), (0.01, False)):
        source, ours = ({"label": np.array([v], dtype=object), "decision": np.array([value])} for v in ("no", "yes"))
        assert compare(two, source, ours, what="example").passed is passes


def test_a_label_flipped_on_a_boundary_row_needs_a_leaf_that_explains_it() -> None:
    rows = 3000
    source = answers(["no"] * rows, [[0.9, 0.1]] * rows)
    flipped = answers(["yes", *["no"] * (rows - 1)], [[0.9, 0.1]] * rows)
    check = compare(CLASSIFIER, source, flipped, what="boundary", leaf_span=1.0)
    assert (check.failed, check.allowed, check.unexplained, check.passed) == (1, 3, 1, False)
    explained = answers(["yes", *["no"] * (rows - 1)], [[0.3, 0.7], *[[0.9, 0.1]] * (rows - 1)])
    assert compare(CLASSIFIER, source, explained, what="boundary", leaf_span=1.0).passed


def test_labels_without_scores_must_be_equal() -> None:
    only = Signature(REGRESSOR.inputs, SPECS[:1], ("label",))
    source, ours = ({"label": np.array([v], dtype=object)} for v in ("no", "yes"))
    assert not compare(only, source, ours, what="example").passed


@pytest.mark.parametrize(
    "ours",
    [
        {},
        {"prediction": np.zeros((4, 1))},
        {"prediction": np.zeros(3)},
        {"prediction": np.zeros(4, np.int64)},
        {"prediction": np.array(["0"] * 4, dtype=object)},
    ],
    ids=["missing", "rank", "length", "integers", "text"],
)
def test_an_output_that_is_missing_or_of_another_form_fails_every_row(ours: dict[str, np.ndarray]) -> None:
    for what in ("synthetic", "boundary"):
        check = compare(REGRESSOR, {"prediction": np.zeros(4)}, ours, what=what)
        assert (check.failed, check.passed, check.worst) == (4, False, float("inf"))


def test_boundary_rows_may_fail_on_one_row_in_a_thousand_by_one_leaf() -> None:
    source = np.zeros(2000)
    for off, leaf, passed in ((2, 0.25, True), (3, 0.25, False), (1, 0.1, False), (1, 0.0, False)):
        ours = source.copy()
        ours[:off] = 0.25
        check = held(source, ours, "boundary", leaf_span=leaf)
        assert (check.passed, check.failed, check.allowed) == (passed, off, 2)
    few = held(np.zeros(999), np.r_[0.25, np.zeros(998)], "boundary", leaf_span=0.25)
    assert (few.allowed, few.passed) == (0, False)


def test_no_example_row_may_fail_whatever_a_leaf_is() -> None:
    source = np.zeros(5000)
    ours = source.copy()
    ours[0] = 0.25
    assert not held(source, ours, "example", leaf_span=1.0).passed


def test_a_model_without_a_batch_is_one_row() -> None:
    whole = Signature((TensorSpec.parse("x:float32[2]"),),
                      (TensorSpec.parse("a:float32[3]"), TensorSpec.parse("b:float32[]")), ("a",))  # fmt: skip
    source = {"a": np.zeros(3, np.float32), "b": np.float32(1).reshape(())}
    assert compare(whole, source, source, what="synthetic").rows == 1
    assert not compare(whole, source, source | {"b": np.float32(2).reshape(())}, what="synthetic").passed


REPORT = ParityReport(
    "onnx-f64", "float64", 2.0, (held([1.0, 2.0], [1.0, 2.0]), held([1.0], [1.0], "boundary", batch=7)),
    refused=("onnx: differs by up to 0.3",),
)  # fmt: skip


def test_a_report_and_back() -> None:
    assert ParityReport.from_json(REPORT.to_json()) == REPORT


def test_a_report_is_good_to_read() -> None:
    assert str(REPORT).splitlines() == [
        "parity of onnx-f64 (float64): passed, tolerance x2",
        "  not kept: onnx: differs by up to 0.3",
        "  rows         batch  agree  largest difference",
        "  2 synthetic  all    2/2    0                   ok",
        "  1 boundary   7      1/1    0                   ok",
    ]
    assert "<td>2 synthetic</td>" in REPORT._repr_html_()


def test_nothing_compared_is_nothing_passed() -> None:
    assert not ParityReport("onnx", "float32", 1.0, ()).passed


def test_ranked_labels_may_change_places_where_the_source_can_hardly_tell() -> None:
    text = TensorSpec("classes", BY_NAME["string"], ("N", 3))
    scores = TensorSpec("scores", BY_NAME["float32"], ("N", 3))
    signature = Signature((SPECS[0],), (scores, text), ("scores", "classes"))
    source = {
        "scores": np.array([[0.5, 0.20001, 0.2]], np.float32), "classes": np.array([["a", "b", "c"]], dtype=object),
    }  # fmt: skip
    rows = {"acb": True, "abd": True, "bac": False, "dbc": False, "abc": True}
    for labels, passes in rows.items():
        ours = source | {"classes": np.array([list(labels)], dtype=object)}
        assert compare(signature, source, ours, what="synthetic").passed is passes, labels


# -- what is said of it ------------------------------------------------------------------------------------------------


def test_labels_that_are_other_ones_are_counted_and_the_first_is_shown() -> None:
    scores = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]
    check = classified(answers(["no", "yes", "yes"], scores), answers(["no", "no", "no"], scores))
    assert (check.failed, check.flips, check.where) == (2, 2, "label")
    assert check.gap == "'label' is another in 2 of 3 rows, first in row 1: 'yes' in the source, 'no' here"
    far = classified(answers(["no", "yes", "yes"], scores), answers(["no", "no", "yes"], [[0.5, 0.5]] * 3))
    assert far.where == "probabilities"
    assert (
        far.gap
        == "a difference of 0.4; 'label' is another in 1 of 3 rows, first in row 1: 'yes' in the source, 'no' here"
    )


def test_whole_numbers_and_shapes_that_differ_are_said_in_words() -> None:
    counted = Signature(REGRESSOR.inputs, (TensorSpec.parse("counts:uint8[N,2]"),), ("counts",))
    source = np.array([[1, 2], [3, 4]], np.uint8)
    check = compare(
        counted, {"counts": source}, {"counts": source + np.array([[0, 0], [0, 1]], np.uint8)}, what="example"
    )
    assert check.gap == "'counts' is another in 1 of 2 rows, first in row 1: 4 in the source, 5 here"
    narrow = compare(counted, {"counts": source}, {"counts": source[:, :1]}, what="example")
    assert narrow.gap == "'counts' is uint8 of shape [2, 1] here, and uint8 of shape [2, 2] in the source"
    absent = compare(counted, {"counts": source}, {}, what="example")
    assert absent.gap == "'counts' is nothing here, and uint8 of shape [2, 2] in the source"


def test_only_a_check_that_failed_has_words_for_it_in_json() -> None:
    """What is in artifacts has passed: their format knows nothing of flips."""
    same = held([1.0], [1.0])
    assert "flips" not in same.to_json()
    bad = classified(answers(["no"], [[0.9, 0.1]]), answers(["yes"], [[0.9, 0.1]]))
    assert (bad.to_json()["flips"], bad.to_json()["flipped"]) == (1, "label")
    report = ParityReport("onnx", "float32", 1.0, (bad,))
    assert ParityReport.from_json(report.to_json()) == report
