"""The page of metrics: it parses, its names are those the table says, and Triton's are as Triton writes them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from setsail.catalog import VersionStatus
from setsail.monitor.meter import Meter
from setsail.server.metrics import FAMILIES, GAUGES, TRITON, Metrics
from setsail.server.watched import FAMILIES as WATCHED

INDEX = (VersionStatus("iris", 1, "ready", default=True), VersionStatus("other", 2, "failed", reason="no"))


def counted() -> Meter:
    meter = Meter()
    for _ in range(3):
        meter.answered("iris", 1, "plain", "ok", 0.0004, 2)
    meter.answered('a"b\nc', 0, "plain", "input.dtype", 0.002, 0)  # a name that needs escaping
    meter.batch("iris", 1, 3, 6, 0.003, 0.00001, 0.0002, 0.00003)
    meter.stage("iris", 1, "decode", 0.00002)
    meter.refused("iris", "model.busy")
    meter.cache("iris", 1, False, 0.001)
    for name in GAUGES:
        meter.gauge(name, 7)
    return meter


def text(triton: bool = False) -> str:
    names = ("setsail", "triton") if triton else ("setsail",)
    return Metrics(counted(), lambda: INDEX, names=names).text().decode()


def test_every_name_of_the_table_is_on_the_page_and_no_other() -> None:
    families = {family.name: family for family in text_string_to_metric_families(text())}
    always = {name: family for name, family in FAMILIES.items() if name not in WATCHED}  # test_watched has those
    assert set(families) == set(always) | {f"setsail_{name}" for name in GAUGES}
    for name, family in always.items():
        assert (families[name].type, families[name].documentation) == (family.kind, family.text)
        for sample in families[name].samples:
            assert set(sample.labels) - {"le"} == set(family.labels)


def test_canaries_and_shadows() -> None:
    meter = Meter()
    for cell in (0, 0, 2):
        meter.paired("iris", 7, "error", cell, 4)
    meter.paired("iris", 6, "error", 3, 4)  # an earlier canary is told no longer
    meter.shadowed("iris", 1, 2, "agreed", 0.25)
    page = Metrics(meter, lambda: INDEX).text().decode()
    found = {family.name: family.samples for family in text_string_to_metric_families(page)}
    assert [(s.labels, s.value) for s in found["setsail_canary_pairs"]] == [({"model": "iris", "metric": "error"}, 3)]
    assert found["setsail_canary_difference"][0].value == pytest.approx(1 / 3)
    assert found["setsail_canary_evidence"][0].value > 1
    assert found["setsail_shadow_requests"][0].labels["result"] == "agreed"
    assert found["setsail_shadow_seconds"][0].value == 0.25


def test_histograms_are_cumulative() -> None:
    families = {family.name: family for family in text_string_to_metric_families(text())}
    samples = families["setsail_stage_duration_seconds"].samples
    run = {s.labels["le"]: s.value for s in samples if s.labels["stage"] == "run" and "le" in s.labels}
    assert (run["0.0001"], run["0.00025"], run["+Inf"]) == (0, 1, 1)
    sums = {s.labels["stage"]: s.value for s in samples if s.name.endswith("_sum")}
    assert sums == {
        "decode": pytest.approx(0.00002), "queue": pytest.approx(0.003), "merge": pytest.approx(0.00001),
        "run": pytest.approx(0.0002), "split": pytest.approx(0.00003),
    }  # fmt: skip
    rows = {s.labels.get("le"): s.value for s in families["setsail_batch_rows"].samples if s.name.endswith("_bucket")}
    assert (rows["4.0"], rows["8.0"]) == (0, 1)


def test_triton_names_have_no_suffix() -> None:
    lines = text(triton=True).splitlines()
    assert 'nv_inference_request_success{model="iris",version="1"} 3.0' in lines
    assert 'nv_inference_count{model="iris",version="1"} 6.0' in lines
    assert 'nv_inference_exec_count{model="iris",version="1"} 1.0' in lines
    assert 'nv_inference_queue_duration_us{model="iris",version="1"} 3000.0' in lines
    assert 'nv_cache_num_misses_per_model{model="iris",version="1"} 1.0' in lines
    assert not [line for line in lines if line.startswith("nv_") and ("_total" in line or "other" in line)]
    assert {line.split()[2] for line in lines if line.startswith("# TYPE nv_")} == set(TRITON)


def test_triton_names_are_an_option() -> None:
    assert "nv_" not in text()
