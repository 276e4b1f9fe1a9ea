"""What observers are given: a page, a dashboard, alert rules; each held against a live server and their own tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from watched_server import Watched, drawn, packed, serving

from setsail.server import observing

NAMES = re.compile(r"\bsetsail_[a-z_]+")
HOUR_OF_MINUTES = "+0x60"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a server knows, and its page of metrics, after traffic, drift and labels."""
    with serving(packed(tmp_path_factory.mktemp("loans"))) as found:
        live(found)
        return observing.fetched(found.admin), found.metrics()


def live(found: Watched) -> None:
    found.send(2, 500)
    found.told()
    found.send(3, 500, shift=1.0)
    for number in range(600):  # as many labels as the concept detector learns from
        found.predict(drawn(number, 1), f"r{number}")
        if number == 549:
            found.feedback({"ids": [f"r{i}" for i in range(550)], "labels": [1] * 550})
            found.told()
    found.feedback({"ids": [f"r{i}" for i in range(550, 600)], "labels": [1] * 50})


def test_the_page_has_every_column_and_loads_nothing(lived: Any) -> None:
    told, _ = lived
    page = observing.page(told)
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    assert len([tag for tag, _ in tags if tag == "figure"]) == 5  # three columns, the label, a score
    assert not [a for _, attrs in tags for a in attrs if a in ("src", "href")]
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page
    assert "since 20" in page


def test_names_out_of_a_file_are_text(lived: Any) -> None:
    told = json.loads(json.dumps(lived[0]))
    told["models"]["loans"]["1"]["features"][0]["name"] = "<script>alert(1)</script>"
    assert "<script>" not in observing.page(told)


def test_the_table_says_what_has_drifted(lived: Any) -> None:
    text = observing.table(lived[0])
    assert "inputs FAILED since" in text
    assert "input[1]" in text
    assert "accuracy" in text
    assert observing.table({"models": {}}).startswith("nothing is watched")


def test_every_name_of_rules_and_dashboard_is_on_the_page_of_a_live_server(lived: Any) -> None:
    _, page = lived
    there = {line.partition("{")[0].partition(" ")[0] for line in page.splitlines() if not line.startswith("#")}
    asked = set(NAMES.findall(observing.export("prometheus")) + NAMES.findall(observing.export("grafana")))
    assert len(asked) >= 15
    assert asked - there == set()


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(observing.export("grafana"))["panels"]
    return found


def test_the_dashboards_panels_fit() -> None:
    dashboard = json.loads(observing.export("grafana"))
    assert (dashboard["id"], dashboard["uid"], dashboard["schemaVersion"]) == (None, "setsail-models", 39)
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells


def promtool(folder: Path) -> str:
    """Prometheus' own tool, of the system or of Debian's package, which is unpacked and not installed."""
    if found := shutil.which("promtool"):
        return found
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("there is no promtool, and no Debian to get it from")
    got = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, text=True, timeout=300)
    packages = list(folder.glob("prometheus_*.deb"))
    if got.returncode or not packages:
        pytest.skip(f"Debian's prometheus cannot be had here: {got.stderr[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(folder)], check=True, timeout=120)
    return str(folder / "usr/bin/promtool")


RULE_TESTS = """
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'setsail_drift_alarm{model="m",version="1",family="inputs"}', values: "0x9 1x60"}
      - {series: 'setsail_drift_alarm{model="m",version="1",family="outputs"}', values: "0x70"}
      - {series: 'setsail_drift_alarm{model="m",version="1",family="concept"}', values: "1x70"}
      - {series: 'setsail_requests_total{model="m",version="1",wire="v2",code="ok"}', values: "0+90x70"}
      - {series: 'setsail_requests_total{model="m",version="1",wire="v2",code="model.run"}', values: "0+10x70"}
      - {series: 'setsail_watch_rows_total{model="m",version="1"}', values: "0+100x120"}
      - {series: 'setsail_watch_windows_total{model="m",version="1"}', values: "5x120"}
      - {series: 'setsail_watch_reference_rows{model="m",version="1"}', values: "5000x120"}
    alert_rule_test:
      - {eval_time: 5m, alertname: ModelDataDriftDetected, exp_alerts: []}
      - eval_time: 20m
        alertname: ModelDataDriftDetected
        exp_alerts:
          - exp_labels: {severity: warning, model: m, version: "1", family: inputs}
            exp_annotations: {summary: "m version 1: its inputs are not those it was trained on"}
      - {eval_time: 20m, alertname: ModelPredictionDriftDetected, exp_alerts: []}
      - eval_time: 20m
        alertname: ModelConceptDriftDetected
        exp_alerts:
          - exp_labels: {severity: critical, model: m, version: "1", family: concept}
            exp_annotations: {summary: "m version 1: labels say that it has become worse"}
      - eval_time: 30m
        alertname: ModelHighErrorRate
        exp_alerts:
          - exp_labels: {severity: critical, model: m}
            exp_annotations: {summary: "m: 10% of requests fail"}
      - eval_time: 115m
        alertname: ModelMonitorStalled
        exp_alerts:
          - exp_labels: {severity: warning, model: m, version: "1"}
            exp_annotations: {summary: "m version 1: rows come, and no window has ended in an hour"}
"""


@pytest.mark.slow
def test_prometheus_own_tool_takes_the_rules_the_queries_and_the_page(tmp_path: Path, lived: Any) -> None:
    tool = promtool(tmp_path)

    def call(*args: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool, *args], cwd=tmp_path, capture_output=True, text=True, input=text, timeout=120)

    (tmp_path / "rules.yaml").write_text(observing.export("prometheus"))
    (tmp_path / "tests.yaml").write_text(RULE_TESTS)
    queries = [t["expr"] for panel in panels() for t in panel["targets"]]
    ours = [q.replace("$__rate_interval", "5m").replace("$model", ".*") for q in queries]
    asked = {"groups": [{"name": "dashboard", "rules": [{"record": f"a:b{i}", "expr": q} for i, q in enumerate(ours)]}]}
    (tmp_path / "queries.yaml").write_text(json.dumps(asked))
    for found in (call("check", "rules", "rules.yaml"), call("check", "rules", "queries.yaml"),
                  call("test", "rules", "tests.yaml")):  # fmt: skip
        assert found.returncode == 0, found.stdout + found.stderr
    linted = call("check", "metrics", text=lived[1])
    told = [line for line in linted.stderr.splitlines() if "setsail_worker_restarts" not in line]
    assert told == [], told
