"""Spans of requests, sent to an OpenTelemetry collector. Imported only where `--trace-endpoint` is set (setsail[otel]).

A span is made when its request is answered, out of the times that were noted meanwhile, and put in a queue: a thread
of the SDK sends what is there every few seconds. A collector that is slow or gone costs spans, never a request.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from random import random
from threading import Thread
from time import perf_counter, time
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from setsail.monitor.traces import Parent, Span, parent_of

__all__ = ["Tracer", "exporter"]

_LOG = logging.getLogger("setsail.monitor")
_PATH: Final = "/v1/traces"  # of OTLP over HTTP
_SEND_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 2.0  # for what is left at the end


class Tracer:
    """Spans of one process.

    Args:
        sample: share of requests traced when the client does not say.
        processor: takes the spans.
    """

    def __init__(self, processor: SpanProcessor, sample: float) -> None:
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "setsail"}
        self._provider = TracerProvider(ALWAYS_ON, Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("setsail")
        self._sample = sample

    @classmethod
    def to(cls, endpoint: str, sample: float) -> Tracer:
        """Send to a collector. Headers, certificates and the queue are set by OpenTelemetry's own variables."""
        return cls(BatchSpanProcessor(exporter(endpoint)), sample)

    def wants(self, headers: Mapping[str, str]) -> tuple[Parent | None] | None:
        """What the span of a request hangs on, which may be nothing; None when it gets no span.

        A client that says whether it records its trace is obeyed; of the others a share is traced.
        """
        parent = parent_of(headers)
        wanted = random() < self._sample if parent is None else parent.sampled
        return (parent,) if wanted else None

    def finish(self, parent: Parent | None, span: Span) -> None:
        """Hand a span over. Never raises."""
        try:
            self._finish(parent, span)
        except Exception:
            _LOG.exception("a span was lost")

    def _finish(self, parent: Parent | None, span: Span) -> None:
        epoch = time() - perf_counter()

        def stamp(moment: float) -> int:
            return int((epoch + moment) * 1e9)

        made = self._tracer.start_span(
            span.name, _context(parent), SpanKind.SERVER, dict(span.attributes), start_time=stamp(span.began)
        )
        for stage, began, seconds in span.stages:
            made.add_event(stage, {"setsail.seconds": seconds}, stamp(began))
        if span.failed:
            made.set_status(StatusCode.ERROR)
        made.end(stamp(span.ended))

    def close(self) -> None:
        """Send what is left, for a moment: nobody waits for a collector that does not answer."""
        last = Thread(target=self._provider.shutdown, name="setsail-spans", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)


def exporter(endpoint: str) -> OTLPSpanExporter:
    """To `http://host:4318`, whose path for traces is known, or to any other whole address."""
    whole = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + _PATH
    return OTLPSpanExporter(endpoint=whole, timeout=_SEND_SECONDS)


def _context(parent: Parent | None) -> Any:
    """The client's span as the SDK wants it."""
    if parent is None:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    state = TraceState.from_header([parent.state]) if parent.state else TraceState()
    return set_span_in_context(
        NonRecordingSpan(SpanContext(int(parent.trace, 16), int(parent.span, 16), True, TraceFlags(1), state))
    )
