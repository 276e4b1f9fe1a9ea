"""Labels find their predictions, once."""

from __future__ import annotations

from setsail.monitor.feedback import Joiner
from setsail.monitor.quality import Task

CLASSES = Task("classes", "label")


def test_a_label_is_joined_once() -> None:
    joiner = Joiner(CLASSES)
    joiner.keep("a", 10.0, [1], [0.0])
    assert joiner.join("a", 1, 15.0) == "joined"
    assert joiner.join("a", 0, 16.0) == "duplicate"
    assert joiner.labels.results == {"joined": 1, "duplicate": 1}
    assert (joiner.labels.count, joiner.labels.correct, joiner.labels.lag) == (1, 1, 5.0)


def test_a_request_of_several_rows_takes_a_label_for_each() -> None:
    joiner = Joiner(CLASSES)
    joiner.keep("a", 0.0, [1, 0, 1], [0.0] * 3)
    assert joiner.join("a", [1, 1], 1.0) == "unfit"
    assert joiner.join("a", [1, 1, 1], 1.0) == "joined"
    assert (joiner.labels.count, joiner.labels.correct) == (3, 2)


def test_memory_is_bounded_and_what_was_forgotten_is_late() -> None:
    joiner = Joiner(CLASSES, capacity=3)
    for number in range(5):
        joiner.keep(f"r{number}", 0.0, [1], [0.0])
    assert joiner.join("r0", 1, 1.0) == "late"
    assert joiner.join("r4", 1, 1.0) == "joined"
    assert joiner.join("never", 1, 1.0) == "unknown"
    assert joiner.labels.results == {"late": 1, "joined": 1}  # of unknown ones another process may know


def test_what_is_no_label_of_the_task_is_not_held_against_anything() -> None:
    numbers = Joiner(Task("numbers", "y"))
    numbers.keep("a", 0.0, [1.5], [0.0])
    assert numbers.join("a", "many", 1.0) == "unfit"
    assert numbers.join("a", True, 1.0) == "unfit"
    assert numbers.join("a", 2, 1.0) == "joined"
    nothing = Joiner(None)
    nothing.keep("a", 0.0, [1.5], [0.0])
    assert nothing.join("a", 1, 1.0) == "unfit"


def test_an_id_that_comes_again_is_the_newer_request() -> None:
    joiner = Joiner(CLASSES)
    joiner.keep("a", 0.0, [1], [0.0])
    joiner.keep("a", 5.0, [0], [0.0])
    assert joiner.join("a", 0, 6.0) == "joined"
    assert joiner.labels.correct == 1


def test_whoever_decides_by_losses_is_told_one_of_each_request() -> None:
    joiner, told = Joiner(CLASSES), list[tuple[float, float]]()
    joiner.judged = lambda loss, when: told.append((loss, when))
    joiner.keep("a", 5.0, [1, 0, 1, 1], [0.0] * 4)
    joiner.join("a", [1, 1, 1, 1], 9.0)
    assert told == [(0.25, 5.0)]  # one request is one result
    joiner.keep("b", 6.0, [1], [0.0], bare=False)
    joiner.join("b", 0, 9.0)
    assert len(told) == 1  # its client has chosen the version
    assert joiner.labels.count == 5


def test_a_number_that_is_none_is_no_loss() -> None:
    joiner, told = Joiner(Task("numbers", "y", scale=4.0)), list[float]()
    joiner.judged = lambda loss, when: told.append(loss)
    joiner.keep("a", 0.0, [1.0], [0.0])
    joiner.keep("b", 0.0, [float("nan")], [0.0])
    joiner.join("a", 2, 1.0)
    joiner.join("b", 2, 1.0)
    assert told == [0.25]
