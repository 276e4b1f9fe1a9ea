"""Triton's statistics extension: counts and times of each version since it was loaded."""

from __future__ import annotations

from setsail.catalog import Statistics, VersionStatistics
from setsail.protocols.grpc.method import Exchange, model_ref
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.open_inference.figures import figures

__all__ = ["model_statistics"]


def model_statistics(data: bytes | memoryview) -> Exchange:
    """Of the version named, of all ready ones of a name, or without a name of everything."""
    asked = parse(message("inference.ModelStatisticsRequest"), data)
    ref = model_ref(asked.name, asked.version) if asked.name or asked.version else None
    return Exchange(Statistics(ref), _answer)


def _answer(found: tuple[VersionStatistics, ...]) -> bytes:
    told: bytes = message("inference.ModelStatisticsResponse")(
        model_stats=[figures(row) for row in found]
    ).SerializeToString()
    return told
