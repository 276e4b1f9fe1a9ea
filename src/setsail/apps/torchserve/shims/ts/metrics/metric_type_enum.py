"""Kinds of metrics."""

from __future__ import annotations

from enum import Enum

__all__ = ["MetricTypes"]


class MetricTypes(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
