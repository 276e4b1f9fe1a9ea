"""The categories of a LightGBM model: its lists of them, whose they are, and the splits that ask for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from setsail.convert.columns import Levels, level_values
from setsail.errors import SetsailError
from setsail.tensors import Array

__all__ = ["Categories", "numbers", "read_categories", "sets"]


@dataclass(frozen=True, slots=True)
class Categories:
    """What a model text says of its categories.

    Attributes:
        levels: of each categorical column of the data frame, in the columns' order.
        columns: those that splits ask sets of.
        numbers: the categories' numbers seen in training, by column.
    """

    levels: tuple[Levels, ...]
    columns: tuple[int, ...]
    numbers: Mapping[int, tuple[int, ...]]

    @property
    def named(self) -> bool:
        """Whether the model was trained on a data frame with categories."""
        return bool(self.levels)

    def placed(self, frame: Any) -> Sequence[int]:
        """Which columns the lists belong to: LightGBM keeps the lists in order, and not whose they are.

        The example's columns of categories or texts; without such, the columns that splits ask sets of. (Ordered
        categories are numbers to LightGBM: then only an example tells.)

        Args:
            frame: the example, or None.

        Raises:
            SetsailError: `convert.example` where neither tells.
        """
        wanted = len(self.levels)
        if frame is not None:
            numbers = [getattr(dtype, "kind", "O") in "biuf" for dtype in frame.dtypes]
            for found in ([i for i, dtype in enumerate(frame.dtypes) if str(dtype) == "category"],
                          [i for i, number in enumerate(numbers) if not number]):  # fmt: skip
                if len(found) == wanted:
                    return found
        pairs = zip(self.columns, self.levels, strict=False)
        if len(self.columns) == wanted and all(
            max(self.numbers.get(i, ()), default=0) < len(found) for i, found in pairs
        ):
            return self.columns
        raise SetsailError(
            "convert.example", f"the model does not say which of its columns hold its {wanted} lists of categories",
            field="example", expected=f"a data frame in which {wanted} columns are categories or texts",
        )  # fmt: skip


def read_categories(head: Mapping[str, str], text: str) -> Categories:
    """Read a model text, whose header is `head`. Raises `convert.unsupported` for levels of other kinds."""
    seen = _numbers_of_categories(head)
    told = re.search(r"^\[categorical_feature: ([\d,]+)\]$", text, re.MULTILINE)
    columns = {*seen, *(map(int, told[1].split(",")) if told else ())}
    return Categories(tuple(map(level_values, _pandas_categorical(text))), tuple(sorted(columns)), seen)


def _pandas_categorical(text: str) -> list[Any]:
    """The categories of each categorical column of the data frame, as the last line of a model text has them."""
    found = re.search(r"^pandas_categorical:(.*)$", text, re.MULTILINE)
    return (json.loads(found[1]) if found else None) or []


def _numbers_of_categories(head: Mapping[str, str]) -> dict[int, tuple[int, ...]]:
    """Of the columns that hold categories, the numbers seen in training: `0:2:5` where others have `[low:high]`."""
    infos = enumerate(head.get("feature_infos", "").split())
    found = {i: tuple(int(n) for n in info.split(":")) for i, info in infos if re.fullmatch(r"-?\d+(:-?\d+)*", info)}
    return {i: tuple(n for n in seen if n >= 0) for i, seen in found.items()}


def numbers(tree: Mapping[str, str], key: str, dtype: Any) -> Array:
    """A list of numbers of a tree's text; none where the key is not there."""
    return np.array(tree.get(key, "").split(), dtype=np.float64).astype(dtype)


def sets(spec: Mapping[str, str]) -> Iterator[tuple[int, frozenset[int]]]:
    """Column and categories of each categorical split. Its `threshold` says which stretch of the list of words."""
    ends, words = numbers(spec, "cat_boundaries", np.int64), numbers(spec, "cat_threshold", np.uint32)
    rows = (numbers(spec, key, np.int64) for key in ("decision_type", "split_feature", "threshold"))
    for decision, column, number in zip(*rows, strict=True):
        if decision & 1:
            bits = np.unpackbits(words[ends[number] : ends[number + 1]].astype("<u4").view(np.uint8), bitorder="little")
            yield int(column), frozenset(np.flatnonzero(bits).tolist())
