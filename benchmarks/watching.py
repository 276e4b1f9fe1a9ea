"""What noting rows for drift costs on the way of a request: `Watch.__call__`, microseconds a row.

    python -m benchmarks.watching

A table of 30 columns, two outputs, the fastest of many turns of one thread. *While many come* is above 256 rows between
two counts, when of rows that come one to a run not every one is noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from setsail.messages import ModelRef
from setsail.monitor.profile import Column, Reference
from setsail.monitor.watch import Watch

COLUMNS, TURNS, RUNS, FREE = 30, 150, 200, 300


@dataclass
class Named:
    """Of a request, what is noted."""

    id: str
    model: ModelRef = field(default_factory=lambda: ModelRef("m"))


@dataclass
class Asked:
    """One prediction of one row."""

    request: Named
    rows: int = 1


def reference() -> Reference:
    """Ten bins of every input column and of three scores, and a class."""
    counts, edges = (10,) * 10 + (0,), tuple(float(edge) for edge in range(9))
    inputs = tuple(Column(f"x[{i}]", "x", i, counts, edges) for i in range(COLUMNS))
    scores = tuple(Column(f"p[{i}]", "probabilities", i, counts, edges) for i in range(3))
    return Reference(100, inputs, (*scores, Column("label", "label", None, (50, 50, 0, 0), (), ("0", "1"))))


def cost(rows: int, *, ids: bool, many: bool) -> float:
    """Seconds a row, of runs of so many rows."""
    watch, best = Watch("digest", reference()), float("inf")
    asked = [Asked(Named(f"id-{row}" if ids else "")) for row in range(rows)]
    inputs = {"x": np.zeros((rows, COLUMNS))}
    outputs = {"probabilities": np.zeros((rows, 3), np.float32), "label": np.zeros(rows, np.int64)}
    runs = min(RUNS, 4096 // rows)
    for _ in range(TURNS):
        watch.count()
        for _ in range(FREE if many else 0):
            watch(asked, inputs, outputs, rows)
        begin = perf_counter()
        for _ in range(runs):
            watch(asked, inputs, outputs, rows)
        best = min(best, (perf_counter() - begin) / (runs * rows))
    return best


def empty() -> float:
    """Seconds that a call of a function takes which does nothing: how fast this machine is just now."""

    def nothing() -> None:
        pass

    best = float("inf")
    for _ in range(TURNS):
        begin = perf_counter()
        for _ in range(RUNS):
            nothing()
        best = min(best, (perf_counter() - begin) / RUNS)
    return best


def main() -> None:
    """Print the table of docs/watching.md."""
    print(f"an empty call takes {empty() * 1e6:.3f} µs\n\n| rows of a run | µs a row | with ids |\n|---|---|---|")
    lines = (("1, while many come (above 256 a second)", 1, True), ("1, each noted", 1, False), ("4", 4, False),
             ("32", 32, False), ("64", 64, False))  # fmt: skip
    for title, rows, many in lines:
        plain, named = (cost(rows, ids=ids, many=many) * 1e6 for ids in (False, True))
        print(f"| {title} | {plain:.2g} | {named:.2g} |")


if __name__ == "__main__":
    main()
