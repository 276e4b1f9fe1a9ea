"""XGBoost: model files, boosters and its scikit-learn wrappers.

The trees come from the booster's own JSON, whatever it was saved as. XGBoost casts every value to float32, goes left
where `value < threshold` and sums leaves in float32; the program does the same. NaN, and the number a wrapper was told
with `missing=`, take each node's default direction.

What a bare booster answers follows its objective (OBJECTIVES). A `Booster` has no labels, so its classes are 0, 1, …;
and it predicts with all its trees, where a wrapper stops at the best iteration of early stopping. A file that a wrapper
saved says so in an attribute and is read as the wrapper would.

Categories are numbers to XGBoost: the places of a data frame's categories in their list, which models of XGBoost 3.1
and newer hold. Clients send the categories themselves and get those places (`columns.py`); one that was not there in
training is refused, as XGBoost does. A model without the lists takes them from the example; without one, its columns
take the numbers. A categorical split goes right for the numbers of its set and left for all others; NaN goes the
default way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost

from setsail.convert.booster import Model, Rows, assemble, numbered, package_versions, plain_values, read_rows
from setsail.convert.categories import gather
from setsail.convert.columns import Column, Columns, category_frame, frame_of, is_frame, read_columns
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.links import Plan
from setsail.convert.trees import Ensemble, Tree
from setsail.convert.xgboost_categories import Categories, read_categories, sets
from setsail.errors import SetsailError
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["OBJECTIVES", "Facts", "convert", "facts", "load"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A row of OBJECTIVES.

    Attributes:
        kind, form, link: what a bare Booster answers (`links.py`).
        margin: how XGBoost turns `base_score` into a margin.
        wrapped: the link inside a scikit-learn wrapper where it is another one.
    """

    kind: str
    form: str
    link: str
    margin: Callable[[float], float] = float
    wrapped: str = ""


def _logit(p: float) -> float:
    return -math.log(1.0 / p - 1.0)


_REGRESSOR: Final = Objective("regressor", "value", "identity")
_COUNT: Final = Objective("regressor", "value", "exp", math.log)
_RANKER: Final = Objective("ranker", "value", "identity")
_MULTI: Final = Objective("classifier", "multi", "softmax")
_MARGIN: Final = "classifier without probabilities"

OBJECTIVES: Final[Mapping[str, Objective]] = {
    "binary:logistic": Objective("classifier", "binary", "sigmoid", _logit),
    "binary:logitraw": Objective(_MARGIN, "margin", "identity"),
    "binary:hinge": Objective(_MARGIN, "margin", "identity", wrapped="step"),
    "multi:softprob": _MULTI,
    "multi:softmax": _MULTI,
    "reg:squarederror": _REGRESSOR,
    "reg:linear": _REGRESSOR,
    "reg:squaredlogerror": _REGRESSOR,
    "reg:pseudohubererror": _REGRESSOR,
    "reg:absoluteerror": _REGRESSOR,
    "reg:quantileerror": _REGRESSOR,
    "reg:logistic": Objective("regressor", "value", "sigmoid", _logit),
    "reg:gamma": _COUNT,
    "reg:tweedie": _COUNT,
    "count:poisson": _COUNT,
    "survival:cox": _COUNT,
    "survival:aft": _COUNT,
    "rank:ndcg": _RANKER,
    "rank:map": _RANKER,
    "rank:pairwise": _RANKER,
}


# What lies above it and below zero has the number 0 after all; no data holds it.
_BELOW_ZERO: Final = -float(np.finfo(np.float32).tiny)


