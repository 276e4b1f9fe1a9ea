"""The rows of a booster that knows categories: one `[N]` input for each column, in order (`contract.md` §5).

Frameworks number categories by their order in a data frame, so the same text has another number in another frame: the
commonest silent wrong answer of boosted trees. Clients therefore send the category itself. Where a program takes the
numbers, the step `table.levels` gives each text the number it had in training and `table.stack` makes them a matrix;
where the framework's own reader takes texts (CatBoost), columns go in as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

import numpy as np

from setsail.convert.probes import Range
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.steps import Step
from setsail.tensors import BY_NAME, NULL, Array

__all__ = [
    "Column",
    "Columns",
    "Levels",
    "category_frame",
    "frame_of",
    "is_frame",
    "level_values",
    "pandas",
    "read_columns",
    "unfit",
]

Levels = tuple[str, ...] | tuple[int, ...]
_MATRIX: Final = "input"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        dtype: of the signature.
        levels: of a categorical column, in the order of its numbers; () for all others, and where nobody knows them.
        closed: whether the source refuses a level that is not among them.
        nullable: whether the source takes a missing value.
        ordered: whether the source knows the levels by their order alone, which its users must keep.
    """

    name: str
    dtype: str
    levels: Levels = ()
    closed: bool = False
    nullable: bool = True
    ordered: bool = False

    def spec(self) -> TensorSpec:
        kind = BY_NAME[self.dtype].kind
        texts = tuple(map(str, self.levels)) if kind != "float" else ()  # of floats the step itself refuses others
        return TensorSpec(
            self.name, BY_NAME[self.dtype], (BATCH,), categories=texts,
            closed=self.closed and bool(texts), nullable=self.nullable and kind in ("float", "string"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """The input of a booster, a column each.

    Attributes:
        columns: in the model's order.
        matrix: dtype of the matrix of numbers that the programs take; "" where they take the columns.
        given: the signature's inputs -> rows as the source takes them.
        example: the person's rows, by column.
    """

    columns: tuple[Column, ...]
    matrix: str
    given: Callable[[Mapping[str, Array]], Any]
    example: Mapping[str, Array] | None = None

    def specs(self) -> tuple[TensorSpec, ...]:
        return tuple(column.spec() for column in self.columns)

    def inner(self) -> tuple[TensorSpec, ...]:
        """What the programs take."""
        if not self.matrix:
            return self.specs()
        return (TensorSpec(_MATRIX, BY_NAME[self.matrix], (BATCH, len(self.columns)), nullable=True),)

    def steps(self) -> tuple[Step, ...]:
        """From the columns to the matrix.

        A missing level is NaN, as it is to the frameworks; so is an unknown one where it is not refused.
        """
        if not self.matrix:
            return ()
        taken = {column.name for column in self.columns}
        made, stacked = [], []
        for column in self.columns:
            name = column.name
            while column.levels and name in taken:  # a name of its own: columns are called anything
                name = f"level of {name}"
            if column.levels:
                taken.add(name)
                options = {"levels": list(column.levels), "dtype": self.matrix, "missing_nan": True}
                options |= {} if column.closed else {"unknown_nan": True}
                made.append(Step("table.levels", (column.name,), (name,), options))
            stacked.append(name)
        return (*made, Step("table.stack", tuple(stacked), (_MATRIX,), {"dtype": self.matrix}))

    def ranges(self, thresholds: Sequence[tuple[float, ...]], bounds: Sequence[tuple[float, float] | None]) -> dict[
        str, tuple[Range, ...]
    ]:  # fmt: skip
        """What is known of each column: its levels; else where the model decides, and bounds of training."""
        found: dict[str, tuple[Range, ...]] = {}
        for index, column in enumerate(self.columns):
            low, high = (bounds[index] if index < len(bounds) else None) or (None, None)
            limits = thresholds[index] if index < len(thresholds) else ()
            known = Range(levels=column.levels, closed=column.closed) if column.levels else \
                Range(low, high, thresholds=limits)  # fmt: skip
            if self.example is not None and not column.levels and BY_NAME[column.dtype].kind == "string":
                known = replace(Range.of(self.example[column.name]), missing=False)
            found[column.name] = (known,)
        return found


def level_values(values: Sequence[Any]) -> Levels:
    """A column's categories in order. Raises `convert.unsupported` for any but texts and whole numbers."""
    kept = [v.item() if isinstance(v, np.generic) else v for v in values]
    if all(isinstance(v, str) for v in kept) or all(type(v) is int for v in kept):
        return tuple(kept)
    raise SetsailError("convert.unsupported", "a column's categories are neither all texts nor all whole numbers",
                       field="categories", value=kept, expected="texts or whole numbers",
                       todo="make the column's categories texts, and train again")  # fmt: skip


# -- the example -------------------------------------------------------------------------------------------------------


def is_frame(example: Any) -> bool:
    """Whether an example has named columns of their own dtypes."""
    return isinstance(example, Mapping) or (hasattr(example, "columns") and hasattr(example, "iloc"))


def pandas() -> Any:
    """pandas, which alone makes the frames that the sources take. Raises `dependency.missing`."""
    try:
        return import_module("pandas")
    except ModuleNotFoundError as fault:
        line = 'pip install "setsail[pandas]"'
        raise SetsailError("dependency.missing", "packing a model with categories needs pandas", field="pandas",
                           todo=f"run: {line}", command=line) from fault  # fmt: skip


def frame_of(example: Any, names: Sequence[str]) -> Any:
    """An example as a data frame with the model's columns, in the model's order.

    Raises:
        SetsailError: `convert.input` for columns that lack.
    """
    frame = pandas().DataFrame(dict(example)) if isinstance(example, Mapping) else example
    if not is_frame(frame):
        cells = np.asarray(example)
        if cells.ndim != 2 or cells.shape[1] != len(names):
            raise unfit("has another shape", list(cells.shape), f"[rows, {len(names)}]")
        frame = pandas().DataFrame(cells, columns=list(names)).infer_objects()
    found = [str(c) for c in frame.columns]
    alike = {n.replace(" ", "_"): i for i, n in enumerate(found)} | {n: i for i, n in enumerate(found)}
    if set(names) == {f"x{i}" for i in range(len(names))} and len(found) == len(names):
        return frame.set_axis(list(names), axis=1)  # the model knows no names
    for name in names:
        if name not in alike:
            raise unfit(f"lacks the column {name!r} of the model", found, ", ".join(list(names)[:12]))
    if not len(frame):
        raise unfit("has no rows", found, "a few rows")
    return frame.iloc[:, [alike[n] for n in names]]


def unfit(why: str, value: object, expected: str) -> SetsailError:
    return SetsailError("convert.input", f"the example {why}", field="example", value=value, expected=expected)


def read_columns(columns: Sequence[Column], frame: Any) -> tuple[tuple[Column, ...], dict[str, Array]]:
    """An example's rows by column, and the columns with the dtypes that it shows.

    A number keeps its own float dtype and is float64 otherwise; texts and whole numbers with levels stay what they are.
    Whole numbers of which some are missing are float64, in which NaN says so.

    Raises:
        SetsailError: `convert.input` for text where the model has numbers, and the other way round.
    """
    found: list[Column] = []
    rows: dict[str, Array] = {}
    for index, column in enumerate(columns):
        series = frame.iloc[:, index]
        name = str(frame.columns[index])
        kind = BY_NAME[column.dtype].kind
        if kind == "string":
            dtype, values = column.dtype, _texts(series, name, column.nullable)
        elif kind == "int":
            values = _whole(series, name, column.nullable)
            dtype = values.dtype.name
        else:
            dtype = _number(series.dtype)
            values = _numbers(series, name, dtype)
        found.append(replace(column, name=name, dtype=dtype))
        rows[name] = values
    return tuple(found), rows


def _number(dtype: Any) -> str:
    return {"float32": "float32", "bool": "bool"}.get(str(dtype), "float64")


def _numbers(series: Any, name: str, dtype: str) -> Array:
    try:
        return np.asarray(series.to_numpy(dtype=dtype))
    except (TypeError, ValueError) as fault:
        raise unfit(f"has a column {name!r} that is no number", str(series.dtype), "numbers") from fault


def _texts(series: Any, name: str, nullable: bool) -> Array:
    gone = series.isna().to_numpy()
    if gone.any() and not nullable:
        raise unfit(f"has missing values in column {name!r}, which the model refuses", None, "a text in every row")
    values = series.to_numpy(dtype=object)
    odd = next((v for v in values[~gone] if not isinstance(v, str)), None)
    if odd is not None:
        raise unfit(f"has a column {name!r} that is not all text", odd, "texts")
    return np.where(gone, NULL, values).astype(object)


def _whole(series: Any, name: str, nullable: bool) -> Array:
    gone = series.isna().to_numpy()
    values = series.to_numpy(dtype=object)[~gone]
    odd = next((v for v in values if isinstance(v, bool | str) or v != int(v)), None)
    if odd is not None or (gone.any() and not nullable):
        raise unfit(f"has a column {name!r} that is not all whole numbers", odd, "whole numbers")
    if not gone.any():
        return np.asarray(values.astype(np.int64))
    found = np.full(len(gone), np.nan)
    found[~gone] = values.astype(np.float64)
    return found


# -- the source's own rows ---------------------------------------------------------------------------------------------


def category_frame(columns: Sequence[Column]) -> Callable[[Mapping[str, Array]], Any]:
    """The signature's inputs as a data frame with columns of categories, as a person would make it of these rows.

    The categories of a column are those of its rows in their own order, not the order of training: what the source
    answers shows whether it goes by name.
    """

    def given(inputs: Mapping[str, Array]) -> Any:
        pd = pandas()
        made = {}
        for column in columns:
            values: Any = inputs[column.name]
            if column.levels:
                texts = values.dtype.kind == "O"
                present = [None if v == NULL or v != v else v if texts else int(v) for v in values.tolist()]
                order = column.levels if column.ordered else sorted({v for v in present if v is not None})
                values = pd.Categorical(present, categories=list(order))
            made[column.name] = values
        return pd.DataFrame(made)

    return given
