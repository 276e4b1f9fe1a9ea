"""`context.metrics`: the latest value of everything that a handler measures. Nothing of it leaves the process."""

from __future__ import annotations

from typing import Any

from .metric_type_enum import MetricTypes

__all__ = ["Metric", "MetricsStore"]


class Metric:
    """One metric: counters add up, others keep their latest value."""

    def __init__(self, name: str, unit: str = "unit", metric_type: MetricTypes = MetricTypes.COUNTER) -> None:
        self.metric_name, self.unit, self.metric_type = name, unit, metric_type
        self.value: float = 0.0

    def add_or_update(self, value: float, dimension_values: Any = None, request_id: str = "") -> None:
        self.value = self.value + value if self.metric_type is MetricTypes.COUNTER else value

    update = add_or_update

    def reset(self) -> None:
        self.value = 0.0


class MetricsStore:
    """By name. `idx` and `dimensions` are taken and left alone."""

    def __init__(self) -> None:
        self.store: dict[str, Metric] = {}

    def _metric(self, name: str, unit: str, kind: MetricTypes) -> Metric:
        return self.store.setdefault(name, Metric(name, unit, kind))

    def add_counter(self, name: str, value: float, idx: Any = None, dimensions: Any = None) -> None:
        self._metric(name, "count", MetricTypes.COUNTER).add_or_update(value)

    def add_time(self, name: str, value: float, idx: Any = None, unit: str = "ms", dimensions: Any = None,
                 metric_type: MetricTypes = MetricTypes.GAUGE) -> None:  # fmt: skip
        self._metric(name, unit, metric_type).add_or_update(value)

    def add_size(self, name: str, value: float, idx: Any = None, unit: str = "MB", dimensions: Any = None,
                 metric_type: MetricTypes = MetricTypes.GAUGE) -> None:  # fmt: skip
        self._metric(name, unit, metric_type).add_or_update(value)

    def add_percent(self, name: str, value: float, idx: Any = None, dimensions: Any = None,
                    metric_type: MetricTypes = MetricTypes.GAUGE) -> None:  # fmt: skip
        self._metric(name, "percent", metric_type).add_or_update(value)

    def add_error(self, name: str, value: Any, dimensions: Any = None) -> None:
        self._metric(name, "error", MetricTypes.COUNTER).add_or_update(1)

    def add_metric(self, name: str, value: float, unit: str = "unit", idx: Any = None, dimensions: Any = None,
                   metric_type: MetricTypes = MetricTypes.COUNTER) -> None:  # fmt: skip
        self._metric(name, unit, metric_type).add_or_update(value)

    def add_metric_to_cache(self, metric_name: str, unit: str, dimension_names: Any = None,
                            metric_type: MetricTypes = MetricTypes.COUNTER) -> Metric:  # fmt: skip
        return self._metric(metric_name, unit, metric_type)

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> Metric:
        return self.store[metric_name]
