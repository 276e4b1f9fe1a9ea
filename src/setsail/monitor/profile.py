"""What a version is held against, and how rows are counted in its bins.

An artifact's `reference.json` (`packing/reference.py`) has for each column of the inputs and the outputs a histogram;
a column of a table is one of numbers, by edges, or of levels. Everything here adds up: counts of several processes are
one vector, and its difference between two moments is what came between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from msgspec import Struct, convert

from setsail.monitor.joint import Joint
from setsail.signature import TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["COLUMNS", "Column", "Counter", "Reference", "named", "read"]

COLUMNS: Final = 512  # of the inputs that are counted; a wider table is watched by its first ones
MISSING: Final = "(missing)"
OTHER: Final = "(other)"


class Column(Struct, frozen=True):
    """One column's histogram. `counts`: the bins, then (levels only) all other levels, then missing values.

    Attributes:
        tensor, place: which input or output, and which column of it; None where it has no second dimension.
        edges: between the bins of numbers; a value on an edge is in the bin above it.
        levels: the bins of texts; None for numbers.
    """

    name: str
    tensor: str
    place: int | None
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] | None = None

    @property
    def ordered(self) -> int:
        """How many of the bins, the first ones, are in the order of numbers: all but that of missing values."""
        return 0 if self.levels is not None else len(self.counts) - 1

    def titles(self) -> list[str]:
        """What to call the bins."""
        if self.levels is not None:
            return [*self.levels, OTHER, MISSING]
        ends = [f"{edge:.4g}" for edge in self.edges]
        if not ends:
            return ["any", MISSING]
        inner = [f"{a} to {b}" for a, b in pairwise(ends)]
        return [f"below {ends[0]}", *inner, f"{ends[-1]} or more", MISSING]


class Reference(Struct, frozen=True):
    """All columns. `rows`: that they were counted over."""

    rows: int
    inputs: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()
    joint: Joint | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.inputs, *self.outputs)

    def counts(self) -> Array:
        """The reference's own, one column after the other."""
        return np.array([count for column in self.columns for count in column.counts], np.int64)


def named(spec: TensorSpec, width: int) -> list[str]:
    """What the columns of a two-dimensional tensor are called."""
    names = spec.columns or spec.labels
    return list(names) if len(names) == width else [f"{spec.name}[{i}]" for i in range(width)]


def read(body: Mapping[str, Any], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Reference:
    """Understand an artifact's `reference.json`. What the signature does not have is left out."""
    joint = body.get("joint")
    return Reference(
        int(body.get("rows", 0)),
        tuple(_columns(body.get("columns", {}), inputs)[:COLUMNS]),
        tuple(_columns(body.get("outputs", {}), outputs, prefixed=True)),
        convert(joint, Joint) if joint else None,
    )


def _columns(sketched: Mapping[str, Any], specs: Sequence[TensorSpec], *, prefixed: bool = False) -> list[Column]:
    found = []
    for spec in specs:
        if len(spec.shape) == 1 and spec.name in sketched:
            found.append(_column(spec.name, spec.name, None, sketched[spec.name]))
        elif len(spec.shape) == 2:
            width = spec.shape[1] if isinstance(spec.shape[1], int) else len(sketched)
            for place, name in enumerate(named(spec, width)):
                key = f"{spec.name}.{name}" if prefixed else name
                if key in sketched:
                    found.append(_column(key, spec.name, place, sketched[key]))
    return found


def _column(name: str, tensor: str, place: int | None, told: Mapping[str, Any]) -> Column:
    if "levels" in told:
        counts = (*told["levels"].values(), told["other"], told["missing"])
        return Column(name, tensor, place, tuple(counts), levels=tuple(told["levels"]))
    return Column(name, tensor, place, (*(told["counts"] or (0,)), told["missing"]), tuple(told["edges"]))


class Counter:
    """Counts rows in the bins of columns.

    Attributes:
        counts: one column after the other, as `Reference.counts`.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._edges = [np.array(column.edges, np.float64) for column in columns]
        self._levels = [{level: i for i, level in enumerate(column.levels or ())} for column in columns]
        sizes = [len(column.counts) for column in columns]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.counts = np.zeros(int(self._starts[-1]), np.int64)

    def add(self, arrays: Mapping[str, Array]) -> None:
        """Count rows; arrays have the rows first. Tensors that are not there are not counted."""
        for index, column in enumerate(self._columns):
            array = arrays.get(column.tensor)
            if array is None:
                continue
            values = array if column.place is None else array[:, column.place]
            start, stop = self._starts[index], self._starts[index + 1]
            bins = self._texts(index, values) if column.levels is not None else self._numbers(index, values)
            self.counts[start:stop] += np.bincount(bins, minlength=stop - start)

    def _numbers(self, index: int, values: Array) -> Array:
        numbers = values.astype(np.float64)
        bins = np.searchsorted(self._edges[index], numbers, side="right")
        bins[~np.isfinite(numbers)] = len(self._columns[index].counts) - 1
        return bins

    def _texts(self, index: int, values: Array) -> Array:
        levels = self._levels[index]
        other = len(levels)
        told = values.tolist()
        return np.array([other + 1 if v is None or v == NULL else levels.get(str(v), other) for v in told], np.int64)
