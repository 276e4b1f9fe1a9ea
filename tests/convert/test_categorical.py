"""XGBoost and LightGBM with categories against themselves: by name of category, whatever the order of a frame.

The trap: to both a category is the number of its place in the frame's list. The same text in another frame has another
number, and a server that sends numbers answers for another town.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from booster_agreement import agree, run
from flats import CODES, FLATS, RENT, asked
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from setsail.convert import categories, lightgbm, xgboost
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.graph import Graph
from setsail.convert.sklearn import boosters
from setsail.convert.sklearn.emit import Value
from setsail.convert.sklearn.model import convert as convert_sklearn
from setsail.errors import SetsailError
from setsail.tensors import NULL, Array

LGB: dict[str, Any] = {
    "n_estimators": 6, "num_leaves": 8, "min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1.0,
    "n_jobs": 1, "verbosity": -1,
}  # fmt: skip
XGB: dict[str, Any] = {"n_estimators": 6, "max_depth": 4, "n_jobs": 1, "enable_categorical": True}
HIGH = np.median(RENT) < RENT
THIRDS = np.digitize(RENT, np.quantile(RENT, [1 / 3, 2 / 3]))


def columns(frame: pd.DataFrame) -> dict[str, Array]:
    """What a client sends for these rows: texts and numbers."""
    town = np.array([NULL if v != v else v for v in frame["town"].astype(object).fillna(np.nan)], dtype=object)
    return {"town": town, "area": frame["area"].to_numpy(), "rooms": frame["rooms"].astype(np.int64).to_numpy()}


def refusal(convert: Any, model: Any, intent: Intent | None = None) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        convert(model, intent or Intent())
    return caught.value


# -- LightGBM ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [
    lgb.LGBMRegressor(**LGB), lgb.LGBMRegressor(max_cat_to_onehot=20, **LGB),
    lgb.LGBMRegressor(linear_tree=True, **LGB),
    lgb.LGBMRegressor(zero_as_missing=True, **LGB), lgb.LGBMRegressor(boosting_type="dart", **LGB),
], ids=["", "one against all", "linear", "zero is missing", "dart"])  # fmt: skip
@pytest.mark.parametrize("told", [True, False], ids=["example", "no example"])
def test_lightgbm_goes_by_name(model: Any, told: bool) -> None:
    model.fit(FLATS, RENT)
    conversion = lightgbm.convert(model, Intent(example=FLATS if told else None))
    assert str(conversion.signature) == (
        "(town:string[N], area:float64[N], rooms:int64[N]) -> (prediction:float64[N])"
    )  # fmt: skip
    assert [step.kind for step in conversion.processing.steps] == ["table.levels", "table.levels", "table.stack"]
    conversion.processing.check(conversion.signature)
    agree(conversion, rtol=1e-9)
    rows = asked(unseen=True)
    for program in conversion.programs:
        np.testing.assert_allclose(run(conversion, program, columns(rows))["prediction"], model.predict(rows))
    ids = [p.variant.id for p in conversion.programs]
    assert ids == (["lightgbm"] if model.get_params().get("linear_tree") else ["onnx", "lightgbm"])


@pytest.mark.parametrize(
    "target", [HIGH, THIRDS, np.array(["low", "mid", "high"])[THIRDS]], ids=["two", "three", "text"]
)
def test_a_lightgbm_classifier(target: Array) -> None:
    model = lgb.LGBMClassifier(**LGB).fit(FLATS, target)
    conversion = lightgbm.convert(model, Intent(example=FLATS))
    agree(conversion, rtol=1e-9)
    rows = asked(unseen=True)
    answer = run(conversion, conversion.programs[0], columns(rows))
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows))
    np.testing.assert_array_equal(answer["label"], model.predict(rows))


def test_a_lightgbm_file(tmp_path: Path) -> None:
    booster = lgb.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, lgb.Dataset(FLATS, RENT), 5)
    booster.save_model(tmp_path / "model.txt")
    conversion = lightgbm.convert(lightgbm.load(tmp_path / "model.txt"), Intent())
    agree(conversion, rtol=1e-9)
    rows = asked(unseen=True)
    answer = run(conversion, conversion.programs[0], columns(rows))["prediction"]
    np.testing.assert_allclose(answer, booster.predict(rows))


def test_categories_that_were_numbers_stay_numbers() -> None:
    model = lgb.LGBMRegressor(**LGB).fit(CODES, RENT, categorical_feature=[0, 2])
    conversion = lightgbm.convert(model, Intent(example=CODES))
    assert str(conversion.signature.inputs[0]) == "input:float64[N,3]"
    assert conversion.notes == ("numbers of categories go into 0, 2",)
    agree(conversion, rtol=1e-9)
    strange = CODES[:9].copy()
    strange[:, 0] = [-1, -0.5, 0.5, 2.9, 5, 6, 1e9, np.nan, 3]  # cut to a number, below zero, beyond all
    answer = run(conversion, conversion.programs[0], strange)["prediction"]
    np.testing.assert_allclose(answer, model.predict(strange))


def test_whole_numbers_with_holes_are_floats() -> None:
    frame = FLATS.copy()
    frame.loc[::11, "rooms"] = np.nan
    for convert, model in ((lightgbm.convert, lgb.LGBMRegressor(**LGB)), (xgboost.convert, xgb.XGBRegressor(**XGB))):
        conversion = convert(model.fit(frame, RENT), Intent(example=frame))
        assert str(conversion.signature.input("rooms")) == "rooms:float64[N]"
        agree(conversion, rtol=1e-6)
    inputs = columns(asked(unseen=False)) | {"rooms": np.array([30, 20, np.nan, 10, 40, 10, 30.0])}
    with pytest.raises(SetsailError) as caught:  # the step refuses what XGBoost does not know
        run(conversion, conversion.programs[0], inputs)
    assert caught.value.code == "input.category"


def test_ordered_categories_are_found_by_the_example() -> None:
    """To LightGBM they are numbers; the model keeps their list and not whose it is."""
    frame = FLATS.assign(
        floor=pd.Categorical(np.array(["low", "mid", "top"])[THIRDS], ["low", "mid", "top"], ordered=True)
    )
    model = lgb.LGBMRegressor(**LGB).fit(frame, RENT)
    assert refusal(lightgbm.convert, model).code == "convert.example"
    agree(lightgbm.convert(model, Intent(example=frame)), rtol=1e-9)
    texts = frame.assign(town=frame["town"].astype(object), floor=frame["floor"].astype(object))
    texts["rooms"] = texts["rooms"].astype(str)
    error = refusal(lightgbm.convert, model, Intent(example=texts))
    assert error.code == "convert.input"
    assert "whole" in str(error)


def test_columns_that_a_step_would_hide() -> None:
    """A step's names are its own, whatever columns are called."""
    frame = FLATS.rename(columns={"rooms": "level of town", "area": "input"})
    conversion = lightgbm.convert(lgb.LGBMRegressor(**LGB).fit(frame, RENT), Intent(example=frame))
    assert [spec.name for spec in conversion.signature.inputs] == ["town", "input", "level of town"]
    agree(conversion, rtol=1e-9)


