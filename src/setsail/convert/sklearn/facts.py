"""What a fitted estimator says about the columns it was trained on: text, levels, missing, bounds, thresholds.

The walk follows each raw column through pipelines and column transformers for as long as its values stay what they
were, so that the encoder behind an imputer still tells the levels of the column in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, Final

import numpy as np

from setsail.convert.sklearn.compose import column_indices

__all__ = ["VECTORIZERS", "Facts", "is_missing", "learn", "parts", "starts_with_text"]

_BOOSTERS: Final = {"xgboost": "setsail.convert.xgboost", "lightgbm": "setsail.convert.lightgbm"}
_SCALERS: Final = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
VECTORIZERS: Final = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


@dataclass(slots=True)
class Facts:
    """One raw column. `text` is None where nothing says so; `null` is how the encoder knows a missing text.

    `samples` are texts made of a vectoriser's vocabulary, to try the model on. `read` is false for a column that
    every part of a ColumnTransformer drops.
    """

    text: bool | None = None
    levels: tuple[Any, ...] = ()
    closed: bool = False
    null: str | None = None
    low: float | None = None
    high: float | None = None
    thresholds: tuple[float, ...] = ()
    samples: tuple[str, ...] = ()
    read: bool = True


def learn(estimator: Any, count: int) -> list[Facts]:
    """The facts of `count` raw columns."""
    found = [Facts() for _ in range(count)]
    _walk(estimator, found)
    return found


def parts(estimator: Any) -> list[Any]:
    """The estimator and everything fitted inside a pipeline, union or column transformer, outermost first."""
    name = type(estimator).__name__
    inner: list[Any] = []
    if name == "Pipeline":
        inner = [step for _, step in estimator.steps]
    elif name == "FeatureUnion":
        inner = [part for _, part in estimator.transformer_list]
    elif name == "ColumnTransformer":
        inner = [part for _, part, _ in getattr(estimator, "transformers_", estimator.transformers)]
    elif name == "TransformedTargetRegressor":
        inner = [getattr(estimator, "regressor_", estimator.regressor)]
    kept = [p for p in inner if p is not None and not isinstance(p, str)]
    return [estimator, *(q for p in kept for q in parts(p))]


def starts_with_text(estimator: Any) -> bool:
    """Whether the first thing to touch the rows is a text vectoriser, which takes a 1-D column of text."""
    name = type(estimator).__name__
    if name == "Pipeline":
        return any(starts_with_text(step) for _, step in estimator.steps[:1])
    if name == "FeatureUnion":
        return any(starts_with_text(part) for _, part in estimator.transformer_list)
    return name in VECTORIZERS


def is_missing(value: Any) -> bool:
    """None, NaN and pandas' NA: what an encoder may hold as the level of missing values."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


