"""LightGBM models of every kind against LightGBM."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from booster_agreement import CANCER, DIABETES, IRIS, agree, close, run
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from setsail.convert.conversion import Intent
from setsail.convert.lightgbm import OBJECTIVES, ZERO, convert, load
from setsail.convert.sklearn.model import convert as convert_sklearn
from setsail.errors import SetsailError
from setsail.tensors import Array

SMALL: dict[str, Any] = {"n_estimators": 8, "num_leaves": 15, "min_child_samples": 5, "n_jobs": 1, "verbosity": -1}
EXACT = 1e-9


def classifier(rows: Array = CANCER[0], target: Array = CANCER[1], **options: Any) -> lgb.LGBMClassifier:
    return lgb.LGBMClassifier(**SMALL | options).fit(rows, target)


# -- kinds of model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"boosting_type": "dart"}, {"boosting_type": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    {"objective": "cross_entropy"}, {"is_unbalance": True}, {"sigmoid": 0.7},
], ids=str)  # fmt: skip
def test_a_binary_classifier(options: dict[str, Any]) -> None:
    conversion = convert(classifier(**options), Intent(example=CANCER[0]))
    assert (conversion.kind, conversion.framework) == ("classifier", "LightGBM")
    assert str(conversion.signature) == "(input:float64[N,30]) -> (label:int64[N], probabilities:float64[N,2])"
    assert [p.variant.id for p in conversion.programs] == ["onnx", "lightgbm"]
    agree(conversion, rtol=EXACT)


@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_a_multi_class_classifier_of_text_labels(objective: str) -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
    conversion = convert(classifier(IRIS[0], names, objective=objective), Intent(example=IRIS[0]))
    assert conversion.signature.output("label").dtype.name == "string"
    agree(conversion, rtol=EXACT)


@pytest.mark.parametrize("labels", [CANCER[1] == 1, CANCER[1] * 2.0, CANCER[1] - 7], ids=["bool", "float", "negative"])
def test_labels_keep_their_dtype(labels: Array) -> None:
    agree(convert(classifier(target=labels), Intent(example=CANCER[0])), rtol=EXACT)


@pytest.mark.parametrize("objective", [o for o, row in OBJECTIVES.items() if row.kind == "regressor" and o])
@pytest.mark.parametrize("root", [False, True], ids=["", "reg_sqrt"])
def test_a_regressor(objective: str, root: bool) -> None:
    unit = objective.startswith("cross")
    if root and (unit or OBJECTIVES[objective].link != "identity"):
        pytest.skip("LightGBM has no root of this objective")
    target = CANCER[1] if unit else DIABETES[1] - (100 if root else 0)
    rows = CANCER[0] if unit else DIABETES[0]
    model = lgb.LGBMRegressor(objective=objective, reg_sqrt=root, **SMALL).fit(rows, target)
    conversion = convert(model, Intent(example=rows))
    assert conversion.probes[0].outputs["prediction"].ndim == 1, "(N,) stays (N,)"
    agree(conversion, rtol=EXACT)


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_a_ranker(objective: str) -> None:
    model = lgb.LGBMRanker(objective=objective, **SMALL).fit(*IRIS, group=[15] * 10)
    conversion = convert(model, Intent(example=IRIS[0]))
    assert (conversion.kind, conversion.signature.defaults) == ("ranker", ("score",))
    agree(conversion, rtol=EXACT)


def test_linear_trees_are_run_by_lightgbm_itself() -> None:
    model = lgb.LGBMRegressor(linear_tree=True, **SMALL).fit(*DIABETES)
    conversion = convert(model, Intent(example=DIABETES[0]))
    assert [p.variant.id for p in conversion.programs] == ["lightgbm"]
    agree(conversion)


def test_trees_of_one_leaf() -> None:
    agree(convert(classifier(CANCER[0][:20], np.arange(20) % 2, min_child_samples=20), Intent()), rtol=EXACT)


def test_the_best_iteration_of_early_stopping() -> None:
    model = lgb.LGBMClassifier(**SMALL | {"n_estimators": 80, "num_leaves": 4})
    model.fit(IRIS[0][::2], IRIS[1][::2], eval_X=IRIS[0][1::2], eval_y=IRIS[1][1::2],
              callbacks=[lgb.early_stopping(2, verbose=False)])  # fmt: skip
    assert model.best_iteration_ < 80
    agree(convert(model, Intent(example=IRIS[0])), rtol=EXACT)


# -- boosters and files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "kind"), [(o, row.kind) for o, row in OBJECTIVES.items()])
def test_every_objective_of_a_bare_booster(objective: str, kind: str, tmp_path: Path) -> None:
    rows, target = IRIS
    classes = {"num_class": 3} if objective.startswith("multi") else {}
    target = target if classes or kind == "ranker" else (target > 0) + (objective == "gamma")
    options = {"objective": objective, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **classes}
    if not objective:
        options["objective"] = lambda raw, data: (raw - data.get_label(), np.ones_like(raw))
    group = [15] * 10 if kind == "ranker" else None
    booster = lgb.train(options, lgb.Dataset(rows, target, group=group), 5)
    booster.save_model(tmp_path / "model.txt")
    for model in (booster, load(tmp_path / "model.txt")):
        conversion = convert(model, Intent())
        assert conversion.kind == kind
        assert [p.what for p in conversion.probes] == ["synthetic", "boundary"]
        agree(conversion, rtol=EXACT)
    if kind == "classifier":
        assert conversion.signature.output("label").labels == (("0", "1", "2") if classes else ("0", "1"))


@pytest.mark.parametrize("content", [b"tree\nversion=v4\nnum_class=1\n", b"\xff\xfe"])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(content)
    with pytest.raises(SetsailError) as caught:
        load(tmp_path / "model.txt")
    assert caught.value.code == "source.damaged"


def test_no_path_of_the_training_machine_is_kept(tmp_path: Path) -> None:
    text = classifier().booster_.model_to_string().replace("[data: ]", "[data: /home/somebody/train.csv]")
    (tmp_path / "model.txt").write_text(text)
    native = convert(load(tmp_path / "model.txt"), Intent()).programs[-1]
    assert b"[data: ]" in native.files["model.txt"]
    assert b"somebody" not in native.files["model.txt"]


def test_a_frames_columns_whose_blanks_lightgbm_replaces() -> None:
    frame = pd.DataFrame(IRIS[0], columns=["petal length", "b", "c", "d"])
    model = classifier(frame, IRIS[1])
    conversion = convert(model, Intent(example=frame[["d", "b", "petal length", "c"]]))
    assert conversion.signature.inputs[0].columns == ("petal length", "b", "c", "d")
    np.testing.assert_array_equal(conversion.probes[0].inputs["input"], IRIS[0])
    with pytest.raises(SetsailError) as caught:
        convert(model, Intent(example=frame[["b", "c", "d"]]))
    assert caught.value.code == "convert.input"


def test_labels_for_a_model_without_any() -> None:
    with pytest.raises(SetsailError) as caught:
        convert(lgb.LGBMRegressor(**SMALL).fit(*DIABETES), Intent(labels=("a", "b")))
    assert caught.value.code == "convert.input"


# -- missing values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
def test_missing_values_and_zeros(options: dict[str, Any]) -> None:
    """Each node's own reading of NaN, of zero, and of what LightGBM takes for zero."""
    rng = np.random.default_rng(0)
    rows = (CANCER[0] - CANCER[0].mean(0)) / CANCER[0].std(0)
    rows[rng.random(rows.shape) < 0.15] = 0
    train = rows.copy()
    train[:, ::2][rng.random(train[:, ::2].shape) < 0.1] = np.nan
    model = classifier(train, **options)
    conversion = convert(model, Intent(example=train))
    agree(conversion, rtol=EXACT)
    tiny = np.array([0.0, -0.0, ZERO, -ZERO, np.nextafter(ZERO, 1), -np.nextafter(ZERO, 1), 1e-40, -1e-300, np.nan])
    rows[rng.random(rows.shape) < 0.3] = rng.choice(tiny, size=1)
    rows = np.where(rng.random(rows.shape) < 0.3, rng.choice(tiny, size=rows.shape), rows)
    source = {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}
    for program in conversion.programs:
        close(conversion, source, run(conversion, program, rows), program.variant.id, EXACT)


