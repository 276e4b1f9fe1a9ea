"""What a run found, for people: medians, the promises, tables and a plot.

python -m benchmarks.report RESULTS.json...  writes docs/performance.svg and the figures in docs/performance.md
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.figures import medians, shown
from benchmarks.peers import PEERS
from benchmarks.plot import plotted
from benchmarks.workloads import PROMISES, WORKLOADS, Promise

__all__ = ["machine", "markdown", "promised", "rows_of", "written"]

Key = tuple[str, str, int, int]  # workload, peer, workers, clients
Row = Mapping[str, Any]
BEGIN, END = "<!-- figures: written by python -m benchmarks.report -->", "<!-- end of figures -->"
PAGE: Final = Path("docs/performance.md")
COLUMNS: Final = {
    "rate": "requests/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_ms_per_1000": "CPU ms / 1,000",
    "pss_mb": "memory MB", "cold_start_s": "cold start s", "errors": "errors",
}  # fmt: skip


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) >> 20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    tools = {"wrk": "own client", "h2load": "none", "nginx": "none"}
    for tool in tools:
        if shutil.which(tool):
            done = subprocess.run(
                [tool, "-v" if tool != "h2load" else "--version"], capture_output=True, text=True, check=False
            )
            tools[tool] = (done.stdout + done.stderr).splitlines()[0].split("Copyright")[0].strip()
    return {
        "cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory + 1, "kernel": platform.release(),
        "python": platform.python_version(), **tools,
        "packages": {name: _version(name) for name in ("setsail", "onnxruntime", "numpy", "uvloop", "httptools")},
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def rows_of(samples: Iterable[Row]) -> dict[Key, dict[str, Any]]:
    """The median row of every (workload, peer, workers, clients)."""
    grouped: dict[Key, list[Row]] = {}
    for sample in samples:
        grouped.setdefault((sample["workload"], sample["peer"], sample["workers"], sample["clients"]), []).append(
            sample
        )
    return {key: medians(group) for key, group in grouped.items()}


# -- promises ------------------------------------------------------------------------------------------------------


def promised(rows: Mapping[Key, Row]) -> list[tuple[Promise, float | None, str, bool | None]]:
    """Each promise with the ratio measured, which server it is against, and whether it holds; None: not measured."""
    return [(promise, *_kept(promise, rows)) for promise in PROMISES]


def _kept(promise: Promise, rows: Mapping[Key, Row]) -> tuple[float | None, str, bool | None]:
    ours = rows.get((promise.workload, "setsail", promise.workers, promise.clients), {}).get(promise.figure)
    more = promise.figure == "rate"
    others: list[tuple[float, str]] = []
    for (workload, peer, workers, clients), row in rows.items():
        if workload != (promise.other or promise.workload) or row.get(promise.figure) is None:
            continue
        if promise.against:
            wanted = peer in promise.against and workers == promise.workers and clients in (promise.clients, 0)
        else:  # the best peer: with as many workers as suits it
            wanted = PEERS[peer].serves and peer != "setsail" and clients == promise.clients
        if wanted:
            others.append((row[promise.figure], peer))
    if ours is None or not others:
        return None, "", None
    theirs, who = max(others) if more else min(others)
    if not theirs:
        return None, who, None
    ratio = ours / theirs
    return ratio, who, ratio >= promise.wanted if more else ratio <= promise.wanted


# -- tables --------------------------------------------------------------------------------------------------------


def markdown(document: Mapping[str, Any], plot: str = "plot.svg") -> str:
    """The page part: machine, promises, plot, a table a workload, settings, what was skipped."""
    rows = rows_of(document["samples"])
    parts = [_machine_text(document), _promise_table(rows), f"![The figures as bars]({plot})"]
    parts += [_workload_table(workload, rows) for workload in WORKLOADS if any(key[0] == workload for key in rows)]
    parts.append(_settings_table({key[1] for key in rows}))
    if document["skipped"]:
        parts.append(
            "Not measured:\n\n" + "\n".join(f"- {who}: {_anywhere(why)}" for who, why in document["skipped"].items())
        )
    return "\n\n".join(parts) + "\n"


def _anywhere(text: str) -> str:
    """What a process printed, in one line and without this machine's folders."""
    return re.sub(r"(?:/[\w.+-]+)+/", "", " ".join(text.split()))


