"""CatBoost models of every kind against CatBoost."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import catboost as cb
import numpy as np
import pandas as pd
import pytest
from booster_agreement import CANCER, DIABETES, IRIS, agree, run

from setsail.convert.catboost import LOSSES, convert, load
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.registry import convert as convert_any
from setsail.convert.sniff import recognise
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import Array

SMALL: dict[str, Any] = {
    "iterations": 6, "depth": 3, "border_count": 16, "bootstrap_type": "No", "verbose": 0, "allow_writing_files": False,
    "thread_count": 1,
}  # fmt: skip
EXACT = 1e-9
HOLES = CANCER[0].copy()
HOLES[np.random.default_rng(3).random(HOLES.shape) < 0.1] = np.nan


def classifier(rows: Any = CANCER[0], target: Any = CANCER[1], **options: Any) -> cb.CatBoostClassifier:
    return cb.CatBoostClassifier(**SMALL | options).fit(rows, target)


def formats(conversion: Conversion) -> list[str]:
    return [p.variant.id for p in conversion.programs]


# -- models of numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grow", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize("missing", ["Min", "Max"])
def test_a_binary_classifier_and_what_is_missing(grow: str, missing: str) -> None:
    """`Min` sends NaN left and `Max` right; CatBoost's own ONNX sends every NaN left."""
    conversion = convert(classifier(HOLES, grow_policy=grow, nan_mode=missing), Intent(example=HOLES))
    assert (conversion.kind, conversion.framework) == ("classifier", "CatBoost")
    assert str(conversion.signature) == "(input:float64[N,30]) -> (label:int64[N], probabilities:float64[N,2])"
    assert formats(conversion) == ["onnx", "catboost"]
    assert {p.what for p in conversion.probes} == {"example", "synthetic", "boundary"}
    agree(conversion, rtol=EXACT)


def test_nan_where_training_had_none() -> None:
    for mode in ("Min", "Forbidden"):
        model = cb.CatBoostRegressor(nan_mode=mode, **SMALL).fit(*DIABETES)
        conversion = convert(model, Intent())
        rows = DIABETES[0][:20].copy()
        rows[::2, 2] = rows[1::2, 8] = np.nan
        np.testing.assert_allclose(
            run(conversion, conversion.programs[0], rows.astype(np.float32))["prediction"], model.predict(rows)
        )


def test_values_beside_a_border_are_cast_as_catboost_casts_them() -> None:
    model = cb.CatBoostRegressor(**SMALL).fit(*DIABETES)
    conversion = convert(model, Intent(example=DIABETES[0]))
    for column, borders in model.get_borders().items():
        for border in borders:
            rows = np.tile(DIABETES[0][0], (5, 1))
            step = np.float64(border)
            rows[:, column] = [
                step,
                np.nextafter(step, 9),
                np.nextafter(step, -9),
                np.float32(border) + 1e-6,
                step - 1e-6,
            ]
            answer = run(conversion, conversion.programs[0], rows)["prediction"]
            np.testing.assert_allclose(answer, model.predict(rows), rtol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"loss_function": "MultiClassOneVsAll"}, {"grow_policy": "Lossguide"}], ids=str
)
@pytest.mark.parametrize("names", [None, np.array(["setosa", "versicolor", "virginica"])], ids=["numbers", "texts"])
def test_a_classifier_of_several(options: dict[str, Any], names: Array | None) -> None:
    target = IRIS[1] if names is None else names[IRIS[1]]
    conversion = convert(classifier(IRIS[0], target, **options), Intent(example=IRIS[0]))
    assert conversion.signature.output("label").dtype.name == ("int64" if names is None else "string")
    assert conversion.signature.output("probabilities").labels == tuple(map(str, np.unique(target)))
    agree(conversion, rtol=EXACT)


@pytest.mark.parametrize("target", [
    CANCER[1] == 1, CANCER[1] * 2.5, CANCER[1] - 7, np.array(["no", "yes"])[CANCER[1]],
], ids=["bool", "float", "negative", "text"])  # fmt: skip
def test_labels_keep_their_dtype(target: Array) -> None:
    agree(convert(classifier(target=target), Intent(example=CANCER[0])), rtol=EXACT)


def test_two_classes_by_a_loss_of_several() -> None:
    conversion = convert(classifier(loss_function="MultiClass"), Intent(example=CANCER[0]))
    assert conversion.signature.output("probabilities").shape == ("N", 2)
    agree(conversion, rtol=EXACT)