def samples(vectorizer: Any, limit: int = 40) -> tuple[str, ...]:
    """Texts out of a vocabulary: single terms, runs of them, in other letter cases, repeated and unknown."""
    terms = [str(t) for t in sorted(getattr(vectorizer, "vocabulary_", ()))]
    terms = terms[:: max(1, len(terms) // limit)][:limit]
    runs = [" ".join(terms[i : i + 5]) for i in range(0, len(terms), 5)]
    other = [f"{a.upper()}, {b}! {a}" for a, b in pairwise(terms[:10])]
    return (*terms[:10], *runs, *other, "", "  ", "Ünknown wörds here")


def _walk(estimator: Any, columns: Sequence[Facts]) -> bool:
    """Read one estimator; returns whether the columns come out of it unchanged."""
    if estimator is None or estimator == "passthrough":
        return True
    if isinstance(estimator, str):
        return False
    name = type(estimator).__name__
    if name == "Pipeline":
        return _steps([step for _, step in estimator.steps], columns)
    if name == "FeatureUnion":
        for _, part in estimator.transformer_list:
            _walk(part, columns)
    elif name == "ColumnTransformer":
        for column in columns:
            column.read = False
        for _, part, chosen in estimator.transformers_:
            picked = [columns[i] for i in column_indices(estimator, chosen)]
            for column in picked:
                column.read = column.read or not (isinstance(part, str) and part == "drop")
            _walk(part, picked)
    elif name == "TransformedTargetRegressor":
        _walk(estimator.regressor_, columns)
    elif name in VECTORIZERS:
        for column in columns:
            column.text = True
            column.samples += samples(estimator)
    elif type(estimator).__module__.split(".")[0] in _BOOSTERS:
        return _booster(estimator, columns)
    elif name in _READERS:
        return _READERS[name](estimator, columns)
    return False


def _steps(steps: Sequence[Any], columns: Sequence[Facts]) -> bool:
    """A pipeline's steps. Thresholds behind a linear scaler are turned back to what they are in front of it."""
    for place, step in enumerate(steps):
        if _walk(step, columns):
            continue
        if type(step).__name__ in _SCALERS:
            behind = [Facts() for _ in columns]
            _steps(steps[place + 1 :], behind)
            origin, one = (step.inverse_transform(np.full((1, len(columns)), v))[0] for v in (0.0, 1.0))
            for column, scaled, a, b in zip(columns, behind, origin, one - origin, strict=True):
                column.thresholds = tuple(float(a + b * t) for t in scaled.thresholds)
        return False
    return True


def _encoder(estimator: Any, columns: Sequence[Facts]) -> bool:
    closed = estimator.handle_unknown == "error"
    for column, levels in zip(columns, estimator.categories_, strict=False):
        known = [v for v in levels.tolist() if not is_missing(v)]
        missing = [v for v in levels.tolist() if is_missing(v)]
        if levels.dtype.kind in "OUS" and not all(isinstance(v, bool | int | float) for v in known):
            column.text = True
        elif known:
            column.text = False
        column.levels, column.closed = tuple(known), column.closed or closed
        if missing:
            column.null = "None" if missing[0] is None else "nan"
    return False


def _imputer(estimator: Any, columns: Sequence[Facts]) -> bool:
    statistics = estimator.statistics_
    for column, value in zip(columns, statistics, strict=False):
        if isinstance(value, str):
            column.text = True
        elif isinstance(value, int | float | np.number) and statistics.dtype.kind != "O":
            column.text = False
    return not estimator.add_indicator and not any(is_missing(v) for v in statistics.tolist())


def _standard(estimator: Any, columns: Sequence[Facts]) -> bool:
    if estimator.mean_ is not None and estimator.scale_ is not None:
        _bound(columns, estimator.mean_ - 3 * estimator.scale_, estimator.mean_ + 3 * estimator.scale_)
    return False


def _min_max(estimator: Any, columns: Sequence[Facts]) -> bool:
    _bound(columns, estimator.data_min_, estimator.data_max_)
    return False


def _robust(estimator: Any, columns: Sequence[Facts]) -> bool:
    if estimator.center_ is not None and estimator.scale_ is not None:
        _bound(columns, estimator.center_ - 2 * estimator.scale_, estimator.center_ + 2 * estimator.scale_)
    return False


def _bins(estimator: Any, columns: Sequence[Facts]) -> bool:
    for column, edges in zip(columns, estimator.bin_edges_, strict=False):
        column.thresholds = tuple(float(e) for e in edges)
    return False


def _forest(estimator: Any, columns: Sequence[Facts]) -> bool:
    """Trees of scikit-learn's own: the thresholds of every node, by feature."""
    members = getattr(estimator, "estimators_", [estimator])
    found: list[set[float]] = [set() for _ in columns]
    for member in np.ravel(np.asarray(members, dtype=object)):
        tree = member.tree_
        for feature, threshold in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
            if 0 <= feature < len(found):
                found[feature].add(threshold)
    for column, thresholds in zip(columns, found, strict=True):
        column.thresholds = tuple(sorted(thresholds))
    return False


def _histogram(estimator: Any, columns: Sequence[Facts]) -> bool:
    """Histogram boosting: the numeric thresholds of every node, where no column was reordered by categories."""
    if estimator.is_categorical_ is not None:
        return False
    found: list[set[float]] = [set() for _ in columns]
    for predictor in (p for stage in estimator._predictors for p in stage):
        for node in predictor.nodes[predictor.nodes["is_leaf"] == 0]:
            found[int(node["feature_idx"])].add(float(node["num_threshold"]))
    for column, thresholds in zip(columns, found, strict=True):
        column.thresholds = tuple(sorted(thresholds))
    return False


def _booster(estimator: Any, columns: Sequence[Facts]) -> bool:
    """XGBoost's and LightGBM's wrappers: the thresholds their own converters read."""
    module = import_module(_BOOSTERS[type(estimator).__module__.split(".")[0]])
    ensemble = module.facts(estimator).ensemble
    if ensemble is not None:
        for column, thresholds in zip(columns, ensemble.thresholds, strict=False):
            column.thresholds = thresholds
    return False


def _bound(columns: Sequence[Facts], low: Any, high: Any) -> None:
    for column, a, b in zip(columns, low, high, strict=False):
        if np.isfinite(a) and np.isfinite(b):
            column.low, column.high = float(a), float(b)


_READERS: Final[Mapping[str, Callable[[Any, Sequence[Facts]], bool]]] = {
    "OneHotEncoder": _encoder,
    "OrdinalEncoder": _encoder,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "RobustScaler": _robust,
    "KBinsDiscretizer": _bins,
    "DecisionTreeClassifier": _forest,
    "DecisionTreeRegressor": _forest,
    "ExtraTreeClassifier": _forest,
    "ExtraTreeRegressor": _forest,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _forest,
    "GradientBoostingRegressor": _forest,
    "HistGradientBoostingClassifier": _histogram,
    "HistGradientBoostingRegressor": _histogram,
}
