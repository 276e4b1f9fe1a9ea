"""Counts and timings: what is counted comes out again, adds up across processes, and stays small."""

from __future__ import annotations

from threading import Thread

import msgspec
import pytest

from setsail.monitor.meter import BUCKETS, ROWS, Meter, Snapshot, merged
from setsail.monitor.statistics import statistics


def filled() -> Meter:
    meter = Meter()
    meter.answered("iris", 1, "plain", "ok", 0.0004, 2)
    meter.answered("iris", 1, "plain", "ok", 99.0, 3)
    meter.answered("iris", 0, "plain", "input.dtype", 0.002, 0)
    meter.answered("", 0, "plain", "model.unknown", 0.0, 0)
    meter.batch("iris", 1, 2, 5, 0.01, 0.00001, 0.0002, 0.00003)
    meter.stage("iris", 1, "decode", 0.00002)
    meter.refused("iris", "model.busy")
    meter.cache("iris", 1, True, 0.001)
    meter.gauge("connections", 7)
    return meter


def test_requests_are_counted_by_outcome() -> None:
    counts = filled().snapshot()
    assert counts.requests == {
        ("iris", 1, "plain", "ok"): 2, ("iris", 0, "plain", "input.dtype"): 1, ("", 0, "plain", "model.unknown"): 1,
    }  # fmt: skip
    assert counts.rows == {("iris", 1): 5}
    latency = counts.latencies["iris", 1, "plain"]
    assert latency.total == pytest.approx(99.0004)
    assert latency.counts[BUCKETS.index(0.0005)] == 1
    assert latency.counts[-1] == 1  # past the last bound
    assert counts.failed["iris", 0].count == 1
    assert ("", 0) not in counts.failed


def test_a_run_is_counted_once_for_all_its_requests() -> None:
    runs = filled().snapshot().runs["iris", 1]
    assert runs.sizes == {5: [1, 2, 0.00001, 0.0002, 0.00003]}
    assert runs.rows == 5
    assert runs.last > 0
    stages = runs.stages()
    assert sum(stages["queue"].counts) == 2
    assert stages["queue"].counts[BUCKETS.index(0.005)] == 2  # each waited half of what both did
    assert stages["run"].total == pytest.approx(0.0002)
    batches = runs.batches()
    assert batches[ROWS.index(8)] == 1
    assert sum(batches) == 1


def test_counts_of_processes_add_up_and_cross_a_wire() -> None:
    one = filled().snapshot()
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Snapshot)
    assert sent == one
    both = merged([one, sent])
    assert both.requests["iris", 1, "plain", "ok"] == 4
    assert both.latencies["iris", 1, "plain"].total == pytest.approx(198.0008)
    assert both.runs["iris", 1].sizes[5][:2] == [2, 4]
    assert both.caches["iris", 1, True].count == 2
    assert both.gauges == {"connections": 14}
    assert one == sent  # neither was changed


def test_a_snapshot_does_not_change_any_more() -> None:
    meter = filled()
    before = meter.snapshot()
    kept = msgspec.msgpack.encode(before)
    meter.answered("iris", 1, "plain", "ok", 0.1, 1)
    meter.batch("iris", 1, 1, 5, 0.0, 0.1, 0.1, 0.1)
    meter.stage("iris", 1, "decode", 0.1)
    meter.cache("iris", 1, True, 0.1)
    assert msgspec.msgpack.encode(before) == kept


def test_sizes_of_batches_are_bounded() -> None:
    """Clients choose how many rows they send."""
    meter = Meter()
    for rows in range(1, 4000):
        meter.batch("iris", 1, 1, rows, 0.0, 0.0, 0.0, 0.0)
    runs = meter.snapshot().runs["iris", 1]
    assert len(runs.sizes) < 256 + 16
    assert runs.rows == sum(range(1, 4000))
    assert sum(runs.batches()) == 3999
    assert runs.batches()[ROWS.index(1024)] == 512  # 513 to 1024: sharing a size keeps the bucket


def test_threads_lose_nothing() -> None:
    meter = Meter()
    threads = [
        Thread(target=lambda: [meter.answered("m", 1, "plain", "ok", 0.1, 1) for _ in range(5000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = meter.snapshot()
    assert counts.requests["m", 1, "plain", "ok"] == counts.rows["m", 1] == 20_000


def test_a_snapshot_may_be_taken_while_somebody_counts() -> None:
    meter, stop = Meter(), []

    def count() -> None:
        number = 0
        while not stop:
            number += 1
            meter.answered(f"m{number % 999}", 1, "plain", "ok", 0.1, 1)
            meter.batch(f"m{number % 999}", 1, 1, number % 300 + 1, 0.0, 0.1, 0.1, 0.1)
            meter.stage(f"m{number % 999}", 1, "decode", 0.1)

    thread = Thread(target=count)
    thread.start()
    try:
        seen = [sum(meter.snapshot().requests.values()) for _ in range(5)]
    finally:
        stop.append(True)
        thread.join()
    assert seen == sorted(seen)


def test_statistics_are_those_of_triton() -> None:
    asked, never = statistics(filled().snapshot(), [("iris", 1), ("iris", 2)])
    assert (asked.inferences, asked.executions, asked.success.count, asked.queue.count) == (5, 1, 2, 2)
    assert asked.queue.ns == 10_000_000
    assert asked.infer.ns == 200_000
    assert [(batch.size, batch.infer.count) for batch in asked.batches] == [(5, 1)]
    assert asked.cache_hit.count == 1
    assert asked.last_ms > 0
    assert (never.version, never.inferences, never.success.count, never.batches) == (2, 0, 0, ())
