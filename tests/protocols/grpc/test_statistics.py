"""Triton's statistics extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from setsail.catalog import BatchCount, Duration, Statistics, VersionStatistics
from setsail.messages import ModelRef
from setsail.protocols.grpc import statistics
from setsail.protocols.grpc.pool import message

Call = Callable[..., Any]
PATH = "/inference.GRPCInferenceService/ModelStatistics"
ASKED, TOLD = message("inference.ModelStatisticsRequest"), message("inference.ModelStatisticsResponse")


def test_of_one_version_or_of_everything() -> None:
    def ask(**fields: str) -> object:
        return statistics.model_statistics(ASKED(**fields).SerializeToString()).ask

    assert ask() == Statistics(None)
    assert ask(name="iris") == Statistics(ModelRef("iris"))
    assert ask(name="iris", version="2") == Statistics(ModelRef("iris", 2))


def test_only_ready_ones_are_counted(call: Call) -> None:
    names = [row.name for row in call(PATH).model_stats]
    assert "iris" in names
    assert "sleepy" not in names
    assert [row.version for row in call(PATH, name="iris").model_stats] == ["1"]


def test_every_count_stands_in_its_field() -> None:
    parts = ("success", "fail", "queue", "input", "infer", "output", "cache_hit", "cache_miss")
    row = VersionStatistics(
        "m", 3, last_ms=7, inferences=50, executions=5,
        **{part: Duration(i, i * 100) for i, part in enumerate(parts, 1)},
        batches=(BatchCount(8, Duration(1, 2), Duration(3, 4), Duration(5, 6)),),
    )  # fmt: skip
    (told,) = TOLD.FromString(statistics.model_statistics(b"").encode((row,))).model_stats
    assert (told.name, told.version, told.last_inference) == ("m", "3", 7)
    assert (told.inference_count, told.execution_count) == (50, 5)
    names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    found = [getattr(told.inference_stats, name) for name in names]
    assert [(d.count, d.ns) for d in found] == [(i, i * 100) for i in range(1, 9)]
    (batch,) = told.batch_stats
    assert batch.batch_size == 8
    assert [(d.count, d.ns) for d in (batch.compute_input, batch.compute_infer, batch.compute_output)] == [
        (1, 2), (3, 4), (5, 6),
    ]  # fmt: skip
