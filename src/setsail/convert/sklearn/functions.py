"""Element-wise functions of numpy that a model may name, as nodes with numpy's accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from setsail.convert.graph import Graph

__all__ = ["FUNCTIONS", "expm1", "log1p"]


def log1p(graph: Graph, x: str) -> str:
    """log(1 + x) without losing digits near 0: log(u) x / (u - 1) with u = 1 + x (Kahan; Higham 2002, §1.14.1)."""
    one = graph.constant(1.0)
    u = graph.node("Add", x, one)
    rest = graph.node("Sub", u, one)
    exact = graph.node("Equal", rest, graph.constant(0.0))
    infinite = graph.node("IsInf", graph.cast(u, "float32"))  # u / u would be NaN
    divisor = graph.node("Where", graph.node("Or", exact, infinite), one, rest)
    factor = graph.node("Where", infinite, one, graph.node("Div", x, divisor))
    return str(graph.node("Where", exact, x, graph.node("Mul", graph.node("Log", u), factor)))


def expm1(graph: Graph, x: str) -> str:
    """exp(x) - 1 without losing digits near 0: (u - 1) x / log(u) with u = exp(x) (same source)."""
    one, half = graph.constant(1.0), graph.constant(0.5)
    u = graph.node("Exp", x)
    rest = graph.node("Sub", u, one)
    small = graph.node("Less", graph.node("Abs", x), half)
    log = graph.node("Log", graph.node("Where", small, u, graph.constant(2.0)))
    flat = graph.node("Equal", log, graph.constant(0.0))
    near = graph.node("Mul", rest, graph.node("Div", x, graph.node("Where", flat, one, log)))
    return str(graph.node("Where", small, graph.node("Where", flat, x, near), rest))


def _one(op: str) -> Callable[[Graph, str], str]:
    return lambda graph, x: str(graph.node(op, x))


# Exactly these numpy functions; anything else in a model is somebody's Python code.
FUNCTIONS: Final[Mapping[Any, Callable[[Graph, str], str]]] = {
    np.log1p: log1p,
    np.expm1: expm1,
    np.log: _one("Log"),
    np.exp: _one("Exp"),
    np.sqrt: _one("Sqrt"),
    np.abs: _one("Abs"),
    np.negative: _one("Neg"),
    np.square: lambda graph, x: str(graph.node("Mul", x, x)),
    np.log2: lambda graph, x: str(graph.node("Div", graph.node("Log", x), graph.constant(np.log(2.0)))),
    np.log10: lambda graph, x: str(graph.node("Div", graph.node("Log", x), graph.constant(np.log(10.0)))),
}
