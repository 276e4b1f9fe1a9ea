"""The categories of an XGBoost model: their names, as far as it holds them, and the splits that ask for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from setsail.convert.columns import Levels, level_values
from setsail.errors import SetsailError

__all__ = ["Categories", "Stored", "read_categories", "sets"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A column's categories in a model: whole numbers, or one run of UTF-8 with the texts' ends.

    XGBoost 3.2 counts characters where it should count bytes: of texts beyond ASCII it stores pieces, and goes by those
    pieces when a frame has its categories in another order. Nothing in the model says which texts there were.
    """

    ends: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether the stored texts are those of training."""
        return not self.ends or all(0 <= v < 128 for v in self.values)

    def levels(self) -> Levels:
        if not self.ends:
            return level_values(self.values)
        content = bytes(v & 0xFF for v in self.values)
        return tuple(content[a:b].decode() for a, b in pairwise(self.ends))

    def fits(self, levels: Sequence[Any]) -> bool:
        """Whether these texts, in this order, are stored so."""
        joined = "".join(map(str, levels))
        sizes = [0, *accumulate(len(str(level)) for level in levels)]
        stored = tuple(int(v) for v in np.frombuffer(joined.encode()[: len(joined)], np.int8))
        return tuple(sizes) == self.ends and stored == tuple(v - 256 if v > 127 else v for v in self.values)


@dataclass(frozen=True, slots=True)
class Categories:
    """What a model says of its categories.

    Attributes:
        stored: the names, by column.
        columns: all that hold categories, whether their names are known or not.
        numbers: the categories' numbers that splits ask for, by column.
    """

    stored: Mapping[int, Stored]
    columns: tuple[int, ...]
    numbers: Mapping[int, tuple[int, ...]]

    @property
    def named(self) -> bool:
        """Whether the model holds names, as one does that was trained on a data frame with categories."""
        return bool(self.stored)

    def by_name(self, column: int) -> bool:
        """Whether XGBoost itself goes by the names of this column's categories, and not by their order."""
        return column in self.stored and self.stored[column].plain

    def levels(self, frame: Any) -> dict[int, Levels]:
        """The levels by column: the model's own, else those that an example's own columns of categories show.

        Args:
            frame: the example, or None.

        Raises:
            SetsailError: `convert.example` where the model holds pieces of the names, and no example has them whole.
        """
        kinds = [] if frame is None else [str(dtype) for dtype in frame.dtypes]
        shown = {i: list(frame.iloc[:, i].cat.categories) for i, kind in enumerate(kinds) if kind == "category"}
        if not self.stored:
            return {i: level_values(shown[i]) for i in self.columns if i in shown}
        found: dict[int, Levels] = {}
        for column, stored in self.stored.items():
            if stored.plain:
                found[column] = stored.levels()
            elif column in shown and stored.fits(shown[column]):
                found[column] = level_values(shown[column])
            else:
                raise SetsailError(
                    "convert.example", f"XGBoost stores only pieces of the categories of column {column}, which are "
                    "not ASCII", field=str(column), expected="a data frame whose columns have the categories of "
                    "training", todo="pass rows of the training frame as the example, with its categories in order",
                )  # fmt: skip
        return found


def read_categories(model: Mapping[str, Any], types: Sequence[str]) -> Categories:
    """Read the `model` object of a booster's JSON. `types` are its features' types, `c` for categories."""
    held = enumerate(model.get("cats", {}).get("enc", []))
    stored = {i: Stored(tuple(column.get("offsets", ())), tuple(column["values"])) for i, column in held}
    return Categories(
        {i: column for i, column in stored.items() if column.ends or column.values},
        tuple(i for i, kind in enumerate(types) if kind == "c"),
        _numbers(model.get("trees", [])),
    )


def sets(spec: Mapping[str, Any]) -> Iterator[tuple[int, tuple[int, frozenset[int]]]]:
    """A tree's categorical splits: node, and its column with the categories that go right."""
    rows = (spec[f"categories_{key}"] for key in ("nodes", "segments", "sizes"))
    for node, start, size in zip(*rows, strict=True):
        if spec["left_children"][node] >= 0:
            yield node, (spec["split_indices"][node], frozenset(spec["categories"][start : start + size]))


def _numbers(trees: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, ...]]:
    """The numbers of categories up to the largest that a split of the column asks for."""
    most: dict[int, int] = {}
    for column, categories in (found for tree in trees for _, found in sets(tree)):
        most[column] = max(most.get(column, 0), max(categories, default=0))
    return {column: tuple(range(number + 1)) for column, number in most.items()}