def test_too_many_sets_are_left_to_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "LIMIT", 20)
    conversion = lightgbm.convert(lgb.LGBMRegressor(**LGB).fit(FLATS, RENT), Intent())
    assert [p.variant.id for p in conversion.programs] == ["lightgbm"]
    agree(conversion, rtol=1e-9)


def test_a_blank_in_a_name_comes_back() -> None:
    frame = FLATS.rename(columns={"town": "the town"})
    conversion = lightgbm.convert(lgb.LGBMRegressor(**LGB).fit(frame, RENT), Intent(example=frame))
    assert conversion.signature.inputs[0].name == "the town"
    agree(conversion, rtol=1e-9)


# -- XGBoost -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"max_cat_to_onehot": 20}, {"booster": "dart", "rate_drop": 0.3}], ids=str)
@pytest.mark.parametrize("told", [True, False], ids=["example", "no example"])
def test_xgboost_goes_by_name(options: dict[str, Any], told: bool) -> None:
    model = xgb.XGBRegressor(**XGB | options).fit(FLATS, RENT)
    conversion = xgboost.convert(model, Intent(example=FLATS if told else None))
    assert [p.variant.id for p in conversion.programs] == ["onnx", "onnx-f64", "xgboost"]
    agree(conversion)
    rows = asked(unseen=False)
    for program in conversion.programs:
        answer = run(conversion, program, columns(rows))["prediction"]
        np.testing.assert_allclose(answer, model.predict(rows), rtol=1e-5)