def test_the_threshold_of_a_classifier_is_kept(tmp_path: Path) -> None:
    model = classifier()
    model.set_probability_threshold(0.05)
    model.save_model(tmp_path / "model.cbm")
    assert (model.predict(CANCER[0]) != classifier().predict(CANCER[0])).any()
    for source in (model, load(tmp_path / "model.cbm")):
        conversion = convert(source, Intent(example=CANCER[0]))
        assert conversion.probes[0].outputs["label"].tolist() == model.predict(CANCER[0]).tolist()
        agree(conversion, rtol=EXACT)


REGRESSIONS = [loss for loss, row in LOSSES.items() if row.kind == "regressor" and not loss.startswith("Python")]
OPTIONS = {
    "Quantile": ":alpha=0.9", "MultiQuantile": ":alpha=0.1,0.9", "Lq": ":q=2", "Huber": ":delta=1",
    "Expectile": ":alpha=0.3", "Tweedie": ":variance_power=1.5", "MultiRMSEWithMissingValues": "",
}  # fmt: skip


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_a_regressor_of_every_loss(loss: str) -> None:
    target = DIABETES[1] / 100
    several = {"MultiRMSE", "MultiRMSEWithMissingValues", "SurvivalAft"}
    given = np.column_stack([target, target + 1]) if loss in several else target
    model = cb.CatBoostRegressor(loss_function=loss + OPTIONS.get(loss, ""), **SMALL)
    if loss == "GroupQuantile":  # not of the wrapper
        model = cb.CatBoost({"loss_function": loss, **SMALL})
        model.fit(cb.Pool(DIABETES[0], given, group_id=np.arange(len(given)) // 10))
    else:
        model.fit(DIABETES[0], given)
    conversion = convert(model, Intent(example=DIABETES[0]))
    assert conversion.probes[0].outputs["prediction"].shape == model.predict(DIABETES[0]).shape
    assert formats(conversion) == (["catboost"] if loss == "RMSEWithUncertainty" else ["onnx", "catboost"])
    agree(conversion, rtol=EXACT)


@pytest.mark.parametrize("loss", ["YetiRank", "QueryRMSE", "QuerySoftMax", "LambdaMart", "StochasticRank:metric=DCG"])
def test_a_ranker(loss: str) -> None:
    pool = cb.Pool(IRIS[0], IRIS[1] / 2, group_id=np.arange(150) // 10)
    conversion = convert(cb.CatBoostRanker(loss_function=loss, **SMALL).fit(pool), Intent(example=IRIS[0]))
    assert (conversion.kind, conversion.signature.defaults) == ("ranker", ("score",))
    agree(conversion, rtol=EXACT)


class Halves:
    """A person's own loss: CatBoost keeps no word of it."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


@pytest.mark.filterwarnings("ignore:Failed to import numba:UserWarning")  # without it such functions are slow
def test_a_loss_of_ones_own(tmp_path: Path) -> None:
    model = cb.CatBoost({"loss_function": Halves(), "eval_metric": "RMSE", **SMALL}).fit(*DIABETES)
    model.save_model(tmp_path / "model.cbm")
    for source in (model, load(tmp_path / "model.cbm")):
        conversion = convert(source, Intent(example=DIABETES[0]))
        np.testing.assert_array_equal(conversion.probes[0].outputs["prediction"], model.predict(DIABETES[0]))
        agree(conversion, rtol=EXACT)


# -- files and bare models ---------------------------------------------------------------------------------------------


def test_a_file_answers_as_the_class_of_its_loss(tmp_path: Path) -> None:
    counts = cb.CatBoostRegressor(loss_function="Poisson", **SMALL).fit(DIABETES[0], DIABETES[1] // 25)
    for model, rows in ((classifier(), CANCER[0]), (counts, DIABETES[0])):
        path = tmp_path / "anything"
        model.save_model(path)
        source = recognise(path)
        assert (source.format, source.framework, source.trust) == ("catboost", "catboost", None)
        conversion = convert_any(source, Intent())
        assert conversion.signature.inputs[0].dtype.name == "float32"
        assert conversion.notes == (f"answers as {type(model).__name__} does",)
        name = conversion.signature.outputs[0].name
        single = rows.astype(np.float32)
        answer = run(conversion, conversion.programs[0], single)[name]
        np.testing.assert_allclose(answer.astype(float), model.predict(single).astype(float), rtol=1e-9)


def test_a_pickled_model_is_of_catboost(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(classifier()))
    found = recognise(tmp_path / "model.pkl")
    assert (found.format, found.framework, found.trust) == ("pickle", "catboost", "pickle")


def test_a_sum_of_models_and_a_bare_one() -> None:
    first, second = classifier(), classifier(depth=2)
    for model in (
        cb.sum_models([first, second], weights=[0.3, 0.7]),
        cb.CatBoost({"loss_function": "Logloss", **SMALL}),
    ):
        if not model.is_fitted():
            model.fit(*CANCER)
        conversion = convert(model, Intent(example=CANCER[0]))
        assert conversion.kind == "classifier"
        scores = model.predict(CANCER[0], prediction_type="Probability")
        np.testing.assert_allclose(conversion.probes[0].outputs["probabilities"], scores)
        agree(conversion, rtol=EXACT)


def test_names_and_columns_that_do_not_matter() -> None:
    frame = pd.DataFrame(IRIS[0], columns=["a", "b", "c", "d"]).assign(nothing=1.0)
    conversion = convert(classifier(frame, IRIS[1]), Intent(example=frame[["nothing", "d", "c", "b", "a"]]))
    assert conversion.signature.inputs[0].columns == ("a", "b", "c", "d", "nothing")
    agree(conversion, rtol=EXACT)


def test_early_stopping_keeps_the_best_trees() -> None:
    model = cb.CatBoostClassifier(**SMALL | {"iterations": 80}, early_stopping_rounds=3)
    model.fit(CANCER[0][:300], CANCER[1][:300], eval_set=(CANCER[0][300:], 1 - CANCER[1][300:]))
    assert model.tree_count_ < 80
    agree(convert(model, Intent(example=CANCER[0])), rtol=EXACT)


def test_labels_of_ones_own() -> None:
    conversion = convert(classifier(), Intent(example=CANCER[0], labels=("malignant", "benign")))
    assert set(conversion.probes[0].outputs["label"]) == {"malignant", "benign"}
    agree(conversion, rtol=EXACT)


def test_the_packed_file_says_nothing_of_the_training_machine() -> None:
    content = convert(classifier(), Intent()).programs[-1].files["model.cbm"]
    for word in (b"train_dir", b"catboost_info", b"finish_time", b"Build by"):
        assert word not in content


# -- categories and texts ----------------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
FLATS = pd.DataFrame({
    "town": RNG.choice(["Aachen", "Bonn", "Celle", "Übach"], 300), "area": RNG.normal(70, 20, 300).round(1),
    "rooms": RNG.choice([1, 2, 3], 300),
    "words": RNG.choice(["a bright flat", "dark but cheap", "bright and cheap"], 300),
})  # fmt: skip
FLATS.loc[::13, "area"] = np.nan
RENT = (FLATS["town"].map({"Aachen": 3, "Bonn": -2, "Celle": 1, "Übach": 0}) + FLATS["rooms"]).to_numpy(float)
LATER = pd.DataFrame({"town": ["Zwickau", "Bonn", "", "Übach"], "area": [1.0, np.nan, 70.5, 99.0],
                      "rooms": [9, 1, 2, 3], "words": ["", "cheap", "never read", "a bright flat"]})  # fmt: skip


def sent(frame: pd.DataFrame, conversion: Conversion) -> dict[str, Array]:
    return {s.name: frame[s.name].to_numpy().astype(s.dtype.numpy) for s in conversion.signature.inputs}


@pytest.mark.parametrize(
    "options", [{}, {"one_hot_max_size": 10}, {"simple_ctr": ["BinarizedTargetMeanValue"]}], ids=str
)
def test_categories_are_sent_as_they_are(options: dict[str, Any]) -> None:
    frame = FLATS[["town", "area", "rooms"]]
    model = cb.CatBoostRegressor(cat_features=["town", "rooms"], **SMALL | options).fit(frame, RENT)
    conversion = convert(model, Intent(example=frame))
    assert str(conversion.signature) == "(town:string[N], area:float64[N], rooms:int64[N]) -> (prediction:float64[N])"
    assert formats(conversion) == ["catboost"]
    assert [spec.nullable for spec in conversion.signature.inputs] == [False, True, False], "as CatBoost refuses them"
    agree(conversion, rtol=EXACT)
    answer = run(conversion, conversion.programs[0], sent(LATER, conversion))["prediction"]
    np.testing.assert_array_equal(answer, model.predict(LATER[["town", "area", "rooms"]]))


def test_texts_beside_categories(tmp_path: Path) -> None:
    model = cb.CatBoostClassifier(cat_features=["town", "rooms"], text_features=["words"], **SMALL)
    model.fit(FLATS, np.array(["low", "high"])[(RENT > 2).astype(int)])
    model.save_model(tmp_path / "model.cbm")
    for source, rooms in ((model, "int64"), (load(tmp_path / "model.cbm"), "string")):
        conversion = convert(source, Intent(example=FLATS if rooms == "int64" else None))
        assert str(conversion.signature.input("rooms")) == f"rooms:{rooms}[N]", "without an example they are texts"
        agree(conversion, rtol=EXACT)
        inputs = sent(LATER.astype({"rooms": str}) if rooms == "string" else LATER, conversion)
        answer = run(conversion, conversion.programs[0], inputs)
        np.testing.assert_array_equal(answer["probabilities"], model.predict_proba(LATER))
        np.testing.assert_array_equal(answer["label"], model.predict(LATER))


def test_what_a_column_is_can_be_told() -> None:
    frame = FLATS[["town", "area", "rooms"]]
    model = cb.CatBoostRegressor(cat_features=["town", "rooms"], **SMALL).fit(frame, RENT)
    told = tuple(map(TensorSpec.parse, ("rooms:int64[*]", "area:float32[*]")))
    conversion = convert(model, Intent(inputs=told))
    assert str(conversion.signature).startswith("(town:string[N], area:float32[N], rooms:int64[N])")
    agree(conversion, rtol=EXACT)
    for text in ("rooms:float64[*]", "area:string[*]", "garden:int64[*]"):
        with pytest.raises(SetsailError) as caught:
            convert(model, Intent(inputs=(TensorSpec.parse(text),)))
        assert caught.value.code == "convert.input"


def test_columns_without_names() -> None:
    rows = FLATS[["town", "area", "rooms"]].to_numpy(dtype=object)
    model = cb.CatBoostRegressor(cat_features=[0, 2], **SMALL).fit(rows, RENT)
    for example in (rows, None):
        conversion = convert(model, Intent(example=example))
        assert [spec.name for spec in conversion.signature.inputs] == ["x0", "x1", "x2"]
        agree(conversion, rtol=EXACT)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several = classifier(target=np.column_stack([CANCER[1], 1 - CANCER[1]]), loss_function="MultiLogloss")
    vectors = pd.DataFrame({"x": RNG.normal(size=40), "v": [list(RNG.normal(size=3)) for _ in range(40)]})
    pool = cb.Pool(vectors, np.arange(40.0), embedding_features=["v"])
    for model, word in ((several, "several labels"), (cb.CatBoostRegressor(**SMALL).fit(pool), "embedding"),
                        (cb.CatBoostClassifier(), "not fitted"), (object(), "not fitted")):  # fmt: skip
        with pytest.raises(SetsailError, match=word) as caught:
            convert(model, Intent())
        assert caught.value.code == "convert.unsupported"
    known = classifier()
    monkeypatch.setattr("setsail.convert.catboost.LOSSES", {"RMSE": LOSSES["RMSE"]})  # as a later loss would be
    with pytest.raises(SetsailError, match="RMSE"):
        convert(known, Intent())


@pytest.mark.parametrize("content", [b"CBM1", b"CBM1" + bytes(64), b"CBM1\x10\0\0\0garbage of sixteen"], ids=len)
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    path.write_bytes(content)
    with pytest.raises(SetsailError) as caught:
        load(path)
    assert caught.value.code == "source.damaged"


def test_a_missing_category_is_refused_as_catboost_refuses_it() -> None:
    frame = FLATS[["town", "area", "rooms"]]
    model = cb.CatBoostRegressor(cat_features=["town", "rooms"], **SMALL).fit(frame, RENT)
    holes = frame.astype({"town": object}).copy()
    holes.loc[0, "town"] = np.nan
    with pytest.raises(cb.CatBoostError, match="NaN"):
        model.predict(holes)
    with pytest.raises(SetsailError) as caught:
        convert(model, Intent(example=holes))
    assert caught.value.code == "convert.input"
    assert "missing" in str(caught.value)
