"""Triton's statistics extension: counts and times of each version since it was loaded, as REST and gRPC name them."""

from __future__ import annotations

from typing import Any

from setsail.catalog import Duration, VersionStatistics

__all__ = ["figures"]


def figures(row: VersionStatistics) -> dict[str, Any]:
    """One entry of `model_stats`."""
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
        "memory_usage": [], "response_stats": {},
    }  # fmt: skip


def _duration(value: Duration) -> dict[str, int]:
    return {"count": value.count, "ns": value.ns}
