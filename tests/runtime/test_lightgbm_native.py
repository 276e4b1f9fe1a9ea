"""LightGBM's own library as a runner."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pytest
from booster_agreement import DIABETES, IRIS

from setsail import runtime
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.lightgbm import convert
from setsail.errors import SetsailError
from setsail.tensors import Array
from setsail.variants import Variant

SMALL = {"n_estimators": 4, "num_leaves": 7, "n_jobs": 1, "verbosity": -1}


def loaded(conversion: Conversion) -> runtime.Runner:
    native = conversion.programs[-1]
    assert native.variant.format == "lightgbm-text"
    return runtime.load(native.variant, native.files, conversion.signature)


def regressor() -> lgb.LGBMRegressor:
    return lgb.LGBMRegressor(**SMALL).fit(*DIABETES)


def test_a_classifier_answers_as_its_wrapper() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
    model = lgb.LGBMClassifier(**SMALL).fit(IRIS[0], names)
    runner = loaded(convert(model, Intent(example=IRIS[0])))
    for rows in (IRIS[0], np.asfortranarray(IRIS[0]), _frozen(IRIS[0]), IRIS[0][:1]):
        answer = runner.run({"input": rows})
        assert list(answer) == ["label", "probabilities"]
        np.testing.assert_array_equal(answer["label"], model.predict(rows))
        np.testing.assert_array_equal(answer["probabilities"], model.predict_proba(rows))


def _frozen(rows: Array) -> Array:
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


def test_two_threads_at_once() -> None:
    model = regressor()
    runner = loaded(convert(model, Intent()))
    expected = model.predict(DIABETES[0])
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: runner.run({"input": DIABETES[0]}), range(40)):
            np.testing.assert_array_equal(answer["prediction"], expected)


def test_a_closed_runner_is_not_ready() -> None:
    runner = loaded(convert(regressor(), Intent()))
    runner.close()
    with pytest.raises(SetsailError) as caught:
        runner.run({"input": DIABETES[0]})
    assert caught.value.code == "model.not_ready"


def test_a_run_that_fails() -> None:
    runner = loaded(convert(regressor(), Intent()))
    with pytest.raises(SetsailError) as caught:
        runner.run({"input": DIABETES[0][:, :3]})
    assert caught.value.code == "model.run"


@pytest.mark.parametrize("content", [b"tree\nversion=v4\nnum_class=1\n", b"\xff"])
def test_bytes_that_are_no_model(content: bytes) -> None:
    variant = Variant("lightgbm", "lightgbm-text", "float64", "model.txt", {"form": "value"})
    with pytest.raises(SetsailError) as caught:
        runtime.load(variant, {"model.txt": content}, convert(regressor(), Intent()).signature)
    assert caught.value.code == "model.failed"


def test_without_the_package_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = convert(regressor(), Intent())
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.delitem(sys.modules, "setsail.runtime.lightgbm_native", raising=False)
    with pytest.raises(SetsailError, match=r"setsail\[lightgbm\]") as caught:
        loaded(conversion)
    assert caught.value.code == "dependency.missing"
