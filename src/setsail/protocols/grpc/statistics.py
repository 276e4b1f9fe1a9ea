"""Triton's statistics extension: counts and times of each version since it was loaded."""

from __future__ import annotations

from typing import Any

from setsail.catalog import Duration, Statistics, VersionStatistics
from setsail.protocols.grpc.method import Exchange, model_ref
from setsail.protocols.grpc.pool import message, parse

__all__ = ["model_statistics"]


def model_statistics(data: bytes | memoryview) -> Exchange:
    """Of the version named, of all ready ones of a name, or without a name of everything."""
    asked = parse(message("inference.ModelStatisticsRequest"), data)
    ref = model_ref(asked.name, asked.version) if asked.name or asked.version else None
    return Exchange(Statistics(ref), _answer)


def _answer(found: tuple[VersionStatistics, ...]) -> bytes:
    told: bytes = message("inference.ModelStatisticsResponse")(
        model_stats=[_version(row) for row in found]
    ).SerializeToString()
    return told


def _version(row: VersionStatistics) -> dict[str, Any]:
    return {
        "name": row.name, "version": str(row.version), "last_inference": row.last_ms,
        "inference_count": row.inferences, "execution_count": row.executions,
        "inference_stats": {
            "success": _duration(row.success), "fail": _duration(row.fail), "queue": _duration(row.queue),
            "compute_input": _duration(row.input), "compute_infer": _duration(row.infer),
            "compute_output": _duration(row.output),
            "cache_hit": _duration(row.cache_hit), "cache_miss": _duration(row.cache_miss),
        },
        "batch_stats": [
            {"batch_size": b.size, "compute_input": _duration(b.input), "compute_infer": _duration(b.infer),
             "compute_output": _duration(b.output)}
            for b in row.batches
        ],
    }  # fmt: skip


def _duration(value: Duration) -> dict[str, int]:
    return {"count": value.count, "ns": value.ns}
