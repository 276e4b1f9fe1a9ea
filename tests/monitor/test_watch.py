"""What is noted of runs, and what it costs."""

from __future__ import annotations

import logging
from time import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from setsail.messages import ModelRef, Request, Rows
from setsail.monitor.profile import Column, Reference
from setsail.monitor.quality import Task
from setsail.monitor.watch import Tally, Watch, joined, total

X = Column("x", "x", None, (5, 5, 0), (0.0,))
CITY = Column("city", "city", None, (5, 5, 0, 0), (), ("Oslo", "Rome"))
LABEL = Column("label", "label", None, (5, 5, 0, 0), (), ("0", "1"))
TASK = Task("classes", "label")


def watch(*inputs: Column, most: int = 100) -> Watch:
    return Watch("d", Reference(10, inputs or (X,), (LABEL,)), TASK, most=most)


def asked(*requests: tuple[str, int]) -> list[Any]:
    return [SimpleNamespace(request=Request(ModelRef("m"), Rows([]), id=key), rows=rows) for key, rows in requests]


def run(note: Watch, requests: list[Any], values: list[float]) -> None:
    labels = np.array([value > 0 for value in values]).astype(np.int64)
    note(requests, {"x": np.array(values)}, {"label": labels}, len(values))


def test_rows_are_counted_in_the_references_bins() -> None:
    note = watch()
    run(note, asked(("", 1)), [3.0])
    run(note, asked(("", 1), ("", 1), ("", 1)), [-1.0, np.nan, 2.0])
    tally = note.tally()
    assert (tally.rows, tally.skipped) == (4, 0)
    assert tally.counts == [1, 2, 1, 2, 2, 0, 0]


def test_what_is_noted_is_a_copy() -> None:
    note, values = watch(), np.array([1.0])
    note(asked(("", 1)), {"x": values}, {"label": np.array([1])}, 1)
    values[0] = -1.0
    assert note.tally().counts[:2] == [0, 1]


def test_texts_are_noted_too() -> None:
    note = watch(CITY)
    note(asked(("", 1), ("", 1)), {"city": np.array(["Rome", "Bonn"], object)}, {"label": np.array([1, 0])}, 2)
    assert note.tally().counts == [0, 1, 1, 0, 1, 1, 0, 0]


def test_of_a_long_request_some_rows_are_noted() -> None:
    note = watch(most=10)
    run(note, asked(("", 1000), ("", 2)), [-1.0] * 1000 + [1.0, 1.0])
    tally = note.tally()
    assert (tally.rows, tally.skipped) == (12, 990)
    assert tally.counts[:2] == [10, 2]


def test_more_than_there_is_room_for_is_not_noted() -> None:
    note = watch()
    for _ in range(500):
        run(note, asked(*[("", 1)] * 10), [1.0] * 10)
    assert (note.tally().rows, note.tally().skipped) == (4090, 910)
    run(note, asked(("", 1)), [1.0])
    assert note.tally().rows == 4091


def test_labels_are_joined_to_single_rows_and_to_requests_of_several() -> None:
    note = watch(most=3)
    run(note, asked(("a", 1), ("", 1), ("b", 1)), [1.0, 1.0, -1.0])
    run(note, asked(("c", 2), ("long", 5)), [1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    note.count()
    assert note.join("a", 1) == "joined"
    assert note.join("b", 1) == "joined"
    assert note.join("c", [1, 0]) == "joined"
    assert note.join("long", [1] * 5) == "unknown"  # only some of its rows are kept
    labels = note.tally().labels
    assert (labels.count, labels.correct) == (4, 3)


def test_while_many_come_not_every_lone_row_is_noted_unless_it_has_an_id() -> None:
    columns = [Column(f"c{i}", f"c{i}", None, (5, 5, 0), (0.0,)) for i in range(19)]
    note = watch(*columns)
    inputs, outputs = {c.tensor: np.ones(1) for c in columns}, {"label": np.ones(1, np.int64)}
    for _ in range(256 + 100):
        note(asked(("", 1)), inputs, outputs, 1)
    note(asked(("key", 1)), inputs, outputs, 1)
    assert (note.tally().rows, note.tally().skipped) == (256 + 4 + 1, 96)
    for _ in range(100):  # another second
        note(asked(("", 1)), inputs, outputs, 1)
    assert note.tally().skipped == 96


def test_a_fault_of_watching_is_logged_once_and_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    note = watch()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            note(asked(("", 1)), {}, {"label": np.array([1])}, 1)
            note(asked(("", 1)), {"x": np.ones(1)}, {}, 1)
    assert len([r for r in caplog.records if "could not be noted" in r.message]) == 1


def test_an_answer_of_other_rows_than_were_asked_for_is_not_noted() -> None:
    note = watch()
    note(asked(("", 2), ("", 2)), {"x": np.ones(3)}, {"label": np.ones(3, np.int64)}, 3)
    assert note.tally().rows == 0


def test_tallies_of_processes_add_up_and_those_of_another_artifact_do_not() -> None:
    one, other = watch(), watch()
    run(one, asked(("", 1)), [1.0])
    run(other, asked(("", 1)), [1.0])
    told = [msgspec.msgpack.encode(note.tally()) for note in (one, other)]
    assert total(told).counts == [0, 2, 0, 0, 2, 0, 0]
    assert total([joined(told)]).rows == 2
    for rows in (0, 1000):  # the old one's do not come back when the new one has seen more
        new = Tally("new", one.reference, rows=rows, counts=[rows] * 7, since=time() + 60)
        found = total([told[0], msgspec.msgpack.encode(new), told[1]])
        assert (found.digest, found.rows) == ("new", rows)
    back = Tally("d", one.reference, rows=7, counts=[7] * 7, since=time() + 90)
    assert total([*told, msgspec.msgpack.encode(new), msgspec.msgpack.encode(back)]).rows == 7
