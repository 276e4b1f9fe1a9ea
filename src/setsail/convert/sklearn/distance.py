"""Distances of rows to fitted points, in three ways.

`distances` sums over the features one after the other, as scikit-learn's trees do, and gives their very bits;
`expanded` is one matrix product, for where the source itself rounds like that or where rounding cannot show;
`nearest_rows` finds candidates by the product and measures only those exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.sklearn.arithmetic import column, number, repeat, total
from setsail.tensors import Array

__all__ = ["METRICS", "distances", "expanded", "nearest_rows", "rounding"]

_UNROLLED: Final = 64  # features up to here are nodes of their own: a round of a loop costs far more than a node
_SPARE: Final = 32  # candidates beside the k nearest
_JUDGED: Final = 64  # training rows on which the candidates are judged

# Metric -> (one feature's share from its difference, how shares meet, the distance from what they made).
_EUCLIDEAN: Final = ("square", "Add", "Sqrt")
METRICS: Final = {
    "euclidean": _EUCLIDEAN,
    "l2": _EUCLIDEAN,
    "sqeuclidean": ("square", "Add", None),
    "manhattan": ("Abs", "Add", None),
    "cityblock": ("Abs", "Add", None),
    "l1": ("Abs", "Add", None),
    "chebyshev": ("Abs", "Max", None),
    "infinity": ("Abs", "Max", None),
}


def distances(graph: Graph, x: str, points: Array, metric: str = "euclidean", p: float | None = None) -> str:
    """Distances `[N, points]`, summed over features one by one: a few matrices of that size, never `[N, M, k]`.

    This is the arithmetic of the source's trees to the bit, and exact where two rows are equal.

    Raises:
        KeyError: for a metric not in the table; callers refuse first.
    """
    if metric == "minkowski":
        metric = {1.0: "manhattan", 2.0: "euclidean", np.inf: "chebyshev"}.get(float(p or 2), metric)
    share, meet, finish = ("power", "Add", "root") if metric == "minkowski" else METRICS[metric]
    features = graph.constant(np.ascontiguousarray(points.T), np.float64)

    def step(inner: Graph, i: str, held: str) -> tuple[str, None]:
        theirs = inner.node("Gather", features, i, axis=0)
        apart = inner.node("Sub", column(inner, inner.node("Gather", x, i, axis=1)), theirs)
        if share == "square":
            part = inner.node("Mul", apart, apart)
        else:
            part = inner.node("Abs", apart)
            part = inner.node("Pow", part, number(inner, float(p or 2))) if share == "power" else part
        return str(inner.node(meet, held, part)), None

    width = points.shape[1]
    made = repeat(graph, x, np.zeros(len(points)))
    if width > _UNROLLED:
        made = graph.loop(width, made, "float64", step)
    else:
        for i in range(width):
            made, _ = step(graph, graph.constant(i, np.int64), made)
    if finish == "root":
        return str(graph.node("Pow", made, number(graph, 1.0 / float(p or 2))))
    return made if finish is None else str(graph.node(finish, made))


def expanded(graph: Graph, x: str, points: Array) -> str:
    """Squared euclidean distances `[N, points]` as `|x|² - 2 x·p + |p|²`.

    The origin is moved into the points' midst first, so that data far from zero loses no digits.
    """
    middle = points.mean(axis=0)
    near, moved = graph.node("Sub", x, graph.constant(middle)), points - middle
    squares = graph.node("Add", total(graph, graph.node("Mul", near, near)), graph.constant((moved**2).sum(axis=1)))
    crossed = graph.node("MatMul", near, graph.constant(-2.0 * moved.T))
    return str(graph.node("Max", graph.node("Add", squares, crossed), number(graph, 0.0)))


def rounding(points: Array) -> float:
    """How far `expanded` may be off for rows among the points."""
    spread = ((points - points.mean(axis=0)) ** 2).sum(axis=1).max(initial=0.0)
    return float(4 * points.shape[1] ** 0.5 * np.finfo(np.float64).eps * spread)


def nearest_rows(graph: Graph, x: str, points: Array, k: int, metric: str, p: float | None) -> tuple[str, str]:
    """Distances and numbers of the k nearest points, `[N, k]` each, nearest first; of equals the lowest number."""
    euclidean = metric in ("euclidean", "l2") or (metric == "minkowski" and float(p or 2) == 2.0)
    if euclidean and _clear_candidates(points, k):
        return _among_candidates(graph, x, points, k)
    away = distances(graph, x, points, metric, p)
    found: tuple[str, str] = graph.node("TopK", away, _count(graph, k), outputs=2, axis=1, largest=0, sorted=1)
    return found


def _count(graph: Graph, k: int) -> str:
    return graph.constant([k], np.int64)


def _clear_candidates(points: Array, k: int) -> bool:
    """Whether the spare candidates lie clearly behind the k nearest, measured by what `expanded` may be off.

    Not so where single features dwarf the rest (time stamps) or many rows are equally far (small integers).
    """
    if len(points) < 4 * (k + _SPARE):
        return False
    gap = 16 * rounding(points)
    for row in points[:: -(-len(points) // _JUDGED)]:
        squares = np.partition(((points - row) ** 2).sum(axis=1), [k - 1, k + _SPARE - 1])
        if squares[k + _SPARE - 1] - squares[k - 1] <= gap:
            return False
    return True


def _among_candidates(graph: Graph, x: str, points: Array, k: int) -> tuple[str, str]:
    rough = expanded(graph, x, points)
    spare = _count(graph, k + _SPARE)
    _, found = graph.node("TopK", rough, spare, outputs=2, axis=1, largest=0, sorted=0)
    rows, _ = graph.node("TopK", found, spare, outputs=2, axis=1, largest=0, sorted=1)  # ascending numbers
    theirs = graph.node("Gather", graph.constant(points, np.float64), rows)  # [N, candidates, features]
    apart = graph.node("Sub", graph.node("Unsqueeze", x, graph.constant([1], np.int64)), theirs)
    squares = graph.node("Mul", apart, apart)
    width, last = points.shape[1], graph.constant([2], np.int64)
    if 1 < width <= _UNROLLED:
        parts = graph.node("Split", squares, outputs=width, axis=2, num_outputs=width)
        amount = parts[0]
        for part in parts[1:]:
            amount = graph.node("Add", amount, part)
        exact = graph.node("Squeeze", amount, last)
    else:
        exact = graph.node("ReduceSum", squares, last, keepdims=0)
    away, places = graph.node("TopK", exact, _count(graph, k), outputs=2, axis=1, largest=0, sorted=1)
    return str(graph.node("Sqrt", away)), str(graph.node("GatherElements", rows, places, axis=1))
