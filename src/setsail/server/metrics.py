"""Pages of metrics: the meter's counts and the states of the models in Prometheus' text form.

On the admin port the names are ours, by Prometheus' conventions (base units, `_total` for counters). With
`--triton-metrics on` the same counts also appear under Triton's names, so that dashboards made for it carry over; doors
that imitate other servers have the names of those (`NAMES`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from setsail.catalog import STATES, VersionStatistics, VersionStatus
from setsail.monitor.canary import figures
from setsail.monitor.meter import BUCKETS, ROWS, Histogram, Snapshot
from setsail.monitor.quality import LAGS
from setsail.monitor.statistics import statistics
from setsail.server.watched import FAMILIES as WATCHED
from setsail.server.watched import Watching
from setsail.server.watched import metrics as told

__all__ = ["CONTENT_TYPE", "FAMILIES", "GAUGES", "NAMES", "TRITON", "Counted", "Families", "Family", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_VERSION: Final = ("model", "version")


class Family(NamedTuple):
    """One metric: its kind, its labels and what it says."""

    kind: str
    labels: tuple[str, ...]
    text: str


FAMILIES: Final[Mapping[str, Family]] = {
    "setsail_requests": Family(
        "counter", (*_VERSION, "wire", "code"), "Requests by the error's code, or ok; version 0 where none answered."
    ),
    "setsail_rows": Family("counter", _VERSION, "Rows predicted."),
    "setsail_request_duration_seconds": Family(
        "histogram", (*_VERSION, "wire"), "From a whole request to its encoded answer; answered requests only."
    ),
    "setsail_stage_duration_seconds": Family(
        "histogram", (*_VERSION, "stage"),
        "Where the time goes: decode and encode of one request in 64; queue of every request, as the mean of its "
        "batch; merge, run and split of every batch.",
    ),
    "setsail_batch_rows": Family("histogram", _VERSION, "Rows of a run."),
    "setsail_signature_requests": Family(
        "counter", (*_VERSION, "signature"), "Requests that were run, by signature; of versions that have several."
    ),
    "setsail_signature_rows": Family(
        "counter", (*_VERSION, "signature"), "Rows that were run, by signature; of versions that have several."
    ),
    "setsail_refusals": Family(
        "counter", ("model", "reason"), "Requests for a model that were not run, by the error's code."
    ),
    "setsail_cache_requests": Family("counter", (*_VERSION, "result"), "Questions to the response cache: hit or miss."),
    "setsail_canary_pairs": Family(
        "gauge", ("model", "metric"), "Results of the last canary that were held against its control."
    ),
    "setsail_canary_difference": Family(
        "gauge", ("model", "metric"), "Share of bad results of the canary, less that of its control."
    ),
    "setsail_canary_evidence": Family(
        "gauge", ("model", "metric"), "Evidence that the canary is worse; 1 is none, 1/alpha stops it."
    ),
    "setsail_shadow_requests": Family(
        "counter", ("model", "version", "shadow", "result"), "Copies: agreed, differed, failed, dropped, away."
    ),
    "setsail_shadow_seconds": Family(
        "counter", ("model", "version", "shadow", "result"), "Seconds from a copy's start to its end, in all."
    ),
    "setsail_model_versions": Family("gauge", ("state",), "Versions by state."),
    **{name: Family(kind, (*_VERSION, *labels), text) for name, (kind, labels, text) in WATCHED.items()},
}  # fmt: skip
GAUGES: Final[Mapping[str, str]] = {
    "connections": "Open connections of the data port.",
    "inflight_requests": "Requests that were read and not answered yet.",
    "inflight_bytes": "Bytes of request bodies that are held.",
    "queue_rows": "Rows that wait for a run.",
    "workers": "Processes that answer.",
    "worker_restarts": "Processes that were replaced because they had died.",
}
# Triton's names, what they say, and where they stand in its statistics (docs of its metrics extension)
TRITON: Final[Mapping[str, tuple[str, Callable[[VersionStatistics], float]]]] = {
    "nv_inference_request_success": ("Number of successful inference requests.", lambda s: s.success.count),
    "nv_inference_request_failure": ("Number of failed inference requests.", lambda s: s.fail.count),
    "nv_inference_count": ("Number of inferences; a batch of n counts n.", lambda s: s.inferences),
    "nv_inference_exec_count": ("Number of model executions.", lambda s: s.executions),
    "nv_inference_request_duration_us": ("Cumulative duration of requests.", lambda s: s.success.ns / 1e3),
    "nv_inference_queue_duration_us": ("Cumulative time in the queue.", lambda s: s.queue.ns / 1e3),
    "nv_inference_compute_input_duration_us": ("Cumulative time of inputs.", lambda s: s.input.ns / 1e3),
    "nv_inference_compute_infer_duration_us": ("Cumulative time of runs.", lambda s: s.infer.ns / 1e3),
    "nv_inference_compute_output_duration_us": ("Cumulative time of outputs.", lambda s: s.output.ns / 1e3),
    "nv_cache_num_hits_per_model": ("Number of response cache hits.", lambda s: s.cache_hit.count),
    "nv_cache_num_misses_per_model": ("Number of response cache misses.", lambda s: s.cache_miss.count),
}


class Counted(Protocol):
    """A meter, or what stands for the meters of several processes."""

    def snapshot(self) -> Snapshot: ...


class Metrics:
    """Reads the counts whenever Prometheus asks; keeps nothing itself and touches no global registry.

    Args:
        names: whose names the page has, of `NAMES`.
        watching: knows what is watched, where that is told.
    """

    def __init__(
        self, meter: Counted, index: Callable[[], Sequence[VersionStatus]], *, names: Sequence[str] = ("setsail",),
        watching: Watching | None = None,
    ) -> None:  # fmt: skip
        self._meter, self._index, self._watching = meter, index, watching
        self._families = [_families(name) for name in names]

    def text(self, only: Collection[str] = ()) -> bytes:
        """The page. `only`: these metrics, by the names that the page has after `# TYPE`; empty for all."""
        registry = CollectorRegistry(auto_describe=False)  # names are fixed below: nothing can collide
        registry.register(_Page([metric for metric in self._metrics() if not only or _is_among(metric, only)]))
        return generate_latest(registry)

    def _metrics(self) -> Iterator[Metric]:
        counts, index = self._meter.snapshot(), self._index()
        for families in self._families:
            yield from families(counts, index)
        if self._watching is not None and counts.watched:
            yield from _watched(self._watching.look(counts))


class _Page(Collector):
    """What Prometheus' library writes."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> Sequence[Metric]:
        return ()

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _is_among(metric: Metric, only: Collection[str]) -> bool:
    return metric.name in only or (metric.type == "counter" and f"{metric.name}_total" in only)


