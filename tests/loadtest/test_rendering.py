"""What a person reads, from figures that are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.loadtest.plot import buckets
from setsail.loadtest.rendering import line, text
from setsail.loadtest.report import About, Phase, Report
from setsail.loadtest.statistics import summarise

ABOUT = About("m", "http://h", "", 0, "a wire", "rows.csv", 3, 240, 2, "a client", "1")


def phase(kind: str = "closed", **more: Any) -> Phase:
    seconds = np.linspace(0.001, 0.002, 1000)
    facts: dict[str, Any] = {
        "clients": 8, "offered": None, "rows": 1, "seconds": 5.0, "throughput": 1234.5, "latency": summarise(seconds),
        "shape": buckets(seconds), "errors": {}, "kept": None, "compared": 10, "unequal": 0, "client_cpu": 0.5,
        "client_wait": 0.0, "server_cpu": 0.07, "server_mb": 42.0,
    }  # fmt: skip
    return Phase(kind, **(facts | more))


def test_a_report() -> None:
    report = Report(ABOUT, target=0.01)
    report.phases += [
        phase(), phase("open", offered=900.0, kept=True, lag_p99=0.0001, errors={"429 model.busy": 2}),
        phase("open", offered=1100.0, kept=False), phase("offline", rows=128, server_cpu=None, server_mb=None),
    ]  # fmt: skip
    shown = text(report, plain=False)
    assert "closed, 8 clients" in shown
    assert "peak: 1,234 requests/s at 8 clients" in shown
    assert "within a p99 of 10.0 ms: 900 requests/s" in shown
    assert "offline: 158,016 rows/s in requests of 128 rows" in shown
    assert "open, 900/s: 2 times 429 model.busy" in shown
    assert "latency, open, 900/s" in shown
    assert "left at most 100 us late" in shown
    assert "█" in shown
    assert text(report, plain=True).isascii()
    assert line(report.phases[1]) == "open, 900/s: 1,234 requests/s, p99 1.99 ms, target kept"


def test_too_few_answers_have_no_percentile() -> None:
    few = phase(latency=summarise(np.array([0.001] * 20)))
    cells = text(Report(ABOUT, [few]), plain=True).splitlines()[3].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()][2:6] == ["1.00 ms", "-", "-", "1.00 ms"]


def test_nothing_measured() -> None:
    assert "nothing was measured" in text(Report(ABOUT), plain=True)
    document = Report(ABOUT).to_json()
    assert (document["phases"], document["best_rate_per_s"], document["interrupted"]) == ([], None, False)
