"""XGBoost's own library as a runner."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost as xgb
from booster_agreement import CANCER, DIABETES, IRIS

from setsail import runtime
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.xgboost import convert
from setsail.errors import SetsailError
from setsail.runtime.native import outputs
from setsail.signature import Signature, TensorSpec
from setsail.variants import Variant

SMALL = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}


def loaded(conversion: Conversion) -> runtime.Runner:
    native = conversion.programs[-1]
    assert native.variant.format == "xgboost-ubj"
    return runtime.load(native.variant, native.files, conversion.signature)


def test_a_classifier_answers_as_its_wrapper() -> None:
    model = xgb.XGBClassifier(**SMALL).fit(*CANCER)
    runner = loaded(convert(model, Intent(example=CANCER[0])))
    rows = CANCER[0].copy()
    answer = runner.run({"input": rows})
    assert list(answer) == ["label", "probabilities"]
    np.testing.assert_array_equal(answer["label"], model.predict(rows))
    np.testing.assert_array_equal(answer["probabilities"], model.predict_proba(rows))
    np.testing.assert_array_equal(rows, CANCER[0])


def test_own_labels_and_class_numbers_of_softmax() -> None:
    table = xgb.DMatrix(*IRIS, nthread=1)
    booster = xgb.train({"objective": "multi:softmax", "num_class": 3, "nthread": 1}, table, 3)
    runner = loaded(convert(booster, Intent(labels=("a", "b", "c"))))
    answer = runner.run({"input": IRIS[0].astype(np.float32)})
    np.testing.assert_array_equal(answer["label"], np.array(["a", "b", "c"])[booster.predict(table).astype(int)])
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, rtol=1e-6)


def test_two_threads_at_once() -> None:
    model = xgb.XGBRegressor(**SMALL).fit(*DIABETES)
    runner = loaded(convert(model, Intent(example=DIABETES[0])))
    expected = model.predict(DIABETES[0])
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: runner.run({"input": DIABETES[0]}), range(40)):
            np.testing.assert_array_equal(answer["prediction"], expected)


def test_a_closed_runner_is_not_ready() -> None:
    runner = loaded(convert(xgb.XGBRegressor(**SMALL).fit(*DIABETES), Intent()))
    runner.close()
    with pytest.raises(SetsailError) as caught:
        runner.run({"input": DIABETES[0].astype(np.float32)})
    assert caught.value.code == "model.not_ready"


def test_a_run_that_fails() -> None:
    runner = loaded(convert(xgb.XGBRegressor(**SMALL).fit(*DIABETES), Intent()))
    with pytest.raises(SetsailError) as caught:
        runner.run({"input": np.full((1, 10), np.inf, dtype=np.float32)})  # XGBoost refuses infinity
    assert caught.value.code == "model.run"


def test_bytes_that_are_no_model() -> None:
    variant = Variant("xgboost", "xgboost-ubj", "float32", "model.ubj", {"form": "value", "margin": False, "rounds": 0})
    with pytest.raises(SetsailError) as caught:
        runtime.load(
            variant, {"model.ubj": b"{L"}, convert(xgb.XGBRegressor(**SMALL).fit(*DIABETES), Intent()).signature
        )
    assert caught.value.code == "model.failed"


def test_without_the_package_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = convert(xgb.XGBRegressor(**SMALL).fit(*DIABETES), Intent())
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.delitem(sys.modules, "setsail.runtime.xgboost_native", raising=False)
    with pytest.raises(SetsailError, match=r"setsail\[xgboost\]") as caught:
        loaded(conversion)
    assert caught.value.code == "dependency.missing"


@pytest.mark.parametrize(("dtype", "texts", "expected"), [
    ("int64", ("-1", "7"), [7, -1]), ("bool", ("False", "True"), [True, False]),
    ("float64", ("0.5", "2.0"), [2.0, 0.5]), ("string", ("no", "yes"), ["yes", "no"]),
])  # fmt: skip
def test_labels_of_every_dtype(dtype: str, texts: tuple[str, str], expected: list[object]) -> None:
    label = TensorSpec.parse(f"label:{dtype}[N]")
    label = TensorSpec(label.name, label.dtype, label.shape, labels=texts)
    signature = Signature((), (label, TensorSpec.parse("probabilities:float32[N,2]")), ("label",))
    answer = outputs(signature, "binary", np.array([0.75, 0.25]))
    assert answer["label"].tolist() == expected
    assert answer["probabilities"].dtype == np.float32