def test_xgboost_refuses_what_it_never_saw_and_so_do_we() -> None:
    model = xgb.XGBClassifier(**XGB).fit(FLATS, THIRDS)
    with pytest.raises(xgb.core.XGBoostError, match="not in the training set"):
        model.predict(asked(unseen=True))
    signature = xgboost.convert(model, Intent()).signature
    with pytest.raises(SetsailError) as caught:
        signature.check(columns(asked(unseen=True)))
    assert caught.value.code == "input.category"
    assert "Zwickau" in str(caught.value)


def test_an_xgboost_file_of_a_booster(tmp_path: Path) -> None:
    table = xgb.DMatrix(FLATS, HIGH, enable_categorical=True)
    booster = xgb.train({"max_depth": 4, "nthread": 1, "objective": "binary:logistic"}, table, 5)
    rows = asked(unseen=False)
    scores = booster.predict(xgb.DMatrix(rows, enable_categorical=True))
    for name in ("model.ubj", "model.json"):
        booster.save_model(tmp_path / name)
        conversion = xgboost.convert(xgboost.load(tmp_path / name), Intent())
        agree(conversion)
        inputs = columns(rows)
        answer = run(conversion, conversion.programs[0], inputs | {"area": inputs["area"].astype(np.float32)})
        np.testing.assert_allclose(answer["probabilities"][:, 1], scores, rtol=1e-5)


def test_a_booster_on_numbers_of_categories() -> None:
    kinds = ["c", "q", "c"]
    table = xgb.DMatrix(CODES, RENT, feature_types=kinds, enable_categorical=True)
    booster = xgb.train({"max_depth": 4, "nthread": 1}, table, 5)
    conversion = xgboost.convert(booster, Intent(example=CODES.astype(np.float32)))
    assert str(conversion.signature.inputs[0]) == "input:float32[N,3]"
    assert conversion.notes == ("numbers of categories go into 0, 2",)
    agree(conversion)
    strange = CODES[:8].astype(np.float32)
    strange[:, 0] = [-1, 0.5, 2.9, 5, 6, 1e9, np.nan, 3]
    answer = run(conversion, conversion.programs[0], strange)["prediction"]
    np.testing.assert_allclose(answer, booster.predict(xgb.DMatrix(strange, feature_types=kinds)), rtol=1e-6)


