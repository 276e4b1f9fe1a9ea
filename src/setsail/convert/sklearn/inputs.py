"""The rows of a scikit-learn model: their layout, and the way between it and what the source takes.

Four layouts (`contract.md` §5):

    table    one homogeneous numeric table: one input `input` [N, k]
    columns  mixed columns, or columns that differ in what they allow: one [N] input for each, in order
    text     a vectoriser takes the rows: one [N] text input `text`

A table is taken apart into columns when its columns do not share one contract: some may be missing and others may
not, or some know only certain levels. Integer and boolean tables are float64 tables, in which scikit-learn computes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.facts import Facts, is_missing, learn, starts_with_text
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.tensors import BY_NAME, NULL, Array, DType

__all__ = ["Column", "Layout", "read"]

_FLOAT64 = BY_NAME["float64"]
_STRING = BY_NAME["string"]


@dataclass(frozen=True, slots=True)
class Column:
    """One raw column.

    Attributes:
        null: what a missing text is in the source: "nan" or "None".
        dtype: of the signature. `source` is the pandas dtype it had in the example, None for numpy.
        nullable: whether the source takes a missing value.
    """

    name: str
    dtype: DType
    null: str = "nan"
    source: Any = None
    nullable: bool = False
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the source takes rows. `style` is `table`, `columns` or `text`; `framed` means it takes a data frame."""

    style: str
    columns: tuple[Column, ...]
    framed: bool = False
    named: bool = True
    name: str = "input"

    @property
    def dtype(self) -> DType:
        return self.columns[0].dtype

    def specs(self) -> tuple[TensorSpec, ...]:
        """The signature's inputs."""
        if self.style != "table":
            return tuple(_column_spec(c) for c in self.columns)
        names = tuple(c.name for c in self.columns) if self.named else ()
        nullable = all(c.nullable for c in self.columns)
        return (TensorSpec(self.name, self.dtype, (BATCH, len(self.columns)), columns=names, nullable=nullable),)

    def rows(self, inputs: Mapping[str, Array]) -> Any:
        """Signature-shaped inputs as the source takes them: a list of texts, a data frame or an array."""
        if self.style == "text":
            return inputs[self.columns[0].name]
        if self.style == "table":
            cells = [inputs[self.name][:, i] for i in range(len(self.columns))]
            if not self.framed:
                return inputs[self.name]
        else:
            cells = [_with_nulls(inputs[c.name], c) for c in self.columns]
        if self.framed:
            pandas = sys.modules["pandas"]
            series = {c.name: pandas.Series(v, dtype=c.source) for c, v in zip(self.columns, cells, strict=True)}
            return pandas.DataFrame(series)
        if all(c.dtype.kind != "string" for c in self.columns):
            return np.stack(cells, axis=1)
        table = np.empty((len(cells[0]), len(cells)), dtype=object)
        for index, values in enumerate(cells):
            table[:, index] = values
        return table

    def apart(self) -> Layout:
        """The same rows, one input a column."""
        return replace(self, style="columns")

    def split(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """A table's inputs for the layout that `apart` gives."""
        return {c.name: inputs[self.name][:, i] for i, c in enumerate(self.columns)}


def read(estimator: Any, intent: Intent) -> tuple[Layout, dict[str, Array] | None]:
    """The layout of a fitted estimator, and the example's rows in it (None without an example).

    Raises:
        SetsailError: `convert.example` where neither the model nor an example says what the inputs are;
            `convert.input` where the example does not fit the model.
    """
    if intent.example is not None:
        return _from_example(estimator, intent.example)
    if intent.inputs:
        return _from_specs(estimator, intent.inputs), None
    return _from_estimator(estimator), None


# -- from an example -------------------------------------------------------------------------------------------------


def _from_example(estimator: Any, example: Any) -> tuple[Layout, dict[str, Array]]:
    if isinstance(example, Mapping):
        example = _framework("pandas").DataFrame(dict(example))
    if hasattr(example, "toarray"):
        example = example.toarray()
    if hasattr(example, "iloc") and hasattr(example, "columns"):
        return _from_frame(estimator, example)
    name = getattr(example, "name", None) or "text"
    array = np.asarray(example.to_numpy() if hasattr(example, "to_numpy") else example)
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.ndim == 1 and array.dtype.kind == "O" and all(isinstance(v, str) for v in array):
        if not starts_with_text(estimator):
            raise _unfit("is one column of text, but the model does not begin with a text vectoriser", array)
        return Layout("text", (Column(str(name), _STRING),)), {str(name): array}
    if array.ndim != 2 or array.shape[0] == 0:
        raise _unfit("is not a table with rows and columns", array)
    _check_width(estimator, array.shape[1])
    names, named = _names(estimator, array.shape[1])
    framed = named and _has_pandas()
    if array.dtype.kind != "O":
        dtype = _number(array.dtype)
        columns = tuple(Column(n, dtype) for n in names)
        return Layout("table", columns, framed, named), {"input": array.astype(dtype.numpy)}
    read = [_object_column(n, array[:, i], None) for i, n in enumerate(names)]
    layout = Layout("columns", tuple(c for c, _ in read), framed)
    return _joined(layout, {c.name: v for c, v in read}, named)


def _from_frame(estimator: Any, frame: Any) -> tuple[Layout, dict[str, Array]]:
    if starts_with_text(estimator):
        raise _unfit("is a data frame, but the model takes one column of text", list(frame.columns),
                     "pass the column: example=frame['text']")  # fmt: skip
    if len(frame) == 0:
        raise _unfit("has no rows", list(frame.columns))
    wanted = [str(n) for n in getattr(estimator, "feature_names_in_", ())]
    names = [str(n) for n in frame.columns]
    if wanted:
        missing = [n for n in wanted if n not in names]
        if missing:
            raise _unfit(f"lacks the column {missing[0]!r} of the model", names)
        frame = frame.iloc[:, [names.index(n) for n in wanted]]
        names = wanted
    _check_width(estimator, len(names))
    read = [_series(n, frame.iloc[:, i]) for i, n in enumerate(names)]
    layout = Layout("columns", tuple(c for c, _ in read), framed=bool(wanted))
    return _joined(layout, {c.name: v for c, v in read}, True)


def _series(name: str, series: Any) -> tuple[Column, Array]:
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return Column(name, _exact(dtype), source=dtype), series.to_numpy()
    if getattr(dtype, "kind", "O") in "biuf":  # pandas' own nullable numbers
        return Column(name, _FLOAT64, source=None), series.to_numpy(dtype=np.float64, na_value=np.nan)
    # A categorical would turn an unknown text into a missing value; encoders take its texts as they are.
    source = "object" if dtype.name == "category" else dtype
    return _object_column(name, series.to_numpy(dtype=object, copy=True), source)


def _object_column(name: str, values: Array, source: Any) -> tuple[Column, Array]:
    """A column of Python objects: all text (with missing values), or all numbers."""
    gone = np.array([is_missing(v) for v in values], dtype=bool)
    present = list(values[~gone])
    if present and all(isinstance(v, bool | int | float | np.number) for v in present):
        return Column(name, _FLOAT64), np.array([np.nan if g else v for v, g in zip(values, gone, strict=True)], float)
    if not all(isinstance(v, str) for v in present):
        odd = next(v for v in present if not isinstance(v, str))
        raise _unfit(f"mixes text with other values in column {name!r}", odd, "make the column all text or all numbers")
    null = "None" if any(v is None for v in values[gone]) else "nan"
    filled = values.copy()
    filled[gone] = NULL
    return Column(name, _STRING, null, source), filled


def _joined(layout: Layout, inputs: dict[str, Array], named: bool) -> tuple[Layout, dict[str, Array]]:
    """A table where all columns are numbers; text columns keep the layout as it is."""
    if any(c.dtype.kind == "string" for c in layout.columns):
        return layout, inputs
    dtype = _number(np.result_type(*(v.dtype for v in inputs.values())))
    columns = tuple(replace(c, dtype=dtype, source=None) for c in layout.columns)
    table = np.stack([v.astype(dtype.numpy) for v in inputs.values()], axis=1)
    return replace(layout, style="table", columns=columns, named=named), {"input": table}


# -- without an example ----------------------------------------------------------------------------------------------


def _from_specs(estimator: Any, specs: Sequence[TensorSpec]) -> Layout:
    first = specs[0]
    if len(specs) == 1 and len(first.shape) == 1 and first.dtype.kind == "string":
        return Layout("text" if starts_with_text(estimator) else "columns", (Column(first.name, _STRING),))
    if len(specs) == 1 and len(first.shape) == 2:
        count = first.shape[1] if isinstance(first.shape[1], int) else estimator.n_features_in_
        _check_width(estimator, count)
        names, named = _names(estimator, count)
        columns = tuple(Column(n, first.dtype) for n in names)
        return Layout("table", columns, named and _has_pandas(), named, first.name)
    if any(len(s.shape) != 1 for s in specs):
        raise SetsailError("convert.input", "several inputs of a table must be columns", field="--input",
                           value=", ".join(map(str, specs)), expected="shape [*] for each")  # fmt: skip
    _check_width(estimator, len(specs))
    framed = hasattr(estimator, "feature_names_in_") and _has_pandas()
    return Layout("columns", tuple(Column(s.name, s.dtype) for s in specs), framed)


def _from_estimator(estimator: Any) -> Layout:
    if starts_with_text(estimator):
        return Layout("text", (Column("text", _STRING),))
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        raise SetsailError("convert.example", f"{type(estimator).__name__} does not say how many columns it takes",
                           field="example", expected="a few rows as the model takes them")  # fmt: skip
    names, named = _names(estimator, count)
    framed = named and _has_pandas()
    facts = learn(estimator, count)
    if not any(f.text for f in facts):
        return Layout("table", tuple(Column(n, _FLOAT64) for n in names), framed, named)
    for name, fact in zip(names, facts, strict=True):
        if not fact.read:
            raise SetsailError("convert.example", f"no step reads column {name!r}, so nothing says what it holds",
                               field="example", expected="a few rows as the model takes them")  # fmt: skip
    return Layout("columns", tuple(
        Column(n, _STRING if f.text else _FLOAT64, f.null or "nan", "object" if f.text else None)
        for n, f in zip(names, facts, strict=True)
    ), framed)  # fmt: skip


# -- small pieces ----------------------------------------------------------------------------------------------------


def _column_spec(column: Column) -> TensorSpec:
    facts = column.facts
    if column.dtype.kind == "float":
        levels = tuple(str(float(v)) for v in facts.levels)
    else:
        levels = tuple(str(v) for v in facts.levels)
    keep = column.dtype.kind == "string" or facts.closed
    return TensorSpec(column.name, column.dtype, (BATCH,), categories=levels if keep else (),
                      closed=facts.closed and bool(levels), nullable=column.nullable)  # fmt: skip


def _with_nulls(values: Array, column: Column) -> Array:
    if column.dtype.kind != "string":
        return values
    filled = values.copy()
    filled[values == NULL] = None if column.null == "None" else np.nan
    return filled


def _names(estimator: Any, count: int) -> tuple[list[str], bool]:
    """Column names, and whether they are the model's own (else scikit-learn's x0, x1, …)."""
    names = [str(n) for n in getattr(estimator, "feature_names_in_", ())]
    return (names, True) if len(names) == count else ([f"x{i}" for i in range(count)], False)


def _number(dtype: np.dtype[Any]) -> DType:
    return BY_NAME["float32"] if dtype in (np.float32, np.float16) else _FLOAT64


def _exact(dtype: np.dtype[Any]) -> DType:
    return BY_NAME[dtype.name]


def _check_width(estimator: Any, count: int) -> None:
    wanted = getattr(estimator, "n_features_in_", count)
    if wanted != count:
        raise _unfit(f"has {count} columns, the model takes {wanted}", count)


def _unfit(why: str, value: Any, todo: str | None = None) -> SetsailError:
    shown = list(value.shape) if isinstance(value, np.ndarray) else value
    return SetsailError("convert.input", f"the example {why}", field="example", value=shown,
                        expected="rows as model.predict takes them", todo=todo)  # fmt: skip


def _has_pandas() -> bool:
    return _framework("pandas", quiet=True) is not None


def _framework(name: str, *, quiet: bool = False) -> Any:
    if find_spec(name) is None:
        if quiet:
            return None
        raise SetsailError("dependency.missing", f"{name} is not installed", field="example",
                           expected=f"pip install {name}")  # fmt: skip
    return __import__(name)
