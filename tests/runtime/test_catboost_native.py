"""CatBoost's own library as a runner."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import catboost as cb
import numpy as np
import pytest
from booster_agreement import DIABETES, IRIS
from flats import FLATS, RENT

from setsail import runtime
from setsail.convert.catboost import convert
from setsail.convert.conversion import Conversion, Intent
from setsail.errors import SetsailError
from setsail.variants import Variant

SMALL: dict[str, Any] = {"iterations": 4, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
TOWNS = FLATS.astype({"town": object, "rooms": int}).fillna({"town": "none"})


def loaded(conversion: Conversion) -> runtime.Runner:
    native = conversion.programs[-1]
    assert native.variant.format == "catboost-cbm"
    return runtime.load(native.variant, native.files, conversion.signature)


def regressor() -> cb.CatBoostRegressor:
    return cb.CatBoostRegressor(**SMALL).fit(*DIABETES)


def test_a_classifier_answers_as_its_wrapper() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
    model = cb.CatBoostClassifier(**SMALL).fit(IRIS[0], names)
    runner = loaded(convert(model, Intent(example=IRIS[0])))
    for rows in (IRIS[0], np.asfortranarray(IRIS[0]), IRIS[0][:1]):
        answer = runner.run({"input": rows})
        assert list(answer) == ["label", "probabilities"]
        np.testing.assert_array_equal(answer["label"], model.predict(rows)[:, 0])
        np.testing.assert_array_equal(answer["probabilities"], model.predict_proba(rows))


def test_texts_and_numbers_side_by_side() -> None:
    model = cb.CatBoostClassifier(cat_features=["town", "rooms"], **SMALL).fit(TOWNS, RENT > 3)
    runner = loaded(convert(model, Intent(example=TOWNS)))
    inputs = {name: TOWNS[name].to_numpy() for name in TOWNS}
    for count in (1, 7, len(TOWNS)):
        answer = runner.run({name: column[:count] for name, column in inputs.items()})
        assert answer["label"].dtype == bool
        np.testing.assert_array_equal(answer["probabilities"], model.predict_proba(TOWNS[:count]))


def test_two_threads_at_once() -> None:
    model = regressor()
    runner = loaded(convert(model, Intent(example=DIABETES[0])))
    expected = model.predict(DIABETES[0])
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: runner.run({"input": DIABETES[0]}), range(40)):
            np.testing.assert_array_equal(answer["prediction"], expected)


def test_a_run_that_fails() -> None:
    runner = loaded(convert(regressor(), Intent(example=DIABETES[0])))
    with pytest.raises(SetsailError) as caught:
        runner.run({"input": DIABETES[0][:, :3]})
    assert caught.value.code == "model.run"


@pytest.mark.parametrize("content", [b"CBM1", b"CBM1" + bytes(40), b"\xff" * 40, b""], ids=len)
def test_bytes_that_are_no_model(content: bytes) -> None:
    variant = Variant("catboost", "catboost-cbm", "float64", "model.cbm", {"form": "value", "asked": "RawFormulaVal"})
    with pytest.raises(SetsailError) as caught:
        runtime.load(variant, {"model.cbm": content}, convert(regressor(), Intent()).signature)
    assert caught.value.code == "model.failed"


def test_without_the_package_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    conversion = convert(regressor(), Intent())
    monkeypatch.setitem(sys.modules, "catboost", None)
    monkeypatch.delitem(sys.modules, "setsail.runtime.catboost_native", raising=False)
    with pytest.raises(SetsailError, match=r"setsail\[catboost\]") as caught:
        loaded(conversion)
    assert caught.value.code == "dependency.missing"


def test_what_the_runner_imports() -> None:
    """Plotting stays out; pandas comes with CatBoost's own compiled part."""
    line = "import sys, setsail.runtime.catboost_native; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout.split()
    assert {"matplotlib", "plotly", "graphviz", "IPython", "onnx", "sklearn"} & set(found) == set()
