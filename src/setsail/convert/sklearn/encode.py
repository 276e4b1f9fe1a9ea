"""Encoders of categories: one-hot, ordinal and target, for text (missing values among it) and numbers.

Every column first becomes an index into its encoder's `categories_`, one past the end for a value that is not among
them; what is answered for each index is then a constant table. A missing text is NULL in the program; it finds the
level that is None or NaN, whichever the source's own missing values are (`Value.null`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.convert.graph import ML, Graph
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.facts import is_missing
from setsail.convert.sklearn.values import columns, concat, refuse
from setsail.tensors import NULL, Array

__all__ = ["one_hot", "ordinal", "target_encoder"]

_DROPPED = -1


def one_hot(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """OneHotEncoder with its groups of infrequent categories, dropped categories and unknown values."""
    parts = []
    for i, column in enumerate(columns(graph, x)):
        places, count = _places(estimator, i)
        if not count:
            continue
        index = _index(graph, estimator, column, estimator.categories_[i])
        place = graph.node("Gather", graph.constant(places, np.int64), index)
        hot = graph.node("Equal", place, graph.constant(np.arange(count).reshape(1, -1), np.int64))
        parts.append(Value(graph.cast(hot, "float64"), "float64", count))
    if not parts:
        raise refuse(estimator, "keeps no column")
    return {"transformed": concat(graph, parts)}


def ordinal(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """OrdinalEncoder with unknown values, missing values and groups of infrequent categories."""
    unknown = estimator.unknown_value if estimator.handle_unknown == "use_encoded_value" else np.nan
    parts = []
    for i, column in enumerate(columns(graph, x)):
        categories = estimator.categories_[i]
        codes = _groups(estimator, i).astype(np.float64)
        # To the source only NaN is missing here; None is a category like any other.
        missing = [j for j, c in enumerate(categories.tolist()) if c is not None and is_missing(c)]
        codes[missing] = estimator.encoded_missing_value
        index = _index(graph, estimator, column, categories)
        table = graph.constant(np.append(codes, float(unknown)))
        parts.append(Value(graph.node("Gather", table, index), "float64", 1))
    return {"transformed": concat(graph, parts)}


def target_encoder(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """TargetEncoder: the encoding of each category, the target's mean for the others; by class for several."""
    parts = []
    several = estimator.target_type_ == "multiclass"
    means = np.atleast_1d(np.asarray(estimator.target_mean_, np.float64))
    for i, column in enumerate(columns(graph, x)):
        index = _index(graph, estimator, column, estimator.categories_[i])
        for j, mean in enumerate(means):
            encoding = estimator.encodings_[i * len(means) + j if several else i]
            table = graph.constant(np.append(np.asarray(encoding, np.float64), mean))
            parts.append(Value(graph.node("Gather", table, index), "float64", 1))
    return {"transformed": concat(graph, parts)}


def _groups(estimator: Any, column: int) -> Array:
    """The position of each category after infrequent ones were put together."""
    mappings = getattr(estimator, "_default_to_infrequent_mappings", None)
    if mappings is None or mappings[column] is None:
        return np.arange(len(estimator.categories_[column]))
    found: Array = np.arange(len(estimator.categories_[column]))
    found[: len(mappings[column])] = mappings[column]
    return found


def _places(estimator: Any, column: int) -> tuple[Array, int]:
    """The output column of each category (and, last, of an unknown value), -1 for none; and how many there are."""
    groups = _groups(estimator, column)
    count = int(groups.max()) + 1
    infrequent = getattr(estimator, "infrequent_categories_", None)
    grouped = infrequent is not None and infrequent[column] is not None
    to_group = estimator.handle_unknown in ("infrequent_if_exist", "warn") and grouped
    places = np.append(groups, count - 1 if to_group else _DROPPED)
    dropped = estimator.drop_idx_[column] if estimator.drop_idx_ is not None else None
    if dropped is None:
        return places, count
    gone = groups[dropped]
    places = np.where(places == gone, _DROPPED, np.where(places > gone, places - 1, places))
    return places, count - 1


def _index(graph: Graph, estimator: Any, x: Value, categories: Array) -> str:
    """`[N, 1]` index into `categories`, `len(categories)` for a value that is not among them."""
    levels = categories.tolist()
    count = len(levels)
    if x.dtype == "string":
        keys, places = [], []
        for place, level in enumerate(levels):
            if is_missing(level):
                if x.null != ("None" if level is None else "nan"):
                    continue
                level = NULL
            elif not isinstance(level, str):
                raise refuse(estimator, "mixes text and numbers in one column", "make the column all text")
            keys.append(level)
            places.append(place)
        if not keys:
            raise refuse(estimator, "knows no category of a text column")
        return str(graph.node("LabelEncoder", x.name, domain=ML, keys_strings=keys, values_int64s=places,
                              default_int64=count))  # fmt: skip
    if any(isinstance(v, str) for v in levels):
        raise refuse(estimator, "is given numbers where it learned text", "pass an example with the column as text")
    numeric = np.array([np.nan if is_missing(v) else float(v) for v in levels], np.float64).reshape(1, -1)
    name = x.name if x.dtype == "float64" else graph.cast(x.name, "float64")
    match = graph.node("Equal", name, graph.constant(np.where(np.isnan(numeric), np.inf, numeric)))
    if np.isnan(numeric).any():
        hidden = graph.node("And", graph.node("IsNaN", name), graph.constant(np.isnan(numeric)))
        match = graph.node("Or", match, hidden)
    hits = graph.node(
        "Mul", graph.cast(match, "int64"), graph.constant(np.arange(count).reshape(1, -1) - count, np.int64)
    )
    return str(graph.node("Add", graph.node("ReduceSum", hits, graph.constant([1], np.int64), keepdims=1),
                          graph.constant(count, np.int64)))  # fmt: skip
