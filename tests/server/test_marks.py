"""Traces and sampled moments through a real server, by HTTP and gRPC."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import grpc
import httpx
import numpy as np
import onnx
import pytest

import setsail
from setsail.errors import SetsailError
from setsail.monitor.traces import Parent, Span, parent_of
from setsail.protocols.grpc.pool import message
from setsail.server.marks import Marker, open_tracer
from setsail.server.run import Server
from setsail.server.settings import Settings

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
MODEL = onnx.helper.make_model(
    onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])], "double",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
    ), opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10,
)  # fmt: skip


class Notes:
    """A tracer that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[tuple[Parent | None, Span]] = []

    def wants(self, headers: Mapping[str, str]) -> tuple[Parent | None] | None:
        parent = parent_of(headers)
        return None if parent is None else (parent,)

    def finish(self, parent: Parent | None, span: Span) -> None:
        self.spans.append((parent, span))

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Notes]]:
    folder, notes = tmp_path_factory.mktemp("double"), Notes()
    onnx.save(MODEL, folder / "double.onnx")
    setsail.pack(folder / "double.onnx", name="double", output=folder / "double.setsail").close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setsail.server.run.open_tracer", lambda settings: notes)
        with Server(Settings(port=0, admin_port=-1, grpc_engine="grpcio", grpc_port=0)) as server:
            server.open(folder / "double.setsail")
            server.start()
            yield server, notes


@pytest.fixture
def notes(made: tuple[Server, Notes]) -> Notes:
    made[1].spans.clear()
    return made[1]


def infer(target: str, name: str = "double") -> bytes:
    ask = message("inference.ModelInferRequest")(model_name=name)
    ask.inputs.add(name="x", datatype="FP32", shape=[3, 2])
    ask.raw_input_contents.append(np.zeros((3, 2), np.float32).tobytes())
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        octets: bytes = call(ask.SerializeToString(), metadata=tuple(SENT.items()))
    return octets


def test_a_prediction_over_http_is_a_span_of_the_clients(made: tuple[Server, Notes], notes: Notes) -> None:
    reply = httpx.post(f"{made[0].url}/v1/models/double:predict", json={"instances": [[1, 2], [3, 4]]}, headers=SENT)
    assert reply.status_code == 200
    ((parent, span),) = notes.spans
    assert parent == Parent(TRACE, SPAN, True)
    assert span.name == "POST /v1/models/{model}:predict"
    assert span.attributes["setsail.model"] == "double"
    assert (span.attributes["setsail.version"], span.attributes["setsail.rows"]) == (1, 2)
    assert (span.attributes["http.response.status_code"], span.attributes["setsail.wire"]) == (200, "tf-serving")
    assert [stage for stage, _, _ in span.stages] == ["decode", "queue", "merge", "run", "split", "encode"]
    begins = [began for _, began, _ in span.stages]
    assert begins == sorted(begins)
    assert all(seconds >= 0 for _, _, seconds in span.stages)
    assert not span.failed


def test_a_prediction_over_grpc(made: tuple[Server, Notes], notes: Notes) -> None:
    infer(made[0].url.partition("://")[2])
    infer(made[0].grpc_target)  # grpcio's engine
    (own, span), (other, told) = notes.spans
    assert own == other == Parent(TRACE, SPAN, True)
    assert span.name == told.name == "inference.GRPCInferenceService/ModelInfer"
    assert span.attributes == told.attributes
    assert (span.attributes["setsail.rows"], span.attributes["rpc.grpc.status_code"]) == (3, 0)
    assert [stage for stage, _, _ in span.stages] == ["decode", "queue", "merge", "run", "split", "encode"]
    assert [stage for stage, _, _ in told.stages] == ["decode", "encode"]


def test_a_fault_has_a_span_too(made: tuple[Server, Notes], notes: Notes) -> None:
    httpx.post(f"{made[0].url}/v1/models/double:predict", json={"instances": [["a", 2]]}, headers=SENT)
    ((_, span),) = notes.spans
    assert (span.attributes["http.response.status_code"], span.failed) == (400, False)
    assert str(span.attributes["error.type"]).startswith("input.")


def test_other_requests_have_none(made: tuple[Server, Notes], notes: Notes) -> None:
    httpx.get(f"{made[0].url}/v2/health/live", headers=SENT)
    httpx.post(f"{made[0].url}/v1/models/double:predict", json={"instances": [[1, 2]]})
    assert notes.spans == []


def test_the_log_names_the_trace(
    made: tuple[Server, Notes], notes: Notes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("setsail.server.dispatch.decompress", fails)
    with caplog.at_level(logging.ERROR, "setsail.server"):
        headers = {**SENT, "content-encoding": "gzip"}
        reply = httpx.post(f"{made[0].url}/v1/models/double:predict", json={"instances": [[1, 2]]}, headers=headers)
    assert reply.status_code == 500
    assert f"error {reply.headers['x-setsail-error-id']}, trace {TRACE}" in caplog.text
    assert notes.spans[0][1].failed


def test_a_scanner_does_not_make_metrics_grow(made: tuple[Server, Notes]) -> None:
    server = made[0]
    with httpx.Client() as client:
        for number in range(30):
            client.post(f"{server.url}/v1/models/scan{number}:predict", json={"instances": [[1, 2]]})
            client.post(f"{server.url}/scan{number}")
    for number in range(10):
        with pytest.raises(grpc.RpcError):
            infer(server.url.partition("://")[2], f"scan{number}")
    counts = server.meter.snapshot()
    names = {key[0] for table in (counts.requests, counts.stages, counts.refusals, counts.runs) for key in table}
    assert names <= {"", "double"}


def test_moments_of_one_in_so_many_are_noted(made: tuple[Server, Notes]) -> None:
    server = made[0]
    marker = Marker(server.meter)
    marker.lots = repeat(True)
    server._desks[0].marker, kept = marker, server._desks[0].marker
    try:
        httpx.post(f"{server.url}/v1/models/double:predict", json={"instances": [[1, 2]]})
        infer(server.url.partition("://")[2])
    finally:
        server._desks[0].marker = kept
    stages = server.meter.snapshot().stages
    assert {key for key in stages if key[0] == "double"} == {("double", 1, "decode"), ("double", 1, "encode")}
    assert all(sum(histogram.counts) >= 2 for histogram in stages.values())
    lots = [next(Marker(server.meter).lots) for _ in range(1)] + [next(kept.lots)]
    assert lots == [True, True]  # the first is noted; with a tracer each is asked about


def test_the_gauges_are_set(made: tuple[Server, Notes]) -> None:
    assert set(made[0].meter.snapshot().gauges) == {"connections", "inflight_requests", "inflight_bytes", "queue_rows"}


def test_an_endpoint_that_is_none() -> None:
    assert open_tracer(Settings()) is None
    with pytest.raises(SetsailError) as caught:
        open_tracer(Settings(trace_endpoint="collector:4318"))
    assert caught.value.code == "setting.value"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "setsail.monitor.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SetsailError) as caught:
        open_tracer(Settings(trace_endpoint="http://127.0.0.1:4318"))
    assert caught.value.code == "dependency.missing"


def test_nothing_of_opentelemetry_is_imported_without_an_endpoint() -> None:
    code = "import sys, setsail.server.run; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