def _own(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    yield _counter("setsail_requests", counts.requests)
    yield _counter("setsail_rows", counts.rows)
    yield _histogram("setsail_request_duration_seconds", counts.latencies)
    ran = {(*at, stage): h for at, runs in counts.runs.items() for stage, h in runs.stages().items()}
    yield _histogram("setsail_stage_duration_seconds", counts.stages | ran)
    yield _batches(counts)
    yield _counter("setsail_signature_requests", {at: many for at, (many, _) in counts.signatures.items()})
    yield _counter("setsail_signature_rows", {at: rows for at, (_, rows) in counts.signatures.items()})
    yield _counter("setsail_refusals", counts.refusals)
    cached = {(m, v, "hit" if hit else "miss"): d.count for (m, v, hit), d in counts.caches.items()}
    yield _counter("setsail_cache_requests", cached)
    yield from _canaries(counts)
    yield _counter("setsail_shadow_requests", {at: told.count for at, told in counts.shadows.items()})
    yield _counter("setsail_shadow_seconds", {at: told.ns / 1e9 for at, told in counts.shadows.items()})
    for name, value in sorted(counts.gauges.items()):
        yield GaugeMetricFamily(f"setsail_{name}", GAUGES[name], value)
    yield _states(index)


def _canaries(counts: Snapshot) -> Iterator[Metric]:
    """Of every model's newest canary."""
    newest = {model: since for model, since, _ in sorted(counts.pairs)}
    rows = {(model, metric): figures(pairs) for (model, since, metric), pairs in counts.pairs.items()
            if newest[model] == since}  # fmt: skip
    for name in ("pairs", "difference", "evidence"):
        _, labels, text = FAMILIES[f"setsail_canary_{name}"]
        gauge = GaugeMetricFamily(f"setsail_canary_{name}", text, labels=labels)
        for at, found in sorted(rows.items(), key=itemgetter(0)):
            gauge.add_metric(at, getattr(found, name))
        yield gauge


def _counter(name: str, counts: Mapping[Any, float]) -> Metric:
    _, labels, text = FAMILIES[name]
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in sorted(counts.items()):
        family.add_metric([str(part) for part in key], count)
    return family


def _histogram(name: str, histograms: Mapping[Any, Histogram]) -> Metric:
    _, labels, text = FAMILIES[name]
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, found in sorted(histograms.items(), key=itemgetter(0)):
        family.add_metric([str(part) for part in key], _cumulated(BUCKETS, found.counts), found.total)
    return family


def _batches(counts: Snapshot) -> Metric:
    _, labels, text = FAMILIES["setsail_batch_rows"]
    family = HistogramMetricFamily("setsail_batch_rows", text, labels=labels)
    for (model, version), runs in sorted(counts.runs.items(), key=itemgetter(0)):
        family.add_metric((model, str(version)), _cumulated(ROWS, runs.batches()), runs.rows)
    return family


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    texts = (*(repr(float(bound)) for bound in bounds), "+Inf")
    return list(zip(texts, map(float, accumulate(counts)), strict=True))


def _states(index: Sequence[VersionStatus]) -> Metric:
    _, labels, text = FAMILIES["setsail_model_versions"]
    gauge = GaugeMetricFamily("setsail_model_versions", text, labels=labels)
    counts = Counter(status.state for status in index)
    for state in STATES:
        gauge.add_metric((state,), counts[state])
    return gauge


def _watched(series: Any) -> Iterator[Metric]:
    """What is known of the versions that are watched."""
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    made: dict[str, Any] = {}
    for name, labels, value in told(series):
        if name not in made:
            made[name] = kinds[FAMILIES[name].kind](name, FAMILIES[name].text, labels=FAMILIES[name].labels)
        if FAMILIES[name].kind == "histogram":
            counts, total = value
            made[name].add_metric(labels, _cumulated(LAGS, counts), total)
        else:
            made[name].add_metric(labels, value)
    yield from made.values()


def _triton(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    known = statistics(counts, [(status.name, status.version) for status in index if status.ready])
    for name, (text, value) in TRITON.items():
        family = UntypedMetricFamily(name, text, labels=_VERSION)  # as a counter it would be called …_total
        for one in known:
            family.add_metric((one.name, str(one.version)), value(one))
        yield family


# -- names ---------------------------------------------------------------------------------------------------------

Families = Callable[[Snapshot, Sequence[VersionStatus]], Iterator[Metric]]
# Whose names, and what makes metrics of them: a function here, or of another module, which is then imported
NAMES: Final[Mapping[str, Families | str]] = {
    "setsail": _own,
    "triton": _triton,
    "tfserving": "setsail.server.foreign.metrics:tfserving",
    "torchserve": "setsail.server.foreign.metrics:torchserve",
    "kserve": "setsail.server.foreign.metrics:kserve",
    "mlserver": "setsail.server.foreign.metrics:mlserver",
}


def _families(name: str) -> Families:
    found = NAMES[name]
    if not isinstance(found, str):
        return found
    module, _, function = found.partition(":")
    families: Families = getattr(import_module(module), function)
    return families
