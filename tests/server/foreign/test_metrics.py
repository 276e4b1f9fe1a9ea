"""Counts under other servers' names: every page parses, and has the values under the names that dashboards ask for."""

from __future__ import annotations

import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from setsail.catalog import VersionStatus
from setsail.monitor.meter import Meter
from setsail.server.metrics import NAMES, Metrics

INDEX = (VersionStatus("iris", 1, "ready", default=True), VersionStatus("other", 2, "failed", reason="no"))
HOST = f'Hostname="{socket.gethostname()}"'


def page(name: str, only: tuple[str, ...] = ()) -> dict[str, float]:
    meter = Meter()
    for _ in range(3):
        meter.answered("iris", 1, "plain", "ok", 0.0004, 2)
    meter.answered("iris", 1, "plain", "input.dtype", 0.002, 0)
    meter.answered("", 0, "torchserve", "server.fault", 0.002, 0)
    meter.batch("iris", 1, 3, 6, 0.003, 0.00001, 0.0002, 0.00003)
    text = Metrics(meter, lambda: INDEX, names=(name,)).text(only).decode()
    assert list(text_string_to_metric_families(text)) or only
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_there(name: str) -> None:
    assert page(name)


def test_torchserve() -> None:
    found = page("torchserve")
    assert [found[f'Requests{x}XX{{{HOST},Level="Host"}}'] for x in "245"] == [3, 1, 1]
    model = f'hostname="{socket.gethostname()}",model_name="iris",model_version="1.0"'
    assert found[f"ts_inference_requests_total{{{model}}}"] == 4
    assert found[f"ts_inference_latency_microseconds{{{model}}}"] == pytest.approx(1200)
    assert found[f"ts_queue_latency_microseconds{{{model}}}"] == pytest.approx(3000)
    assert found[f'HandlerTime{{{HOST},Level="Model",ModelName="iris"}}'] == pytest.approx(0.2)
    assert found[f'PredictionTime{{{HOST},Level="Model",ModelName="iris"}}'] == pytest.approx(0.4)
    assert found[f'QueueTime{{{HOST},Level="Host"}}'] == pytest.approx(1)
    assert 0 < found[f'DiskUtilization{{{HOST},Level="Host"}}'] <= 100


def test_tfserving() -> None:
    found = page("tfserving")
    assert found[':tensorflow:serving:request_count{model_name="iris",status="OK"}'] == 3
    assert found[':tensorflow:serving:request_count{model_name="iris",status="INVALID_ARGUMENT"}'] == 1
    assert found[':tensorflow:serving:request_count{model_name="",status="INTERNAL"}'] == 1
    assert found[':tensorflow:serving:request_example_count_total{model="iris"}'] == 6
    assert found[':tensorflow:serving:request_latency_count{model_name="iris"}'] == 3
    assert found[':tensorflow:serving:request_latency_sum{model_name="iris"}'] == pytest.approx(1200)
    assert found[':tensorflow:serving:request_latency_bucket{le="500.0",model_name="iris"}'] == 3


def test_kserve_and_mlserver() -> None:
    assert page("kserve")['request_predict_seconds_sum{model_name="iris"}'] == pytest.approx(0.0012)
    found = page("mlserver")
    assert found['model_infer_request_success_total{model="iris",version="1"}'] == 3
    assert found['model_infer_request_failure_total{model="iris",version="1"}'] == 1


def test_some_only() -> None:
    assert {name.partition("{")[0] for name in page("torchserve", ("Requests2XX",))} == {"Requests2XX"}
    assert set(page("mlserver", ("model_infer_request_success_total",))) == {
        'model_infer_request_success_total{model="iris",version="1"}'
    }
    assert page("triton", ("nothing",)) == {}
