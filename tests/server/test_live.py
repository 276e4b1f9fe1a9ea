"""What the console is told, out of what was counted."""

from __future__ import annotations

from setsail.catalog import VersionStatus
from setsail.monitor.meter import BUCKETS, Meter
from setsail.server.live import live


def test_counts_of_every_known_version() -> None:
    meter = Meter()
    for seconds in (0.0002, 0.0002, 0.3):
        meter.answered("iris", 2, "plain", "ok", seconds, 1)
    meter.answered("iris", 2, "open-inference", "ok", 0.0002, 4)
    meter.answered("iris", 2, "plain", "input.shape", 0.0001, 0)
    meter.answered("", 0, "plain", "model.unknown", 0.0001, 0)
    meter.batch("iris", 2, 3, 3, 0.0, 1e-5, 1e-5, 1e-5)
    meter.refused("iris", "model.busy")
    statuses = [VersionStatus("iris", 1, "draining"), VersionStatus("iris", 2, "ready", default=True)]

    told = live(meter.snapshot(), statuses, 12.5)

    old, new = told["versions"]
    assert (old["name"], old["version"], old["state"], old["requests"], sum(old["latency"])) == (
        "iris",
        1,
        "draining",
        0,
        0,
    )
    assert (new["requests"], new["failed"], new["rows"], new["runs"], new["default"]) == (5, 1, 7, 1, True)
    assert sum(new["latency"]) == 4
    assert new["latency"][BUCKETS.index(0.00025)] == 3
    assert told["refused"] == {"iris": 1}
    assert told["at"] == 12.5
