"""What labels say of predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from setsail.monitor.quality import LOSSES, Labels, Task, plain, task_of
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME


def contract(*outputs: TensorSpec) -> Signature:
    return Signature((TensorSpec("x", BY_NAME["float64"], ("N",)),), outputs, ())


LABEL = TensorSpec("label", BY_NAME["int64"], ("N",))


def test_a_classifier_of_two_has_a_score() -> None:
    named = TensorSpec("probabilities", BY_NAME["float32"], ("N", 2), labels=("no", "yes"))
    assert task_of(contract(LABEL, named)) == Task("classes", "label", "probabilities", "yes")
    three = TensorSpec("probabilities", BY_NAME["float32"], ("N", 3))
    assert task_of(contract(LABEL, three)) == Task("classes", "label")


def test_one_number_a_row_is_a_regression_and_a_tensor_is_nothing() -> None:
    number = TensorSpec("prediction", BY_NAME["float64"], ("N",))
    assert task_of(contract(number), 4.0) == Task("numbers", "prediction", scale=4.0)
    assert task_of(contract(number), float("nan")) == Task("numbers", "prediction")
    assert task_of(contract(TensorSpec("y", BY_NAME["float32"], ("N", 10)))) is None


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (1.0, 1), (True, "true"), ("True", True), ("a", "a")])
def test_a_class_is_one_however_it_is_written(one: object, other: object) -> None:
    assert plain(one) == plain(other)


def test_accuracy_and_area_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth = random.random(3000) < 0.4
    score = np.clip(random.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    task, labels = Task("classes", "label", "probabilities", "1"), Labels()
    for known, value in zip(truth, score, strict=True):
        assert labels.judge(task, int(value > 0.5), float(value), int(known)) == float((value > 0.5) != known)
    told = labels.measures(task)
    assert told["accuracy"] == pytest.approx(float(((score > 0.5) == truth).mean()))
    assert told["auc"] == pytest.approx(roc_auc_score(truth, score), abs=0.005)
    assert labels.losses[LOSSES] == 3000 - labels.correct


def test_errors_of_numbers() -> None:
    task, labels = Task("numbers", "y", scale=2.0), Labels()
    for predicted, truth in ((1.0, 2.0), (5.0, 2.0)):
        assert labels.judge(task, predicted, 0.0, truth) is not None
    assert labels.measures(task) == pytest.approx(
        {"mean_error": 1.0, "mean_absolute_error": 2.0, "root_mean_squared_error": 5**0.5}
    )
    assert (labels.losses[32], labels.losses[64]) == (1, 1)  # half of the scale, and more than all of it
    assert labels.judge(task, 1.0, 0.0, "two") is None
    assert labels.judge(task, 1.0, 0.0, float("nan")) is None


def test_what_several_processes_counted_adds_up_and_what_came_since_can_be_told() -> None:
    task, one, other = Task("numbers", "y"), Labels(), Labels()
    one.judge(task, 1.0, 0.0, 2.0)
    other.judge(task, 5.0, 0.0, 2.0)
    other.results["joined"] = 3
    both = one.plus(other)
    assert (both.count, both.absolute, both.results) == (2, 4.0, {"joined": 3})
    assert both.minus(one).count == 1
    assert Labels().measures(task) == {}
