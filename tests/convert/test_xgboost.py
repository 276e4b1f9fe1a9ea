"""XGBoost models of every kind against XGBoost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from booster_agreement import CANCER, DIABETES, IRIS, agree, close, run
from scipy.sparse import csr_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert as convert_sklearn
from setsail.convert.xgboost import OBJECTIVES, convert, load
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

SMALL: dict[str, Any] = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1}


def cancer(**options: Any) -> xgb.XGBClassifier:
    return xgb.XGBClassifier(**SMALL | options).fit(*CANCER)


# -- kinds of model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"base_score": 0.3}, {"booster": "dart", "rate_drop": 0.5}, {"num_parallel_tree": 3, "subsample": 0.5},
    {"objective": "binary:hinge"}, {"objective": "binary:logitraw"},
], ids=str)  # fmt: skip
def test_a_binary_classifier(options: dict[str, Any]) -> None:
    conversion = convert(cancer(**options), Intent(example=CANCER[0]))
    assert (conversion.kind, conversion.framework) == ("classifier", "XGBoost")
    outputs = "(label:int64[N], probabilities:float32[N,2])"
    assert str(conversion.signature) == f"(input:float64[N,30]) -> {outputs}"
    assert [p.variant.id for p in conversion.programs] == ["onnx", "onnx-f64", "xgboost"]
    agree(conversion)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # XGBoost warns in a C callback
@pytest.mark.filterwarnings("ignore:.*gblinear:UserWarning")  # that linear boosters will go
def test_a_linear_booster_is_run_by_xgboost_itself() -> None:
    model = xgb.XGBClassifier(n_estimators=3, booster="gblinear", n_jobs=1).fit(*CANCER)
    conversion = convert(model, Intent(example=CANCER[0]))
    assert [p.variant.id for p in conversion.programs] == ["xgboost"]
    agree(conversion)


def test_a_multi_class_classifier() -> None:
    agree(convert(xgb.XGBClassifier(**SMALL).fit(*IRIS), Intent(example=IRIS[0])))


@pytest.mark.parametrize("objective", [
    "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:gamma", "reg:tweedie",
    "count:poisson",
])  # fmt: skip
def test_a_regressor(objective: str) -> None:
    model = xgb.XGBRegressor(objective=objective, **SMALL).fit(*DIABETES)
    conversion = convert(model, Intent(example=DIABETES[0]))
    assert conversion.probes[0].outputs["prediction"].ndim == 1, "(N,) stays (N,)"
    agree(conversion)


def test_regressors_of_probabilities_and_of_several_outputs() -> None:
    rows, target = DIABETES
    agree(convert(xgb.XGBRegressor(objective="reg:logistic", **SMALL).fit(*CANCER), Intent()))
    quantiles = xgb.XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], **SMALL)
    pair = np.stack([target, target * 2], axis=1)
    vector = xgb.XGBRegressor(multi_strategy="multi_output_tree", **SMALL)
    for model, width in ((quantiles.fit(rows, target), 3), (xgb.XGBRegressor(**SMALL).fit(rows, pair), 2),
                         (vector.fit(rows, pair), 2)):  # fmt: skip
        conversion = convert(model, Intent(example=rows))
        assert conversion.signature.output("prediction").shape == ("N", width)
        agree(conversion)


@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:map", "rank:pairwise"])
def test_a_ranker(objective: str) -> None:
    groups = np.repeat(np.arange(10), 15)
    model = xgb.XGBRanker(objective=objective, **SMALL).fit(IRIS[0], (IRIS[1] > 0).astype(int), qid=groups)
    conversion = convert(model, Intent(example=IRIS[0]))
    assert (conversion.kind, conversion.signature.defaults) == ("ranker", ("score",))
    agree(conversion)
    agree(convert(model.get_booster(), Intent()))


@pytest.mark.parametrize("model", [xgb.XGBRFClassifier(**SMALL), xgb.XGBRFRegressor(**SMALL)], ids=["rf", "rfr"])
def test_random_forests(model: Any) -> None:
    agree(convert(model.fit(*CANCER), Intent(example=CANCER[0])))


def test_nodes_that_pruning_left_behind() -> None:
    model = xgb.XGBRegressor(gamma=5000.0, tree_method="exact", **SMALL).fit(*DIABETES)
    agree(convert(model, Intent(example=DIABETES[0])))


# -- bare boosters ---------------------------------------------------------------------------------------------------


def trained(objective: str) -> xgb.Booster:
    rows, target = IRIS
    target = target if objective.startswith("multi") else (target > 0).astype(int) if ":" in objective else target
    if objective == "survival:cox":
        target = 1 + target
    table = xgb.DMatrix(rows, target, nthread=1)
    if objective.startswith("rank"):
        table.set_group([15] * 10)
    if objective == "survival:aft":
        table.set_float_info("label_lower_bound", 1.0 + target)
        table.set_float_info("label_upper_bound", 2.0 + target)
    options = {"objective": objective, "max_depth": 3, "nthread": 1}
    extra = {"num_class": 3} if objective.startswith("multi") else {}
    if objective == "reg:quantileerror":
        extra = {"quantile_alpha": 0.4}
    if objective == "reg:gamma":
        table.set_label(target + 1)
    return xgb.train(options | extra, table, 6)


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o != "reg:linear"])
def test_every_objective_of_a_bare_booster(objective: str) -> None:
    conversion = convert(trained(objective), Intent())
    assert str(conversion.signature.inputs[0]) == "input:float32[N,4]"
    assert [p.what for p in conversion.probes] == ["synthetic", "boundary"]
    agree(conversion)
    if conversion.kind.startswith("classifier"):
        assert conversion.signature.output("label").labels == (("0", "1", "2") if "multi" in objective else ("0", "1"))


@pytest.mark.parametrize("name", ["model.ubj", "model.json"])
def test_files(name: str, tmp_path: Path) -> None:
    model = cancer()
    model.get_booster().save_model(tmp_path / name)
    agree(conversion := convert(load(tmp_path / name), Intent(example=CANCER[0])))
    source = model.predict_proba(CANCER[0][:1000])
    np.testing.assert_array_equal(conversion.probes[0].outputs["probabilities"], source)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"learner": {}}')
    with pytest.raises(SetsailError) as caught:
        load(tmp_path / "model.json")
    assert caught.value.code == "source.damaged"


def test_early_stopping_is_the_wrappers_and_a_file_remembers_it(tmp_path: Path) -> None:
    rows, target = CANCER
    model = xgb.XGBClassifier(**SMALL | {"n_estimators": 60, "max_depth": 2, "early_stopping_rounds": 2})
    model.fit(rows[::2], target[::2], eval_set=[(rows[1::2], target[1::2])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    conversion = convert(model, Intent(example=rows))
    agree(conversion)
    assert f"first {model.best_iteration + 1} rounds" in conversion.notes[0]
    model.save_model(tmp_path / "model.ubj")
    again = convert(load(tmp_path / "model.ubj"), Intent(example=rows))
    np.testing.assert_array_equal(again.probes[0].outputs["probabilities"], model.predict_proba(rows[:1000]))
    agree(again)


# -- rows ------------------------------------------------------------------------------------------------------------


def test_missing_values_and_a_number_that_stands_for_them() -> None:
    rng = np.random.default_rng(0)
    rows, target = CANCER[0].copy(), CANCER[1]
    rows[rng.random(rows.shape) < 0.1] = np.nan
    agree(convert(xgb.XGBClassifier(**SMALL).fit(rows, target), Intent(example=rows)))
    rows[np.isnan(rows)] = -999.0
    rows[3, :5] = np.nan
    model = xgb.XGBClassifier(missing=-999.0, **SMALL).fit(rows, target)
    agree(conversion := convert(model, Intent(example=rows)))
    assert conversion.programs[-1].variant.settings["missing"] == -999.0


def test_rows_never_seen() -> None:
    """Random rows and rounded decimals: every decision as XGBoost makes it, after its own cast to float32."""
    model = cancer(n_estimators=20)
    conversion = convert(model, Intent(example=CANCER[0]))
    rng = np.random.default_rng(1)
    rows = np.round(CANCER[0] + rng.normal(size=CANCER[0].shape) * CANCER[0].std(0) * 0.3, 2)
    source = {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}
    close(conversion, source, run(conversion, conversion.programs[0], rows), "unseen", 1e-6)


def test_the_dtype_follows_the_example() -> None:
    for rows, dtype in ((CANCER[0], "float64"), (CANCER[0].astype(np.float32), "float32"),
                        (np.round(CANCER[0]).astype(int), "float64"), (None, "float32")):  # fmt: skip
        assert convert(cancer(), Intent(example=rows)).signature.inputs[0].dtype.name == dtype
    stated = (TensorSpec.parse("input:float64[*,30]"),)
    assert convert(cancer(), Intent(inputs=stated)).signature.inputs[0].dtype.name == "float64"


def test_a_frame_is_put_in_the_models_order() -> None:
    frame = pd.DataFrame(IRIS[0], columns=["a b", "b", "c", "d"])
    model = xgb.XGBClassifier(**SMALL).fit(frame, IRIS[1])
    conversion = convert(model, Intent(example=frame[["d", "b", "a b", "c"]]))
    assert conversion.signature.inputs[0].columns == ("a b", "b", "c", "d")
    np.testing.assert_array_equal(conversion.probes[0].inputs["input"], IRIS[0])
    agree(conversion)


def test_own_labels() -> None:
    conversion = convert(cancer(), Intent(example=CANCER[0], labels=("malignant", "benign")))
    assert conversion.signature.output("probabilities").labels == ("malignant", "benign")
    assert set(conversion.probes[0].outputs["label"].tolist()) == {"malignant", "benign"}
    agree(conversion)


@pytest.mark.parametrize("intent", [
    Intent(example=CANCER[0][:, :3]), Intent(example=np.array([["a"] * 30])), Intent(example=csr_matrix(CANCER[0])),
    Intent(example=CANCER[0], labels=("one",)), Intent(inputs=(TensorSpec.parse("input:float32[*,4]"),)),
], ids=["width", "text", "sparse", "labels", "input"])  # fmt: skip
def test_what_does_not_fit_the_model(intent: Intent) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(cancer(), intent)
    assert caught.value.code == "convert.input"


def test_one_model_gives_one_program() -> None:
    first, second = (convert(cancer(), Intent(example=CANCER[0])) for _ in range(2))
    assert [dict(p.files) for p in first.programs] == [dict(p.files) for p in second.programs]


# -- known wrong answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_dtype", ["float64", "float32"])
def test_known_wrong_a_scaler_in_front_of_xgboost_flips_no_split(rows_dtype: str) -> None:
    """Other converters scale in float32: 3 of 569 rows differ, by up to 0.30. Here none does."""
    rows = CANCER[0].astype(rows_dtype)
    model = make_pipeline(StandardScaler(), xgb.XGBClassifier(**SMALL | {"n_estimators": 100})).fit(rows, CANCER[1])
    conversion = convert_sklearn(model, Intent(example=rows))
    ours = run(conversion, conversion.programs[0], rows)
    assert np.abs(ours["probabilities"] - model.predict_proba(rows)).max() < 1e-6
    np.testing.assert_array_equal(ours["label"], model.predict(rows))
    agree(conversion)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several = xgb.XGBClassifier(**SMALL).fit(IRIS[0], np.eye(3, dtype=int)[IRIS[1]])
    classes = xgb.XGBRegressor(objective="multi:softmax", num_class=3, **SMALL).fit(*IRIS)
    for model in (several, several.get_booster(), classes, xgb.XGBClassifier(), object()):
        with pytest.raises(SetsailError) as caught:
            convert(model, Intent())
        assert caught.value.code == "convert.unsupported"
    known = cancer()
    monkeypatch.setattr("setsail.convert.xgboost.OBJECTIVES", {})  # as a later XGBoost's objective would be
    with pytest.raises(SetsailError, match="binary:logistic"):
        convert(known, Intent())
