"""The same counts under the names that dashboards made for other servers ask for.

Names and labels are those of the originals (their documentation; `docs/flavours.md` says which are left out). Counters
are written without a type, because Prometheus' library would add `_total` to names that never had it.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric, UntypedMetricFamily

from setsail.catalog import VersionStatistics, VersionStatus
from setsail.errors import FAMILIES, KINDS
from setsail.monitor.meter import BUCKETS, Histogram, Snapshot
from setsail.monitor.statistics import statistics
from setsail.server.foreign.machine import gauges

__all__ = ["kserve", "mlserver", "tfserving", "torchserve"]

# Canonical status codes (google.rpc.Code), by number
_STATUSES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def tfserving(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    """TensorFlow Serving's: microseconds, and colons where its paths have slashes."""
    requests: Counter[tuple[str, str]] = Counter()
    for (model, _, _, code), count in counts.requests.items():
        requests[model, _STATUSES[0 if code == "ok" else FAMILIES[KINDS[code].family].grpc]] += count
    yield _untyped(":tensorflow:serving:request_count", "Requests.", ("model_name", "status"), requests)
    latencies = _by_model(counts, 1e6)
    yield _histogram(":tensorflow:serving:request_latency", "Latency of requests.", ("model_name",), latencies, 1e6)
    rows: Counter[tuple[str]] = Counter()
    for (model, _), count in counts.rows.items():
        rows[(model,)] += count
    yield _untyped(":tensorflow:serving:request_example_count_total", "Examples.", ("model",), rows)


def torchserve(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    """TorchServe's: requests by class of status, and counters of microseconds by version."""
    host = socket.gethostname()
    classes: Counter[str] = Counter()
    for (_, _, _, code), count in counts.requests.items():
        classes[_class(code)] += count
    for name in ("2XX", "4XX", "5XX"):
        told = {("Host", host): classes[name]}
        yield _untyped(f"Requests{name}", f"Requests answered with {name}.", ("Level", "Hostname"), told)
    labels = ("model_name", "model_version", "hostname")
    known = [((one.name, f"{one.version}.0", host), one) for one in _served(counts, index)]
    requests = {at: one.success.count + one.fail.count for at, one in known}
    waits = {at: one.queue.ns / 1e3 for at, one in known}
    yield _untyped("ts_inference_requests_total", "Requests for predictions.", labels, requests)
    times = {at: one.success.ns / 1e3 for at, one in known}
    yield _untyped("ts_inference_latency_microseconds", "Time of predictions, in all.", labels, times)
    yield _untyped("ts_queue_latency_microseconds", "Time that requests waited, in all.", labels, waits)
    runs = {(one.name, "Model", host): _mean(one.infer.ns, one.infer.count) for _, one in known}
    labels = ("ModelName", "Level", "Hostname")
    yield _untyped("HandlerTime", "Milliseconds of a run, as the mean of all.", labels, runs)
    whole = {(one.name, "Model", host): _mean(one.success.ns, one.success.count) for _, one in known}
    yield _untyped("PredictionTime", "Milliseconds of a prediction, as the mean of all.", labels, whole)
    queued, count = sum(one.queue.ns for _, one in known), sum(one.queue.count for _, one in known)
    waited = {("Host", host): _mean(queued, count)}
    yield _untyped(
        "QueueTime", "Milliseconds that a request waited, as the mean of all.", ("Level", "Hostname"), waited
    )
    for name, text, value in gauges():
        yield _untyped(name, text, ("Level", "Hostname"), {("Host", host): value})


def kserve(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    """KServe's histogram of predictions. Nothing runs before or after a model here, nor explains."""
    latencies = _by_model(counts, 1.0)
    yield _histogram("request_predict_seconds", "Time of predictions.", ("model_name",), latencies, 1.0)


def mlserver(counts: Snapshot, index: Sequence[VersionStatus]) -> Iterator[Metric]:
    """MLServer's two counters by version."""
    known = _served(counts, index)
    for name, text in (("success", "Inferences that went well."), ("failure", "Inferences that did not.")):
        family = CounterMetricFamily(f"model_infer_request_{name}", text, labels=("model", "version"))
        for one in known:
            done = one.success if name == "success" else one.fail
            family.add_metric((one.name, str(one.version)), done.count)
        yield family


# -- parts ---------------------------------------------------------------------------------------------------------


def _served(counts: Snapshot, index: Sequence[VersionStatus]) -> Sequence[VersionStatistics]:
    return statistics(counts, [(status.name, status.version) for status in index if status.ready])


def _class(code: str) -> str:
    """2XX, 4XX or 5XX, of an error's code or `ok`."""
    return "2XX" if code == "ok" else f"{FAMILIES[KINDS[code].family].http // 100}XX"


def _mean(ns: int, count: int) -> float:
    return ns / count / 1e6 if count else 0.0


def _by_model(counts: Snapshot, scale: float) -> dict[tuple[str], Histogram]:
    """Latencies of answered requests, whatever wire and version; `scale` units a second."""
    found: dict[tuple[str], Histogram] = {}
    for (model, _, _), one in counts.latencies.items():
        whole = found.setdefault((model,), Histogram())
        whole.counts = [a + b for a, b in zip(whole.counts, one.counts, strict=True)]
        whole.total += one.total * scale
    return found


def _untyped(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = UntypedMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str], Histogram], scale: float
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    bounds = (*(repr(bound * scale) for bound in BUCKETS), "+Inf")
    for key, found in sorted(values.items()):
        buckets = list(zip(bounds, map(float, accumulate(found.counts)), strict=True))
        family.add_metric(key, buckets, found.total)
    return family
