"""CatBoost: `.cbm` files, live models and its scikit-learn wrappers.

The trees of a model of numbers come from CatBoost's own JSON and become the same tree ensemble that XGBoost's and
LightGBM's do. CatBoost casts every value to float32, goes right where `value > border` and sums leaves in float64; the
program does the same. NaN goes as each column's `nan_mode` has it. (CatBoost's own ONNX export sums in float32 and
sends every NaN left.)

Categories, texts and what CatBoost derives of them (statistics of the target by category, combinations of columns) have
no ONNX: such a model is run by CatBoost itself, from a `.cbm` file, with one input a column.

A `.cbm` file does not say which class saved it. It, and a bare `CatBoost`, answer as the wrapper of its loss does
(LOSSES).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import catboost
import numpy as np

from setsail.convert.booster import Model, Rows, assemble, package_versions, plain_values, read_rows
from setsail.convert.catboost_trees import ensemble
from setsail.convert.columns import Column, Columns, frame_of, pandas, read_columns
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.links import Plan
from setsail.convert.trees import Ensemble
from setsail.errors import SetsailError
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["LOSSES", "Facts", "Loss", "convert", "facts", "load"]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a model of a loss answers: kind, form and link (`links.py`).

    Attributes:
        asked: what CatBoost's own `predict` is asked for (`prediction_type`).
    """

    kind: str
    form: str = "value"
    link: str = "identity"
    asked: str = "RawFormulaVal"


_BINARY: Final = Loss("classifier", "binary", "sigmoid", "Probability")
_VALUE: Final = Loss("regressor")
_EXP: Final = Loss("regressor", link="exp", asked="Exponent")
_RANK: Final = Loss("ranker")

LOSSES: Final[Mapping[str, Loss]] = {
    "Logloss": _BINARY,
    "CrossEntropy": _BINARY,
    "Focal": _BINARY,
    "MultiClass": Loss("classifier", "multi", "softmax", "Probability"),
    "MultiClassOneVsAll": Loss("classifier", "multi", "sigmoid", "Probability"),
    **dict.fromkeys((
        "RMSE", "MAE", "MAPE", "Quantile", "MultiQuantile", "MultiRMSE", "MultiRMSEWithMissingValues", "LogLinQuantile",
        "Lq", "RMSPE", "Huber", "Expectile", "LogCosh", "GroupQuantile", "Cox", "SurvivalAft",
    ), _VALUE),
    "Poisson": _EXP,
    "Tweedie": _EXP,
    "RMSEWithUncertainty": Loss("regressor", asked="RMSEWithUncertainty"),
    **dict.fromkeys((
        "YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QueryRMSE", "QuerySoftMax",
        "QueryCrossEntropy", "StochasticFilter", "StochasticRank", "LambdaMart",
    ), _RANK),
    # somebody's own function: CatBoost saves no word of it and answers raw sums
    "PythonUserDefinedPerObject": _VALUE,
    "PythonUserDefinedMultiTarget": _VALUE,
}  # fmt: skip
_WRAPPERS: Final = {
    "classifier": catboost.CatBoostClassifier,
    "regressor": catboost.CatBoostRegressor,
    "ranker": catboost.CatBoostRanker,
}
# What of a file's metadata is kept: the rest is the clock, the folders and the log of the training.
_KEPT: Final = ("params", "class_params", "loss_function", "model_guid")


def load(path: Path | str) -> catboost.CatBoost:
    """Read a `.cbm` file. Raises `source.damaged`."""
    try:
        return catboost.CatBoost().load_model(str(path), format="cbm")
    except catboost.CatBoostError as fault:
        raise SetsailError(
            "source.damaged", f"CatBoost cannot read {Path(path).name}", value=_said(fault),
            expected="a model written by save_model",
        ) from fault  # fmt: skip


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a fitted CatBoost, CatBoostClassifier, CatBoostRegressor or CatBoostRanker.

    Raises:
        SetsailError: `convert.unsupported` for losses without a row, several labels a row and embedding features;
            `convert.input` for an example or labels that do not fit; `convert.run`.
    """
    known = facts(model)
    rows = _rows(known, intent)
    described = Model(
        framework="CatBoost",
        estimator=type(model).__name__,
        versions=package_versions("catboost", "onnx", "numpy"),
        plan=known.plan,
        rows=rows,
        ensemble=known.ensemble,
        run=_answers(known),
        native=_native(known),
        hyperparameters=plain_values(model.get_params()) | {"objective": known.loss},
        notes=known.notes,
    )
    return assemble(described, intent)


# -- reading a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """A model, read.

    Attributes:
        wrapper: the model as the class of its loss.
        ensemble: None where only CatBoost itself can run it.
        names: of the columns; `x0`, `x1`, … where it knows none (`named` is False then).
        categorical, texts: numbers of the columns that hold categories and texts.
    """

    wrapper: Any
    loss: str
    asked: str
    plan: Plan
    ensemble: Ensemble | None
    names: tuple[str, ...]
    named: bool
    categorical: tuple[int, ...]
    texts: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def booster(self) -> Any:
        return self.wrapper


def facts(model: Any) -> Facts:
    """Read a model. Raises `convert.unsupported`."""
    if not isinstance(model, catboost.CatBoost) or not model.is_fitted():
        raise _refused(type(model).__name__, "is not fitted", "a fitted model")
    loss = _loss(model)
    row = LOSSES.get(loss)
    if row is None:
        several = loss.startswith("Multi")
        raise _refused(f"loss {loss!r}", "predicts several labels for one row" if several else
                       "predicts in a way we do not know", ", ".join(LOSSES))  # fmt: skip
    wrapper = model if type(model) is not catboost.CatBoost else _wrapped(model, _WRAPPERS[row.kind])
    if isinstance(wrapper, catboost.CatBoostClassifier) and row.kind != "classifier":
        row = _BINARY if _width(wrapper) < 3 else LOSSES["MultiClass"]
    names = tuple(map(str, model.feature_names_))
    named = names != tuple(map(str, range(len(names))))
    described = [i for kind in ("text", "embedding") for i in getattr(model._object, f"_get_{kind}_feature_indices")()]
    texts = tuple(model._object._get_text_feature_indices())
    if len(described) != len(texts):
        raise _refused("an embedding feature", "holds a vector for each row", "numbers, categories and texts")
    categorical = tuple(model.get_cat_feature_indices())
    plain = not categorical and not texts and row.asked != "RMSEWithUncertainty"
    trees = ensemble(model, len(names)) if plain else None
    notes = () if type(model) is not catboost.CatBoost else (f"answers as {type(wrapper).__name__} does",)
    shown = names if named else tuple(f"x{i}" for i in range(len(names)))
    return Facts(wrapper, loss, row.asked, _plan(wrapper, row), trees, shown, named, categorical, texts, notes)


def _loss(model: Any) -> str:
    """The loss's name. A sum of models keeps it elsewhere."""
    kept = dict(model.get_metadata())
    told = json.loads(kept["params"])["loss_function"] if kept.get("params") else json.loads(kept["loss_function"])
    return str(told["type"])