def without_names(model: xgb.XGBRegressor) -> xgb.Booster:
    """As XGBoost before 3.1 wrote it: the same trees, and no word of the categories."""
    body = json.loads(model.get_booster().save_raw("json"))
    body["learner"]["gradient_booster"]["model"]["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(body).encode()))
    return booster


def test_a_model_without_names_takes_them_from_the_example() -> None:
    booster = without_names(xgb.XGBRegressor(**XGB).fit(FLATS, RENT))
    conversion = xgboost.convert(booster, Intent(example=FLATS))
    assert conversion.signature.inputs[0].categories == ("Aachen", "Bonn", "Celle", "Dessau", "Essen", "Fulda")
    agree(conversion)
    rows, table = asked(unseen=False), xgb.XGBRegressor(**XGB).fit(FLATS, RENT)
    answer = run(conversion, conversion.programs[0], columns(rows))["prediction"]
    np.testing.assert_allclose(answer, table.predict(rows), rtol=1e-5)
    assert [s.name for s in xgboost.convert(booster, Intent()).signature.inputs] == ["input"], "nobody knows the names"


def test_known_wrong_categories_beyond_ascii() -> None:
    """XGBoost 3.2 stores pieces of them, and answers for other categories where a frame has them in another order."""
    names = np.array(["Ürdingen", "Bonn", "Übach", "Örlinghausen", "Essen", "Köln"])
    frame = FLATS.assign(town=pd.Categorical(names[np.arange(len(FLATS)) % 6]))
    target = RENT + np.arange(len(FLATS)) % 6
    model = xgb.XGBRegressor(**XGB).fit(frame, target)
    error = refusal(xgboost.convert, model)
    assert error.code == "convert.example"
    conversion = xgboost.convert(model, Intent(example=frame))
    agree(conversion)
    other = frame.assign(town=frame["town"].cat.reorder_categories(list(reversed(frame["town"].cat.categories))))
    assert refusal(xgboost.convert, model, Intent(example=other)).code == "convert.example"
    answer = run(conversion, conversion.programs[0], columns(frame))["prediction"]
    np.testing.assert_allclose(answer, model.predict(frame), rtol=1e-5)


# -- what neither can --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [[0.5, 1.5, 2.5], [True, False]], ids=str)
def test_categories_of_other_kinds_are_refused(levels: list[Any]) -> None:
    frame = pd.DataFrame({"kind": pd.Categorical([levels[i % len(levels)] for i in range(90)]), "x": np.arange(90.0)})
    target = np.arange(90) % len(levels) + 0.0
    options = LGB | {"min_child_samples": 2}
    assert refusal(lightgbm.convert, lgb.LGBMRegressor(**options).fit(frame, target)).code == "convert.unsupported"


def test_inside_a_pipeline_nobody_hands_categories_by_name() -> None:
    """scikit-learn's rows are texts there, at which LightGBM itself fails; and numbers would be anybody's."""
    model = make_pipeline(FunctionTransformer(), lgb.LGBMRegressor(**LGB)).fit(FLATS, RENT)
    assert refusal(convert_sklearn, model, Intent(example=FLATS)).code == "convert.run"
    with pytest.raises(SetsailError, match="Pack the booster alone") as caught:
        boosters.lightgbm(Graph(), model[-1], Value("x", "float64", 3))
    assert caught.value.code == "convert.unsupported"


@pytest.mark.parametrize(("example", "word"), [
    (FLATS.drop(columns="area"), "lacks"), (FLATS.assign(area="large"), "no number"), (FLATS.assign(town=3), "text"),
    (FLATS.to_numpy()[:, :2], "shape"), (FLATS[:0], "rows"),
], ids=["a column less", "text for numbers", "numbers for text", "narrower", "empty"])  # fmt: skip
def test_an_example_that_does_not_fit(example: Any, word: str) -> None:
    model = lgb.LGBMRegressor(**LGB).fit(FLATS, RENT)
    error = refusal(lightgbm.convert, model, Intent(example=example))
    assert error.code == "convert.input"
    assert word in str(error)


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lgb.LGBMRegressor(**LGB).fit(FLATS, RENT)
    monkeypatch.setitem(sys.modules, "pandas", None)
    error = refusal(lightgbm.convert, model)
    assert error.code == "dependency.missing"
    assert "setsail[pandas]" in str(error)


def test_equal_models_give_equal_bytes() -> None:
    def made() -> Conversion:
        return lightgbm.convert(lgb.LGBMRegressor(**LGB).fit(FLATS, RENT), Intent(example=FLATS))

    assert made().programs[0].files == made().programs[0].files
