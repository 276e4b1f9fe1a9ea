"""LightGBM: model text files, boosters and its scikit-learn wrappers.

Everything is read from LightGBM's own model text, which holds thresholds and leaves in full (17 digits). LightGBM
compares and sums in float64 and goes left where `value <= threshold`; the program does the same, so a value that
differs from a threshold only beyond float32 still goes the right way.

What is missing depends on the node: `NaN` sends NaN the default way; `None` reads NaN as zero, which way that goes is
known when converting; `Zero` (`zero_as_missing`) sends NaN and everything within 1e-35 of zero the default way.

Categories are numbers to LightGBM: the places of a data frame's categories in their list, which the model text holds
(`pandas_categorical`). Clients send the categories themselves and get those places (`columns.py`). A categorical split
goes left for the numbers of its set and right for all else, NaN included. Numbers that stood for categories in the
table itself (`categorical_feature=[0]`) stay numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from setsail.convert.booster import Model, Rows, assemble, numbered, package_versions, plain_values, read_rows
from setsail.convert.categories import gather
from setsail.convert.columns import Column, Columns, category_frame, frame_of, read_columns
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.lightgbm_categories import Categories, numbers, read_categories, sets
from setsail.convert.links import Plan
from setsail.convert.trees import Ensemble, Tree
from setsail.errors import SetsailError
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["OBJECTIVES", "Facts", "convert", "facts", "load"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a bare Booster of an objective answers (`links.py`). `squares` where `reg_sqrt` may be on."""

    kind: str
    form: str
    link: str
    squares: bool = False


_PLAIN: Final = Objective("regressor", "value", "identity")
_SQUARED: Final = Objective("regressor", "value", "identity", squares=True)
_EXP: Final = Objective("regressor", "value", "exp")
_RANKER: Final = Objective("ranker", "value", "identity")

OBJECTIVES: Final[Mapping[str, Objective]] = {
    "binary": Objective("classifier", "binary", "sigmoid"),
    "multiclass": Objective("classifier", "multi", "softmax"),
    "multiclassova": Objective("classifier", "multi", "sigmoid"),
    "cross_entropy": Objective("regressor", "value", "sigmoid"),
    "cross_entropy_lambda": Objective("regressor", "value", "softplus"),
    "regression": _SQUARED,
    "regression_l1": _SQUARED,
    "quantile": _SQUARED,
    "fair": _SQUARED,
    "huber": _PLAIN,
    "mape": _SQUARED,
    "poisson": _EXP,
    "gamma": _EXP,
    "tweedie": _EXP,
    "lambdarank": _RANKER,
    "rank_xendcg": _RANKER,
    "": _PLAIN,  # somebody's own function: LightGBM saves no word of it and answers raw sums
}
ZERO: Final = float(np.float32(1e-35))  # LightGBM's kZeroThreshold
_MISSING: Final = ("none", "zero", "nan")
# Parameters that may hold a path of the machine the model was trained on.
_PATHS: Final = re.compile(r"^\[(data|valid|\w*filename|machines|input_model|output_\w+): [^\n]*\]$", re.MULTILINE)