# -- known wrong answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_known_wrong_thresholds_stay_float64_on_rows_never_seen(kind: str) -> None:
    """With float32 thresholds up to 10 % of rows go wrong. Random rows, rounded decimals, and the very thresholds."""
    rows, target = CANCER if kind == "classifier" else DIABETES
    model = (lgb.LGBMClassifier if kind == "classifier" else lgb.LGBMRegressor)(**SMALL | {"n_estimators": 40})
    model.fit(rows, target)
    conversion = convert(model, Intent(example=rows))
    rng = np.random.default_rng(2)
    unseen = rows + rng.normal(size=rows.shape) * rows.std(0) * 0.3
    edges = conversion.probes[-1].inputs["input"]
    for batch in (rows, unseen, np.round(unseen, 2), np.round(rows, 3), edges, np.nextafter(edges, np.inf)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = model.predict_proba(batch) if kind == "classifier" else model.predict(batch)
        name = "probabilities" if kind == "classifier" else "prediction"
        ours = run(conversion, conversion.programs[0], batch)[name]
        assert np.abs(ours - scores).max() < 1e-7


def test_a_scaler_in_front() -> None:
    model = make_pipeline(StandardScaler(), lgb.LGBMClassifier(**SMALL)).fit(*CANCER)
    agree(convert_sklearn(model, Intent(example=CANCER[0])), rtol=1e-9)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    poisson = classifier(objective="poisson")
    for model in (poisson, lgb.LGBMClassifier(), object()):
        with pytest.raises(SetsailError) as caught:
            convert(model, Intent())
        assert caught.value.code == "convert.unsupported"
    known = classifier()
    monkeypatch.setattr("setsail.convert.lightgbm.OBJECTIVES", {})  # as a later LightGBM's objective would be
    with pytest.raises(SetsailError, match="binary"):
        convert(known, Intent())