def load(path: Path | str) -> xgboost.Booster:
    """Read a `.ubj` or `.json` model file. Raises `source.damaged`."""
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(str(path))
    except xgboost.core.XGBoostError as fault:
        said = [line for line in str(fault).splitlines() if line.strip()]
        raise SetsailError(
            "source.damaged", f"XGBoost cannot read {Path(path).name}", value=said[0] if said else None,
            expected="a model written by save_model",
        ) from fault  # fmt: skip
    return booster


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a Booster, or a fitted XGBClassifier, XGBRegressor, XGBRanker or XGBRF… wrapper.

    Raises:
        SetsailError: `convert.unsupported` for objectives without a row, multi-label classifiers and categories that
            are neither texts nor whole numbers; `convert.example` for categories that only an example tells;
            `convert.input` for an example or labels that do not fit; `convert.run`.
    """
    known = facts(model)
    rows = _rows(known, intent, "float32" if model is known.booster else None)
    parameters = {} if model is known.booster else plain_values(model.get_params())
    described = Model(
        framework="XGBoost",
        estimator=type(model).__name__,
        versions=package_versions("xgboost", "onnx", "numpy"),
        plan=known.plan,
        rows=rows,
        ensemble=known.ensemble,
        run=_booster_answers(known) if model is known.booster else _wrapper_answers(model, known.plan),
        native=_native(known),
        hyperparameters=parameters | {"objective": known.objective},
        notes=known.notes + numbered(rows, known.categories.numbers),
        levels=known.categories.numbers,
    )
    return assemble(described, intent)


# -- reading a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """A booster, read.

    Attributes:
        ensemble: None for a linear booster.
        rounds: how many boosting rounds predict, 0 for all.
    """

    booster: Any
    objective: str
    plan: Plan
    ensemble: Ensemble | None
    width: int
    names: tuple[str, ...]
    rounds: int
    notes: tuple[str, ...]
    categories: Categories


def facts(model: Any) -> Facts:
    """Read a Booster or a wrapper. Raises `convert.unsupported`."""
    wrapper = None if isinstance(model, xgboost.Booster) else model
    booster = model if wrapper is None else _fitted(wrapper)
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = learner["objective"]["name"]
    row = OBJECTIVES.get(objective)
    if row is None:
        raise _refused(f"objective {objective!r}", "predicts in a way we do not know", ", ".join(OBJECTIVES))
    rounds = _rounds(booster, wrapper)
    ensemble = _ensemble(learner, row, rounds)
    plan = _plan(learner["learner_model_param"], objective, row, wrapper)
    notes = (f"predicts with the first {rounds} rounds, the best of early stopping",) if rounds else ()
    width = int(learner["learner_model_param"]["num_feature"])
    categories = read_categories(_gbtree(learner), learner.get("feature_types", []))
    return Facts(booster, objective, plan, ensemble, width, tuple(learner["feature_names"]), rounds, notes, categories)


def _fitted(wrapper: Any) -> Any:
    if not hasattr(wrapper, "get_booster"):
        raise _refused(type(wrapper).__name__, "is no XGBoost model", "a Booster or a scikit-learn wrapper")
    try:
        return wrapper.get_booster()
    except Exception as fault:  # NotFittedError is scikit-learn's, which need not be installed
        raise _refused(type(wrapper).__name__, "is not fitted", "a fitted model") from fault


def _rounds(booster: Any, wrapper: Any) -> int:
    best = booster.attr("best_iteration")
    follows = wrapper is not None or booster.attr("scikit_learn") is not None
    return int(best) + 1 if follows and best is not None else 0


def _plan(parameters: Mapping[str, str], objective: str, row: Objective, wrapper: Any) -> Plan:
    """How sums become answers. A wrapper's class decides its kind, whatever the objective is."""
    classes = int(parameters["num_class"])
    labels = np.arange(max(classes, 2), dtype=np.int64)
    if wrapper is None:
        if row.form != "value" and int(parameters["num_target"]) > 1:
            raise _refused(objective, "predicts several labels for one row", "one label a row")
        return Plan(row.kind, row.form, row.link, classes=None if row.form == "value" else labels, single=True)
    missing = wrapper.missing
    number = None if missing is None or math.isnan(missing) else float(missing)
    link = row.wrapped or row.link
    if hasattr(wrapper, "predict_proba"):
        if int(parameters["num_target"]) > 1:
            raise _refused(type(wrapper).__name__, "predicts several labels for one row", "one label a row")
        form = "multi" if classes > 2 else "binary"
        return Plan("classifier", form, link, classes=np.asarray(wrapper.classes_), single=True, missing=number)
    if objective == "multi:softmax":
        raise _refused(f"{type(wrapper).__name__} with {objective}", "answers class numbers", "XGBClassifier")
    kind = "ranker" if isinstance(wrapper, xgboost.XGBRanker) else "regressor"
    return Plan(kind, "value", link, single=True, missing=number)


def _refused(what: str, why: str, expected: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"{what} {why}", field=what, expected=expected)


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(known: Facts, intent: Intent, dtype: str | None) -> Rows | Columns:
    """One table of numbers, or a column each where a data frame had categories."""
    framed = is_frame(intent.example)
    names = known.names or tuple(f"x{i}" for i in range(known.width))
    frame = frame_of(intent.example, names) if framed and known.categories.columns else None
    levels = known.categories.levels(frame)
    if not levels:
        return read_rows(intent, width=known.width, names=known.names, dtype=dtype)
    columns = [Column(name, dtype or "float64") for name in names]
    for index, found in levels.items():
        dtype_of_levels = "string" if isinstance(found[0], str) else "int64"
        by_name = known.categories.by_name(index)
        columns[index] = Column(names[index], dtype_of_levels, found, closed=True, ordered=not by_name)
    example = None
    if intent.example is not None:
        read, example = read_columns(columns, frame_of(intent.example, names) if frame is None else frame)
        columns = list(read)
    return Columns(tuple(columns), "float32", category_frame(columns), example)


# -- trees -----------------------------------------------------------------------------------------------------------