def _width(wrapper: Any) -> int:
    return len(wrapper.classes_)


def _wrapped(model: Any, kind: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="setsail-catboost-") as folder:
        path = Path(folder, "model.cbm")
        model.save_model(str(path))
        return kind().load_model(str(path))


def _plan(wrapper: Any, row: Loss) -> Plan:
    if row.kind != "classifier":
        return Plan(row.kind, row.form, row.link, single=True)
    limit = wrapper.get_probability_threshold() if row.form == "binary" else 0.5
    return Plan(row.kind, row.form, row.link, classes=np.asarray(wrapper.classes_), single=True, limit=float(limit))


def _refused(what: str, why: str, expected: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"{what} {why}", field=what, expected=expected)


def _said(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(known: Facts, intent: Intent) -> Rows | Columns:
    """One table of numbers, or a column each where there are categories or texts."""
    if not known.categorical and not known.texts:
        names = known.names if known.named else ()
        return read_rows(intent, width=len(known.names), names=names, dtype=None)
    stated = {spec.name: spec.dtype.name for spec in intent.inputs}
    for name in stated:
        if name not in known.names:
            raise SetsailError("convert.input", "the model has no such column", field="--input", value=name,
                               expected=", ".join(known.names[:12]))  # fmt: skip
    words = {*known.categorical, *known.texts}
    columns = [_column(name, i in words, stated.get(name), i in known.texts) for i, name in enumerate(known.names)]
    if intent.example is None:
        return Columns(tuple(columns), "", _frame(known))
    frame = frame_of(intent.example, known.names)
    for i in known.categorical:
        if known.names[i] not in stated and _is_whole(frame.iloc[:, i]):
            columns[i] = replace(columns[i], dtype="int64")
    read, rows = read_columns(columns, frame)
    return Columns(read, "", _frame(known), rows)


def _column(name: str, word: bool, stated: str | None, text: bool) -> Column:
    allowed = ("string",) if text else ("string", "int64") if word else ("float32", "float64")
    if stated is not None and stated not in allowed:
        raise SetsailError("convert.input", f"column {name!r} cannot have this dtype", field="--input", value=stated,
                           expected=" or ".join(allowed))  # fmt: skip
    return Column(name, stated or ("string" if word else "float64"), nullable=not word)


def _is_whole(series: Any) -> bool:
    """Whether a column of categories holds whole numbers; CatBoost reads them as their decimal texts."""
    values = series.dropna().tolist()
    return bool(values) and all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values)


def _frame(known: Facts) -> Callable[[Mapping[str, Array]], Any]:
    """The signature's inputs as a data frame: the way in that CatBoost's users take."""

    def given(inputs: Mapping[str, Array]) -> Any:
        frame = pandas().DataFrame(dict(inputs))
        return frame if known.named else frame.set_axis([str(i) for i in range(len(known.names))], axis=1)

    return given


# -- the source's own answers ----------------------------------------------------------------------------------------


def _answers(known: Facts) -> Callable[[Any], dict[str, Array]]:
    def run(rows: Any) -> dict[str, Array]:
        predicted = np.asarray(known.wrapper.predict(rows, thread_count=1))
        if known.plan.kind != "classifier":
            return {"score" if known.plan.kind == "ranker" else "prediction": predicted}
        label = predicted.reshape(len(predicted))  # of several classes it is a column
        shares = np.asarray(known.wrapper.predict_proba(rows, thread_count=1))
        return {"label": label.astype(np.int64) if label.dtype.kind in "iu" else label, "probabilities": shares}

    return run


def _native(known: Facts) -> Program:
    """The model as CatBoost itself runs it (`runtime/catboost_native.py` reads the settings)."""
    with tempfile.TemporaryDirectory(prefix="setsail-catboost-") as folder:
        path = Path(folder, "model.cbm")
        known.wrapper.save_model(str(path))
        copy = catboost.CatBoost().load_model(str(path))
        kept = copy.get_metadata()
        for key in list(kept):
            if key not in _KEPT:
                del kept[key]
        copy.save_model(str(path))
        content = path.read_bytes()
    settings: dict[str, Any] = {"form": known.plan.form, "asked": known.asked}
    if known.plan.limit != 0.5:
        settings["limit"] = known.plan.limit
    return Program(Variant("catboost", "catboost-cbm", "float64", "model.cbm", settings), {"model.cbm": content})
