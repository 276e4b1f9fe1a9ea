from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks.plot import OURS, plotted
from benchmarks.report import joined, markdown, promised, rows_of, spliced
from benchmarks.workloads import PROMISES

SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {
    "cpu": "a CPU", "cores": 2, "memory_gib": 24, "kernel": "6", "python": "3.11", "packages": {"numpy": "2.4"},
    "wrk": "wrk 4", "h2load": "h2load 1", "nginx": "nginx 1", "priority": -15, "seconds": 3.0,
}  # fmt: skip


def sample(peer: str, rate: float, *, workload: str = "iris", workers: int = 2, clients: int = 64, **more: Any) -> dict:
    figures = {"p50_ms": 1.0, "p99_ms": 2.0, "cpu_ms_per_1000": 30.0, "errors": 0, "round": 0} | more
    return {"workload": workload, "peer": peer, "workers": workers, "clients": clients, "rate": rate} | figures


def kept(samples: list[dict], text: str) -> tuple[float | None, str, bool | None]:
    return next(row[1:] for row in promised(rows_of(samples)) if text in row[0].text)


def test_a_rate_must_be_at_least_so_many_times_the_others() -> None:
    assert kept([sample("setsail", 800), sample("fastapi", 100)], "2 workers: tuned") == (8.0, "fastapi", True)
    assert kept([sample("setsail", 799), sample("fastapi", 100)], "2 workers: tuned") == (7.99, "fastapi", False)


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    assert kept([sample("setsail", 800)], "2 workers: tuned") == (None, "", None)
    assert kept([sample("setsail", 800), sample("fastapi", 100, workers=1)], "2 workers: tuned") == (None, "", None)


def test_the_best_peer_is_the_one_that_is_hardest_to_beat_whatever_its_workers() -> None:
    samples = [
        sample("setsail", 1, workers=1, clients=1, p50_ms=0.1),
        sample("uvicorn", 1, workers=1, clients=1, p50_ms=0.3),
        sample("flask", 1, workers=2, clients=1, p50_ms=0.2),
        sample("echo", 1, workers=1, clients=1, p50_ms=0.01),  # serves no model
    ]
    assert kept(samples, "1 client: p50") == (0.5, "flask", True)


def test_the_in_process_limit_has_no_clients() -> None:
    ours = sample("setsail", 40, workload="resnet18", clients=8, cpu_ms_per_1000=42_000.0)
    limit = sample("in-process", 50, workload="resnet18", clients=0, cpu_ms_per_1000=40_000.0)
    assert kept([ours, limit], "in process") == (1.05, "in-process", True)


def test_grpc_is_held_against_our_own_rest() -> None:
    samples = [sample("setsail", 8, workload="iris-grpc"), sample("setsail", 10, workload="iris-binary")]
    assert kept(samples, "its own REST") == (0.8, "setsail", True)


def test_every_promise_is_part_of_the_quick_run() -> None:
    from benchmarks.workloads import QUICK, WORKLOADS

    visits = {(v.workload, v.peer, v.workers): v.clients or WORKLOADS[v.workload].clients for v in QUICK}
    for promise in PROMISES:
        assert promise.clients in visits[promise.workload, "setsail", promise.workers], promise.text
        for peer in promise.against:
            clients = visits[promise.other or promise.workload, peer, promise.workers]
            assert promise.clients in clients or peer == "in-process", promise.text


def test_the_page_has_medians_settings_and_what_was_skipped() -> None:
    samples = [sample("setsail", rate, round=number) for number, rate in enumerate((90.0, 1100.0, 1000.0))]
    skipped = {"torchserve": "no Java\n in /some/folder/bin"}
    page = markdown({"machine": MACHINE, "samples": samples, "skipped": skipped}, "p.svg")
    assert "Medians of 3 interleaved rounds" in page
    assert "| setsail | 2 | 64 | 1,000 | 1 | 2 | 30 | – | – | 0 | 90–1,100 | 3 |" in page
    assert "![The figures as bars](p.svg)" in page
    assert "as installed, no setting changed" in page
    assert "- torchserve: no Java in bin" in page
    assert "raw ASGI on uvicorn | –" not in page


def test_figures_replace_those_between_the_marks() -> None:
    from benchmarks.report import BEGIN, END

    page = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    assert spliced(page, "new") == f"# Title\n{BEGIN}\n\nnew\n\n{END}\nrest\n"
    with pytest.raises(ValueError, match="lacks"):
        spliced("# Title\n", "new")


def test_runs_are_joined() -> None:
    runs = [{"machine": MACHINE, "skipped": {str(n): "why"}, "samples": [sample("setsail", n)]} for n in (1, 3)]
    both = joined(runs)
    assert both["skipped"] == {"1": "why", "3": "why"}
    assert rows_of(both["samples"])["iris", "setsail", 2, 64]["rate"] == 2


def test_the_plot_is_svg_with_a_bar_for_each_figure() -> None:
    rows = rows_of([sample("setsail", 1000.0, pss_mb=50.0), sample("fastapi", 10.0), sample("echo", 0.0, clients=8)])
    root = ElementTree.fromstring(plotted(rows))
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") == OURS]
    assert len(bars) == 5  # no cold start was measured
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"setsail ×2", "1,000", "FastAPI, tuned ×2"} <= set(texts)
    assert "echo: asyncio protocol ×2" not in texts  # at fewer clients than the others


def test_a_longer_bar_is_a_larger_figure() -> None:
    rows = rows_of([sample("setsail", 1000.0), sample("fastapi", 10.0), sample("flask", 1.0)])
    root = ElementTree.fromstring(plotted(rows))
    left = min(float(rect.get("x")) for rect in root.iter(f"{SVG}rect") if rect.get("x"))
    widths = [float(rect.get("width")) for rect in root.iter(f"{SVG}rect") if rect.get("x") == str(int(left))]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3