def _gbtree(learner: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `model` object that holds the trees; a dart booster wraps a gbtree."""
    booster = learner["gradient_booster"]
    model: Mapping[str, Any] = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    return model


def _ensemble(learner: Mapping[str, Any], row: Objective, rounds: int) -> Ensemble | None:
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        return None
    parameters = learner["learner_model_param"]
    targets = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    scores = np.atleast_1d(np.asarray(json.loads(parameters["base_score"]), dtype=np.float64))
    base = np.broadcast_to(np.array([row.margin(s) for s in scores]), (targets,)).astype(np.float32)
    model = _gbtree(learner)
    count = model["iteration_indptr"][rounds] if rounds else len(model["trees"])
    dropped = booster.get("weight_drop") or [1.0] * len(model["trees"])
    width = int(parameters["num_feature"])
    used = model["trees"][:count]
    found = gather((s for t in used for _, s in sets(t)), width, member=1.0, missing=math.nan, low=_BELOW_ZERO)
    if found is None:
        return None
    tables, places = found
    trees = tuple(
        _tree(used[i], model["tree_info"][i], np.float32(dropped[i]), places) for i in range(count)
    )  # fmt: skip
    return Ensemble(trees, width, targets, "<", "float32", base.astype(np.float64), tables)


def _tree(spec: Mapping[str, Any], group: int, weight: Any, places: Mapping[tuple[int, frozenset[int]], int]) -> Tree:
    """One tree of the JSON. Leaves hold their value where splits hold their threshold; vectors have a list.

    A categorical split asks whether its set's column, one of `places`, is 0.
    """
    left = np.asarray(spec["left_children"], dtype=np.int64)
    right = np.asarray(spec["right_children"], dtype=np.int64)
    condition = np.asarray(spec["split_conditions"], dtype=np.float32)
    leaf = left < 0
    column, threshold = np.asarray(spec["split_indices"], dtype=np.int64), condition.astype(np.float64)
    for node, asked in sets(spec):
        column[node], threshold[node] = places[asked], 0.5
    size = int(spec["tree_param"]["size_leaf_vector"])
    if size > 1:
        if "leaf_weights" not in spec:
            raise _refused("a multi-output tree", "is in a form of another XGBoost", "XGBoost 3.2 or newer")
        vectors = np.asarray(spec["leaf_weights"], dtype=np.float32).reshape(-1, size)
        value = np.where(leaf[:, None], vectors[np.where(leaf, right, 0)], np.float32(0))
    else:
        value = np.where(leaf, condition, np.float32(0))[:, None]
    return Tree(
        feature=np.where(leaf, -1, column),
        threshold=threshold,
        left=left,
        right=right,
        missing_left=np.asarray(spec["default_left"], dtype=bool),
        value=(value * weight).astype(np.float64),
        target=0 if size > 1 else group,
    ).compact()


# -- the source's own answers ----------------------------------------------------------------------------------------


def _booster_answers(known: Facts) -> Callable[[Any], dict[str, Array]]:
    def run(rows: Any) -> dict[str, Array]:
        table = xgboost.DMatrix(rows, nthread=1, enable_categorical=True)
        margin = known.plan.form == "margin" or known.objective == "multi:softmax"
        scores = known.booster.predict(
            table, output_margin=margin, validate_features=False, iteration_range=(0, known.rounds)
        )
        if known.plan.form == "value":
            return {"score" if known.plan.kind == "ranker" else "prediction": scores}
        if known.plan.form == "margin":
            return {"label": (scores > 0).astype(np.int64), "decision": scores}
        if known.plan.form == "binary":
            return {"label": (scores > 0.5).astype(np.int64), "probabilities": np.stack([1 - scores, scores], axis=1)}
        if margin:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        return {"label": scores.argmax(axis=1), "probabilities": scores}

    return run


def _wrapper_answers(wrapper: Any, plan: Plan) -> Callable[[Any], dict[str, Array]]:
    def run(rows: Any) -> dict[str, Array]:
        predicted = np.asarray(wrapper.predict(rows, validate_features=False))
        if plan.kind != "classifier":
            return {"score" if plan.kind == "ranker" else "prediction": predicted}
        label = predicted.astype(np.int64) if predicted.dtype.kind in "iu" else predicted
        return {"label": label, "probabilities": wrapper.predict_proba(rows, validate_features=False)}

    return run


def _native(known: Facts) -> Program:
    """The booster as XGBoost itself runs it (`runtime/xgboost_native.py` reads the settings)."""
    settings: dict[str, Any] = {"form": known.plan.form, "rounds": known.rounds}
    settings["margin"] = known.plan.form == "margin" or known.objective == "multi:softmax"
    if known.plan.missing is not None:
        settings["missing"] = known.plan.missing
    variant = Variant("xgboost", "xgboost-ubj", "float32", "model.ubj", settings)
    return Program(variant, {"model.ubj": bytes(known.booster.save_raw("ubj"))})