def _machine_text(document: Mapping[str, Any]) -> str:
    facts = document["machine"]
    rounds = 1 + max((sample["round"] for sample in document["samples"]), default=-1)
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    others = median([sample["others_cores"] for sample in document["samples"] if "others_cores" in sample] or [0.0])
    priority = "raised" if facts["priority"] == -15 else f"not raised ({facts['priority']})"
    return (
        f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, Linux {facts['kernel']}, "
        f"Python {facts['python']}; {packages}; {facts['wrk']}, {facts['h2load']}, {facts['nginx']}. "
        f"Medians of {rounds} interleaved rounds, windows of {facts['seconds']:g} s ({2 * facts['seconds']:g} s for "
        f"slow requests). Servers and load share the cores; priority of the run: {priority}; other processes took "
        f"{others:.2f} cores (median of all windows)."
    )


def _promise_table(rows: Mapping[Key, Row]) -> str:
    lines = ["| setsail beside | wanted | measured | |", "|---|---|---|---|"]
    for promise, ratio, who, kept in promised(rows):
        wanted = f"{'≥' if promise.figure == 'rate' else '≤'} {promise.wanted:.3g} ×"
        title = f" ({PEERS[who].title})" if who and not promise.against else ""
        measured = "not measured" if ratio is None else f"{ratio:.3g} ×{title}"
        lines.append(f"| {promise.text} | {wanted} | {measured} | {'' if kept is None else 'yes' if kept else 'no'} |")
    return "\n".join(lines)


def _workload_table(workload: str, rows: Mapping[Key, Row]) -> str:
    heads = ["server", "workers", "clients", *COLUMNS.values(), "min–max", "rounds"]
    lines = [f"### {WORKLOADS[workload].title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    found = [(key, row) for key, row in rows.items() if key[0] == workload]
    for (_, peer, workers, clients), row in sorted(found, key=lambda pair: (pair[0][3], -pair[1]["rate"])):
        cells = [PEERS[peer].title, str(workers), str(clients or "–")]
        cells += [shown(row[name]) if name in row else "–" for name in COLUMNS]
        cells += [f"{shown(row['rate_min'])}–{shown(row['rate_max'])}", str(row["rounds"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _settings_table(peers: Collection[str]) -> str:
    lines = ["### Servers and their settings", "", "| server | packages | settings |", "|---|---|---|"]
    for name, peer in PEERS.items():
        if name in peers:
            lines.append(f"| {peer.title} | {', '.join(peer.packages) or '–'} | {peer.notes} |")
    return "\n".join(lines)


# -- files ---------------------------------------------------------------------------------------------------------


def written(document: Mapping[str, Any], out: Path, results: Path | None = None) -> None:
    """results.json, table.md and plot.svg in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (results or out / "results.json").write_text(json.dumps(document, indent=1))
    (out / "table.md").write_text(markdown(document))
    (out / "plot.svg").write_text(plotted(rows_of(document["samples"])))


def joined(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs on one machine as one; runs of the same server add rounds."""
    return {
        "machine": documents[0]["machine"],
        "skipped": {who: why for document in documents for who, why in document["skipped"].items()},
        "samples": [sample for document in documents for sample in document["samples"]],
    }


def spliced(page: str, figures: str) -> str:
    """`page` with `figures` between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks {BEGIN!r} … {END!r}")
    return f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}"


def main(argv: Sequence[str]) -> int:
    if not argv:
        print(__doc__, file=sys.stderr)
        return 2
    document = joined([json.loads(Path(path).read_text()) for path in argv])
    plot = PAGE.with_suffix(".svg")
    PAGE.write_text(spliced(PAGE.read_text(), markdown(document, plot.name)))
    plot.write_text(plotted(rows_of(document["samples"])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
