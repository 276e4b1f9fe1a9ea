"""What both boosters' converters share: probes, and a source that fails."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from booster_agreement import CANCER, DIABETES

from setsail.convert.booster import plain_values
from setsail.convert.conversion import Intent
from setsail.convert.lightgbm import convert as convert_lightgbm
from setsail.convert.xgboost import convert, facts
from setsail.errors import SetsailError

SMALL = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}


def test_probes_are_the_persons_rows_drawn_rows_and_rows_beside_thresholds() -> None:
    model = xgb.XGBClassifier(**SMALL).fit(*CANCER)
    example, synthetic, boundary = convert(model, Intent(example=CANCER[0])).probes
    np.testing.assert_array_equal(example.inputs["input"], CANCER[0][:1000])
    assert np.isnan(synthetic.inputs["input"]).any(), "boosters take missing values"
    for column, thresholds in enumerate(facts(model).ensemble.thresholds):
        cells = boundary.inputs["input"][:, column].astype(np.float32)
        for threshold in np.float32(thresholds):
            beside = {np.nextafter(threshold, np.float32(-np.inf)), threshold, np.nextafter(threshold, np.float32(9e9))}
            assert beside <= set(cells.tolist()) | set(cells)
    assert (example.leaf_span, synthetic.leaf_span) == (0, 0)


@pytest.mark.parametrize(("objective", "least"), [("reg:squarederror", 10.0), ("count:poisson", 10.0)])
def test_one_leaf_explains_no_more_than_it_can_change(objective: str, least: float) -> None:
    model = xgb.XGBRegressor(objective=objective, **SMALL).fit(*DIABETES)
    boundary = convert(model, Intent()).probes[-1]
    spread = np.ptp(boundary.outputs["prediction"])
    assert least < boundary.leaf_span < 4 * spread


def test_one_conversion_is_the_other() -> None:
    """The same seed draws the same rows."""
    model = lgb.LGBMRegressor(n_estimators=3, verbosity=-1, n_jobs=1).fit(*DIABETES)
    first, second = convert_lightgbm(model, Intent(seed=3)), convert_lightgbm(model, Intent(seed=3))
    other = convert_lightgbm(model, Intent(seed=4))
    assert [dict(p.files) for p in first.programs] == [dict(p.files) for p in second.programs]
    rows = [c.probes[0].inputs["input"] for c in (first, second, other)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2], equal_nan=True)


def test_a_source_that_fails_on_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = xgb.XGBClassifier(**SMALL).fit(*CANCER)
    monkeypatch.setattr(xgb.XGBClassifier, "predict", lambda *a, **k: 1 / 0)
    with pytest.raises(SetsailError, match="division by zero") as caught:
        convert(model, Intent(example=CANCER[0]))
    assert caught.value.code == "convert.run"


def test_hyperparameters_are_json_scalars_that_were_set() -> None:
    given = {"b": 1, "a": "x", "none": None, "nan": float("nan"), "inf": float("inf"), "f": len, "flag": True}
    assert plain_values(given) == {"a": "x", "b": 1, "flag": True}
