"""Splits that ask "is it one of these categories?", as columns of numbers.

onnxruntime's tree ensembles have no such test. So each set of categories that splits ask for becomes a column behind
the input's own, looked up in a table by the category's number: exact for every number there can be, and one lookup a
column however many splits there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from setsail.convert.graph import Graph
from setsail.tensors import Array

__all__ = ["LIMIT", "Sets", "gather", "lookup"]

LIMIT: Final = 20_000_000  # cells of all tables; above it the framework itself runs the model


@dataclass(frozen=True, eq=False)
class Sets:
    """The sets of categories that splits ask for, of one column whose values are categories' numbers.

    A value above `low` is cut towards zero to its number.

    Attributes:
        column: of the input.
        table: `[numbers + 2, sets]`: what the columns behind the input hold for each number; the last row but one is
            for NaN, the last for what has no number of its own.
    """

    column: int
    table: Array
    low: float

    @property
    def numbers(self) -> float:
        return float(len(self.table) - 2)

    def columns(self, rows: Array) -> Array:
        """`[N, sets]` in numpy: what programs are held against."""
        value = rows[:, self.column]
        inside = (value > self.low) & (value < self.numbers)
        other = np.where(np.isnan(value), self.numbers, self.numbers + 1)
        return np.asarray(self.table[np.where(inside, value, other).astype(np.int64)])


def gather(
    asked: Iterable[tuple[int, frozenset[int]]], width: int, *, member: float, missing: float, low: float
) -> tuple[tuple[Sets, ...], Mapping[tuple[int, frozenset[int]], int]] | None:
    """Every set of every column once.

    Args:
        asked: column and categories of each split.
        width: of the input: the sets' columns count on from it.
        member: what a number of the set becomes, 0 or 1; all others become the other of the two.
        missing: what NaN becomes.

    Returns:
        The sets, and the column of each; None where the tables would have more than LIMIT cells.
    """
    by_column: dict[int, dict[frozenset[int], None]] = {}
    for column, categories in asked:
        by_column.setdefault(column, {})[categories] = None
    found: list[Sets] = []
    places: dict[tuple[int, frozenset[int]], int] = {}
    sizes = {column: max((max(s, default=-1) for s in sets), default=-1) + 1 for column, sets in by_column.items()}
    if sum((sizes[column] + 2) * len(sets) for column, sets in by_column.items()) > LIMIT:
        return None
    for column, sets in sorted(by_column.items()):
        table = np.full((sizes[column] + 2, len(sets)), 1.0 - member)
        for index, categories in enumerate(sets):
            table[sorted(categories), index] = member
            places[column, categories] = width + len(places)
        table[-2] = missing
        found.append(Sets(column, table, low))
    return tuple(found), places


def lookup(graph: Graph, sets: Sets, x: str, dtype: str) -> str:
    """Nodes from the input `[N, width]` to the sets' columns `[N, sets]`."""
    value = graph.node("Gather", x, graph.constant(sets.column, np.int64), axis=1)
    above = graph.node("Greater", value, graph.constant(sets.low, dtype))
    inside = graph.node("And", above, graph.node("Less", value, graph.constant(sets.numbers, dtype)))
    none, other = graph.constant(sets.numbers, dtype), graph.constant(sets.numbers + 1, dtype)
    outside = graph.node("Where", graph.node("IsNaN", value), none, other)
    place = graph.cast(graph.node("Where", inside, value, outside), "int64")
    return str(graph.node("Gather", graph.constant(sets.table.astype(dtype)), place, axis=0))
