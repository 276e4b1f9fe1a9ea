"""Windows as they end, alarms as they come and go. No clock: every look is told its time."""

from __future__ import annotations

import numpy as np
import pytest
from watched_series import Fed, reference

from setsail.monitor.board import Board, Series
from setsail.monitor.drift import Rule
from setsail.monitor.profile import Reference
from setsail.monitor.quality import Labels, Task
from setsail.monitor.watch import Tally

REFERENCE = reference(np.random.default_rng(0).standard_normal((5000, 3)))


def rows(seed: int, count: int = 500, shift: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, 3))
    drawn[:, 1] += shift
    return drawn


def test_an_alarm_is_raised_once_and_is_over_after_three_quiet_windows() -> None:
    fed = Fed(REFERENCE)
    assert fed.window(rows(1)) == []
    ((family, on, why),) = [event for event in fed.window(rows(2, shift=1.0)) if event[0] == "inputs"]
    assert (family, on) == ("inputs", True)
    assert why.startswith("x[1] (p = ")
    assert [e for e in fed.window(rows(3, shift=1.0)) if e[0] == "inputs"] == []
    over = [[e for e in fed.window(rows(10 + i)) if e[0] == "inputs"] for i in range(25)]
    (ended,) = [i for i, events in enumerate(over) if events]
    assert over[ended][0][:2] == ("inputs", False)
    assert ended >= 2
    assert fed.series.alarms["inputs"].raised == 1


def test_a_window_ends_when_it_is_full_or_when_its_time_is_over() -> None:
    fed = Fed(REFERENCE, Rule(rows=500, least=200, seconds=900))
    fed.window(rows(1, 499))
    assert (fed.series.windows, fed.series.waiting) == (0, 499)
    fed.window(rows(2, 1))
    assert (fed.series.windows, fed.series.waiting) == (1, 0)
    fed.window(rows(3, 199), seconds=2000)
    assert fed.series.windows == 1
    fed.window(rows(4, 1), seconds=1)
    assert fed.series.windows == 2


def test_a_small_drift_is_below_the_floor_however_many_rows_say_so() -> None:
    large = reference(np.random.default_rng(5).standard_normal((200_000, 3)), joint=False)
    assert Fed(large).window(rows(1, 200_000, shift=0.04)) == []
    assert Fed(large).window(rows(1, 200_000, shift=0.2)) != []


def test_another_artifact_begins_anew_and_a_version_that_is_gone_is_forgotten() -> None:
    board = Board()
    tally = Tally("one", REFERENCE, rows=10, counts=[0] * REFERENCE.counts().size, features=[0.0] * 256)
    board.look({("m", 1): tally}, 1.0)
    first = board.series["m", 1]
    other = Tally("two", REFERENCE, rows=10, counts=tally.counts, features=tally.features)
    board.look({("m", 1): other}, 2.0)
    assert board.series["m", 1] is not first
    board.look({}, 3.0)
    assert board.series == {}


def labels(right: int, wrong: int) -> Labels:
    made = Labels(count=right + wrong, correct=right)
    made.losses[0], made.losses[64] = right, wrong
    return made


def look(series: Series, right: int, wrong: int) -> list[tuple[str, bool, str]]:
    tally = Tally("d", Reference(0), Task("classes", "label"), labels=labels(right, wrong))
    return list(series.look(tally, 1.0, Rule()))


def test_labels_are_learnt_from_and_then_watched() -> None:
    series = Series(Tally("d", Reference(0)), 0.0)
    assert look(series, 300, 30) == []
    assert series.detector is None
    assert look(series, 460, 50) == []
    assert series.detector is not None
    assert 0.1 < series.detector.p0 < 0.16
    right, wrong, events = 460, 50, []
    for _ in range(40):
        right, wrong = right + 12, wrong + 8
        events += look(series, right, wrong)
    ((family, on, why),) = events
    assert (family, on) == ("concept", True)
    assert "wrong more than" in why
    for _ in range(130):
        right, wrong = right + 19, wrong + 1
        events += look(series, right, wrong)
    assert [event[1] for event in events] == [True, False]


def test_the_report_says_everything_and_what_is_not_watched() -> None:
    fed = Fed(reference(np.random.default_rng(0).standard_normal((600, 3))))
    fed.window(rows(1, shift=2.0))
    told = fed.series.report(fed.rule)
    assert told["windows"] == 1
    assert told["alarms"]["inputs"]["features"] == ["x[1]"]
    assert [f["name"] for f in told["features"]] == ["x[0]", "x[1]", "x[2]"]
    assert sum(told["features"][0]["window"]) == 500
    assert len(told["features"][0]["bins"]) == len(told["features"][0]["reference"])
    assert any("fewer than ten windows" in note for note in told["notes"])
    assert any("correlations are not watched" in note for note in told["notes"])
    assert told["history"][0]["inputs"] == pytest.approx(told["features"][1]["scale_1"]["psi"])
