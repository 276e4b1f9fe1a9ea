"""The admin port's /metrics: the counts of `monitor.meter` and the states of the models in Prometheus' text form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from setsail.catalog import STATES, VersionStatus
from setsail.monitor.meter import BUCKETS, Meter

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class Metrics(Collector):
    """Reads the counts whenever Prometheus asks; keeps nothing itself and touches no global registry."""

    def __init__(self, meter: Meter, index: Callable[[], Sequence[VersionStatus]]) -> None:
        self._meter = meter
        self._index = index
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []  # names are fixed below; nothing else is in this registry to collide with

    def collect(self) -> Iterator[Metric]:
        requests, rows, latencies = self._meter.snapshot()
        counter = CounterMetricFamily(
            "setsail_requests",
            "Requests by the error's code, or ok; version 0 where none answered.",
            labels=("model", "version", "wire", "code"),
        )
        for (model, version, wire, code), count in sorted(requests.items()):
            counter.add_metric((model, str(version), wire, code), count)
        yield counter
        rows_counter = CounterMetricFamily("setsail_rows", "Rows predicted.", labels=("model", "version"))
        for (model, version), count in sorted(rows.items()):
            rows_counter.add_metric((model, str(version)), count)
        yield rows_counter
        histogram = HistogramMetricFamily(
            "setsail_request_duration_seconds",
            "From the first byte of a request to its encoded answer, answered requests only.",
            labels=("model", "version", "wire"),
        )
        for (model, version, wire), latency in sorted(latencies.items()):
            histogram.add_metric((model, str(version), wire), _cumulated(latency.counts), latency.total)
        yield histogram
        yield self._states()

    def _states(self) -> Metric:
        gauge = GaugeMetricFamily("setsail_model_versions", "Versions by state.", labels=("state",))
        counts = Counter(status.state for status in self._index())
        for state in STATES:
            gauge.add_metric((state,), counts[state])
        return gauge


def _cumulated(counts: Sequence[int]) -> list[tuple[str, float]]:
    buckets, total = [], 0
    for bound, count in zip((*BUCKETS, float("inf")), counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return buckets
