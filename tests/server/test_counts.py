"""The meters of several processes as one, those of the dead included."""

from __future__ import annotations

import msgspec

from setsail.monitor.meter import Meter, Snapshot
from setsail.server.channel import DEAD, SNAPSHOT, Answer
from setsail.server.counts import Counts, encoded, merged_counts


def counted(rows: int, connections: float = 0) -> bytes:
    meter = Meter()
    meter.answered("m", 1, "plain", "ok", 0.5, rows)
    snapshot = meter.snapshot()
    snapshot.gauges["connections"] = connections
    return msgspec.msgpack.encode(snapshot)


def test_counts_of_the_dead_stay_and_their_levels_go() -> None:
    answers = [Answer(DEAD, counted(5, connections=7)), Answer(11, counted(2, connections=3)), Answer(12, counted(1))]
    asked: list[str] = []

    def ask(kind: str) -> list[Answer]:
        asked.append(kind)
        return answers

    found = Counts(ask, lambda: {"workers": 2.0}).snapshot()
    assert asked == [SNAPSHOT]
    assert found.rows == {("m", 1): 8}
    assert found.requests == {("m", 1, "plain", "ok"): 3}
    assert found.gauges == {"connections": 3.0, "workers": 2.0}


def test_without_anybody_there_are_no_counts() -> None:
    assert Counts(lambda kind: []).snapshot() == Snapshot()


def test_the_dead_are_made_one() -> None:
    whole = msgspec.msgpack.decode(merged_counts([counted(1), counted(2)]), type=Snapshot)
    assert whole.rows == {("m", 1): 3}


def test_a_meter_crosses_processes() -> None:
    meter = Meter()
    meter.answered("m", 2, "plain", "input.nan", 0.1, 0)
    assert msgspec.msgpack.decode(encoded(meter), type=Snapshot) == meter.snapshot()
