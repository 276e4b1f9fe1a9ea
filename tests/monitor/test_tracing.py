"""Spans: what a request leaves behind, and that a collector which is gone costs nothing but them."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="pip install setsail[otel]")

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from setsail.monitor.traces import Parent, Span
from setsail.monitor.tracing import Tracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORDED, UNRECORDED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
DONE = Span("POST /x", 1.0, 1.5, {"setsail.rows": 3}, [("decode", 1.0, 0.1), ("run", 1.1, 0.3)], False)


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """What stands for an OTLP collector: takes whatever is posted."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


def test_a_span_hangs_on_the_clients() -> None:
    exporter = InMemorySpanExporter()
    tracer = Tracer(SimpleSpanProcessor(exporter), 1.0)
    tracer.finish(Parent(TRACE, SPAN, True, "a=1"), DONE)
    tracer.finish(None, DONE)
    child, root = exporter.get_finished_spans()
    assert f"{child.context.trace_id:032x}" == TRACE
    assert f"{child.parent.span_id:016x}" == SPAN
    assert child.context.trace_state.get("a") == "1"
    assert root.parent is None
    assert root.context.trace_id != child.context.trace_id
    assert dict(child.attributes) == {"setsail.rows": 3}
    assert child.end_time - child.start_time == pytest.approx(5e8, abs=2000)
    assert [event.name for event in child.events] == ["decode", "run"]
    assert child.events[1].timestamp - child.start_time == pytest.approx(1e8, abs=2000)
    assert dict(child.events[1].attributes) == {"setsail.seconds": 0.3}
    assert child.resource.attributes["service.name"] == "setsail"


@pytest.mark.parametrize(("given", "share", "wanted"), [
    (RECORDED, 0.0, True), (UNRECORDED, 1.0, False), ("", 0.0, False), ("", 1.0, True), ("rubbish", 1.0, True),
])  # fmt: skip
def test_the_client_says_whether_it_is_traced(given: str, share: float, wanted: bool) -> None:
    tracer = Tracer(SimpleSpanProcessor(InMemorySpanExporter()), share)
    assert (tracer.wants({"traceparent": given} if given else {}) is not None) == wanted


def test_a_processor_that_fails_does_not_fail_a_request(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: Any) -> None:
            raise OSError("no")

    Tracer(Broken(), 1.0).finish(None, DONE)
    assert "a span was lost" in caplog.text


def test_spans_arrive_at_a_collector() -> None:
    with collector() as (url, got):
        tracer = Tracer.to(url, 1.0)
        tracer.finish(Parent(TRACE, SPAN, True), DONE)
        tracer.close()
    ((path, body),) = got
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
    assert b"setsail.rows" in body


def test_nobody_waits_for_a_collector_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setsail.monitor.tracing._LAST_SECONDS", 0.3)
    tracer = Tracer.to("http://127.0.0.1:9/v1/traces", 1.0)
    began = time.perf_counter()
    for _ in range(100):
        tracer.finish(None, DONE)
    assert time.perf_counter() - began < 1.0
    tracer.close()
    assert time.perf_counter() - began < 2.0