def load(path: Path | str) -> lightgbm.Booster:
    """Read a model text file. Raises `source.damaged`."""
    try:
        return lightgbm.Booster(model_str=Path(path).read_text())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as fault:
        raise SetsailError(
            "source.damaged", f"LightGBM cannot read {Path(path).name}", value=str(fault).splitlines()[0],
            expected="a model text written by save_model",
        ) from fault  # fmt: skip


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a Booster, or a fitted LGBMClassifier, LGBMRegressor or LGBMRanker.

    Raises:
        SetsailError: `convert.unsupported` for objectives without a row and categories that are neither texts nor whole
            numbers; `convert.example` where only an example can say which columns hold categories; `convert.input` for
            an example or labels that do not fit; `convert.run`.
    """
    known = facts(model)
    parameters = {} if model is known.booster else plain_values(model.get_params())
    rows = _rows(known, intent)
    described = Model(
        framework="LightGBM",
        estimator=type(model).__name__,
        versions=package_versions("lightgbm", "onnx", "numpy"),
        plan=known.plan,
        rows=rows,
        ensemble=known.ensemble,
        run=_booster_answers(known) if model is known.booster else _wrapper_answers(model, known.plan),
        native=_native(known),
        hyperparameters=parameters | {"objective": known.objective},
        ranges=known.ranges,
        notes=numbered(rows, known.categories.columns),
        levels=known.categories.numbers,
    )
    return assemble(described, intent)


# -- reading a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """A booster, read.

    Attributes:
        ensemble: None where only LightGBM itself can run it (linear trees).
        ranges: lowest and highest value of each column in training, where known.
        text: the model text, without paths.
    """

    booster: Any
    objective: str
    plan: Plan
    ensemble: Ensemble | None
    width: int
    names: tuple[str, ...]
    ranges: tuple[tuple[float, float] | None, ...]
    text: str
    categories: Categories


def facts(model: Any) -> Facts:
    """Read a Booster or a wrapper. Raises `convert.unsupported`."""
    wrapper = None if isinstance(model, lightgbm.Booster) else model
    booster = model if wrapper is None else _fitted(wrapper)
    text = _PATHS.sub(r"[\1: ]", booster.model_to_string())
    head, *trees = list(_sections(text))
    objective, _, options = head.get("objective", "").partition(" ")
    row = OBJECTIVES.get(objective)
    if row is None:
        raise _refused(f"objective {objective!r}", "predicts in a way we do not know", ", ".join(OBJECTIVES))
    width, groups = int(head["max_feature_idx"]) + 1, int(head["num_tree_per_iteration"])
    zeros = _zero_columns(trees, width)
    linear = any(t.get("is_linear", "0") != "0" for t in trees)
    ensemble = None
    asked = gather((s for t in trees for s in sets(t)), width, member=0.0, missing=1.0, low=-1.0)
    if not linear and zeros is not None and asked is not None:
        tables, places = asked
        parsed = tuple(_tree(t, i % groups, places) for i, t in enumerate(trees))
        ensemble = Ensemble(parsed, width, groups, "<=", "float64", np.zeros(groups), tables)
    average = max(1, len(trees) // groups) if "average_output" in head else 1
    plan = _plan(row, options.split(), wrapper, groups, average, zeros or ())
    names = tuple(head["feature_names"].split())
    default = names == tuple(f"Column_{i}" for i in range(width))
    return Facts(booster, objective, plan, ensemble, width, () if default else names, _ranges(head), text,
                 read_categories(head, text))  # fmt: skip


def _fitted(wrapper: Any) -> Any:
    if not hasattr(wrapper, "booster_") and not hasattr(type(wrapper), "booster_"):
        raise _refused(type(wrapper).__name__, "is no LightGBM model", "a Booster or a scikit-learn wrapper")
    try:
        return wrapper.booster_
    except Exception as fault:  # LightGBM's NotFittedError is another class with and without scikit-learn
        raise _refused(type(wrapper).__name__, "is not fitted", "a fitted model") from fault


def _sections(text: str) -> Iterator[dict[str, str]]:
    """The header and each tree as `key=value` lines; a bare word is a flag."""
    body = text.partition("\nend of trees")[0]
    for block in re.split(r"\n(?=Tree=\d+\n)", body):
        lines = (line.partition("=") for line in block.splitlines() if line.strip())
        yield {key: value for key, _, value in lines}


def _ranges(head: Mapping[str, str]) -> tuple[tuple[float, float] | None, ...]:
    found: list[tuple[float, float] | None] = []
    for info in head.get("feature_infos", "").split():
        low, _, high = info.strip("[]").partition(":")
        found.append((float(low), float(high)) if info.startswith("[") else None)
    return tuple(found)


def _plan(row: Objective, options: list[str], wrapper: Any, groups: int, average: int, zeros: tuple[int, ...]) -> Plan:
    """How sums become answers. A wrapper's class decides its kind, whatever the objective is."""
    scale = next((float(o.partition(":")[2]) for o in options if o.startswith("sigmoid:")), 1.0)
    link = "signed_square" if row.squares and "sqrt" in options else row.link
    kind, form, classes = row.kind, row.form, None
    if wrapper is not None and hasattr(wrapper, "predict_proba"):
        kind, form, classes = "classifier", "multi" if groups > 1 else "binary", np.asarray(wrapper.classes_)
        if row.form == "value" and row.link != "sigmoid":
            raise _refused(type(wrapper).__name__, "has an objective without probabilities", "binary or multiclass")
    elif wrapper is not None:
        kind, form = "ranker" if isinstance(wrapper, lightgbm.LGBMRanker) else "regressor", "value"
    elif row.form != "value":
        classes = np.arange(max(groups, 2), dtype=np.int64)
    return Plan(kind, form, link, coefficient=scale, classes=classes, average=average, zero_missing=zeros)


def _refused(what: str, why: str, expected: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"{what} {why}", field=what, expected=expected)


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(known: Facts, intent: Intent) -> Rows | Columns:
    """One table of numbers, or a column each where a data frame had categories."""
    if not known.categories.levels:
        return read_rows(intent, width=known.width, names=known.names, dtype="float64")
    names = known.names or tuple(f"Column_{i}" for i in range(known.width))
    frame = None if intent.example is None else frame_of(intent.example, names)
    where = known.categories.placed(frame)
    columns = [Column(name, "float64") for name in names]
    for index, levels in zip(where, known.categories.levels, strict=True):
        texts = all(isinstance(level, str) for level in levels)
        columns[index] = Column(names[index], "string" if texts else "int64", levels)
    example = None
    if frame is not None:
        read, example = read_columns(columns, frame)
        columns = list(read)
    return Columns(tuple(columns), "float64", category_frame(columns), example)


# -- trees -----------------------------------------------------------------------------------------------------------


def _zero_columns(trees: list[dict[str, str]], width: int) -> tuple[int, ...] | None:
    """Columns in which zero is missing; None where a column's trees do not agree (training was continued)."""
    kinds: list[set[str]] = [set() for _ in range(width)]
    for tree in trees:
        for column, decision in zip(numbers(tree, "split_feature", int), numbers(tree, "decision_type", int),
                                    strict=True):  # fmt: skip
            if decision & 1:
                continue  # categories are never zero
            kinds[column].add(_MISSING[(decision >> 2) & 3])
    if any("zero" in k and len(k) > 1 for k in kinds):
        return None
    return tuple(i for i, k in enumerate(kinds) if "zero" in k)


def _beside_zero(threshold: Array) -> Array:
    """LightGBM's reader makes zero of every value within 1e-35 of it, so that such values never part.

    A threshold inside moves to the edge that keeps them together on zero's side.
    """
    inside = np.abs(threshold) <= ZERO
    below = np.nextafter(-ZERO, -np.inf)
    return np.where(inside & (threshold < 0), below, np.where(inside, ZERO, threshold))


def _tree(spec: Mapping[str, str], group: int, places: Mapping[tuple[int, frozenset[int]], int]) -> Tree:
    """One tree. The text numbers splits 0, 1, … and refers to leaf i as -i - 1; here leaves follow the splits.

    A categorical split asks whether its set's column, one of `places`, is 0.
    """
    threshold = _beside_zero(numbers(spec, "threshold", np.float64))
    column = numbers(spec, "split_feature", np.int64)
    decision = numbers(spec, "decision_type", np.int64)
    leaves = numbers(spec, "leaf_value", np.float64)
    splits, missing = len(threshold), (decision >> 2) & 3
    default_left = (decision & 2) > 0
    # Read as zero: goes wherever zero goes. A single leaf is a tree without splits.
    left_if_missing = np.where(missing == 0, threshold >= 0, default_left)
    pad = np.zeros(len(leaves))
    categorical = np.flatnonzero(decision & 1)
    column[categorical] = [places[found] for found in sets(spec)]
    threshold[categorical] = 0.5

    def children(key: str) -> Array:
        nodes = numbers(spec, key, np.int64)[:splits]
        return np.concatenate([np.where(nodes < 0, splits - nodes - 1, nodes), pad]).astype(np.int64)

    return Tree(
        feature=np.concatenate([column, pad - 1]).astype(np.int64),
        threshold=np.concatenate([threshold, pad]),
        left=children("left_child"),
        right=children("right_child"),
        missing_left=np.concatenate([left_if_missing, pad]).astype(bool),
        value=np.concatenate([np.zeros(splits), leaves])[:, None],
        target=group,
    )


# -- the source's own answers ----------------------------------------------------------------------------------------


def _booster_answers(known: Facts) -> Callable[[Array], dict[str, Array]]:
    def run(rows: Array) -> dict[str, Array]:
        scores = np.asarray(known.booster.predict(rows, num_threads=1, validate_features=False))
        if known.plan.form == "value":
            return {"score" if known.plan.kind == "ranker" else "prediction": scores}
        if known.plan.form == "binary":
            scores = np.stack([1 - scores, scores], axis=1)
        return {"label": scores.argmax(axis=1), "probabilities": scores}

    return run


def _wrapper_answers(wrapper: Any, plan: Plan) -> Callable[[Array], dict[str, Array]]:
    def run(rows: Array) -> dict[str, Array]:
        predicted = np.asarray(wrapper.predict(rows, num_threads=1))
        if plan.kind != "classifier":
            return {"score" if plan.kind == "ranker" else "prediction": predicted}
        label = predicted.astype(np.int64) if predicted.dtype.kind in "iu" else predicted
        return {"label": label, "probabilities": np.asarray(wrapper.predict_proba(rows, num_threads=1))}

    return run


def _native(known: Facts) -> Program:
    """The booster as LightGBM itself runs it (`runtime/lightgbm_native.py` reads the settings)."""
    variant = Variant("lightgbm", "lightgbm-text", "float64", "model.txt", {"form": known.plan.form})
    return Program(variant, {"model.txt": known.text.encode()})
