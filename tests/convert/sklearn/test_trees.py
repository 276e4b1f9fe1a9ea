"""A catalogue of trees, forests and boosting: each is fitted, emitted and held against its source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from booster_agreement import agree as agree_all
from booster_agreement import run as run_program
from sklearn import ensemble as en
from sklearn import tree as tr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn_agreement import CANCER, DIABETES, IRIS, WINE, agree, catalogue, run

from setsail.convert.conversion import Intent
from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.convert.sklearn.model import convert
from setsail.errors import SetsailError

N = {"n_estimators": 8, "random_state": 0}
WORDS = (IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]])
PAIR = (DIABETES[0], np.stack([DIABETES[1], -(DIABETES[1] ** 0.5)], axis=1))
COUNTS = (DIABETES[0], np.round(DIABETES[1] / 20))
RNG = np.random.default_rng(0)
GAPS = (np.where(RNG.random(CANCER[0].shape) < 0.1, np.nan, CANCER[0]), CANCER[1])

CLASSIFIERS = [
    (tr.DecisionTreeClassifier(max_depth=4), WINE),
    (tr.DecisionTreeClassifier(max_depth=1), WORDS),
    (tr.ExtraTreeClassifier(random_state=0), CANCER),
    (en.RandomForestClassifier(**N), WORDS),
    (en.RandomForestClassifier(max_depth=3, class_weight="balanced", **N), WINE),
    (en.ExtraTreesClassifier(**N), CANCER),
    (en.GradientBoostingClassifier(**N), CANCER),
    (en.GradientBoostingClassifier(**N), WORDS),
    (en.GradientBoostingClassifier(loss="exponential", **N), CANCER),
    (en.GradientBoostingClassifier(init="zero", **N), WINE),
    (en.GradientBoostingClassifier(init=tr.DecisionTreeClassifier(max_depth=2), **N), CANCER),
    (en.GradientBoostingClassifier(init=tr.DecisionTreeClassifier(max_depth=2), loss="exponential", **N), CANCER),
    (en.GradientBoostingClassifier(init=en.RandomForestClassifier(max_depth=2, **N), **N), IRIS),
    (en.HistGradientBoostingClassifier(max_iter=8), CANCER),
    (en.HistGradientBoostingClassifier(max_iter=8), WORDS),
    (en.AdaBoostClassifier(**N), CANCER),
    (en.AdaBoostClassifier(**N), WORDS),
    (en.AdaBoostClassifier(LogisticRegression(max_iter=1000), **N), IRIS),
]

REGRESSORS = [
    (tr.DecisionTreeRegressor(max_depth=5), DIABETES),
    (tr.DecisionTreeRegressor(criterion="absolute_error", max_depth=5), PAIR),
    (tr.ExtraTreeRegressor(random_state=0), DIABETES),
    (en.RandomForestRegressor(**N), DIABETES),
    (en.RandomForestRegressor(**N), PAIR),
    (en.ExtraTreesRegressor(**N), PAIR),
    (en.GradientBoostingRegressor(**N), DIABETES),
    (en.GradientBoostingRegressor(init="zero", **N), DIABETES),
    (en.GradientBoostingRegressor(init=tr.DecisionTreeRegressor(max_depth=2), **N), DIABETES),
    (en.GradientBoostingRegressor(loss="huber", **N), DIABETES),
    (en.GradientBoostingRegressor(loss="quantile", alpha=0.8, **N), DIABETES),
    (en.HistGradientBoostingRegressor(max_iter=8), DIABETES),
    (en.HistGradientBoostingRegressor(max_iter=8, loss="poisson"), COUNTS),
    (en.HistGradientBoostingRegressor(max_iter=8, loss="gamma"), DIABETES),
    (en.HistGradientBoostingRegressor(max_iter=8, loss="quantile", quantile=0.3), DIABETES),
    (en.HistGradientBoostingRegressor(max_iter=8, loss="absolute_error"), DIABETES),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(CLASSIFIERS))
def test_classifiers(estimator: Any, data: Any) -> None:
    agree(estimator.fit(*data), data[0], expect=("index", "probabilities"))


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator: Any, data: Any) -> None:
    agree(estimator.fit(*data), data[0], expect=("prediction",))


@pytest.mark.parametrize("estimator", [
    tr.DecisionTreeClassifier(max_depth=4), en.RandomForestClassifier(**N), en.ExtraTreesClassifier(**N),
    en.HistGradientBoostingClassifier(max_iter=8), en.IsolationForest(**N),
], ids=lambda e: type(e).__name__)  # fmt: skip
def test_missing_values_go_where_training_sent_them(estimator: Any) -> None:
    estimator.fit(*GAPS)
    conversion = convert(estimator, Intent(example=GAPS[0]))
    assert conversion.signature.inputs[0].nullable
    assert np.isnan(conversion.probes[0].inputs["input"]).any()
    agree_all(conversion, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("estimator", [
    tr.DecisionTreeRegressor(), en.RandomForestClassifier(**N), en.GradientBoostingRegressor(**N),
    en.HistGradientBoostingClassifier(max_iter=8), en.IsolationForest(**N),
], ids=lambda e: type(e).__name__)  # fmt: skip
def test_rows_beside_every_threshold(estimator: Any, dtype: str) -> None:
    """scikit-learn rounds rows to float32 and compares with float64: one step either side of each threshold."""
    rows = CANCER[0].astype(dtype)
    conversion = convert(estimator.fit(rows, CANCER[1]), Intent(example=rows))
    assert [p.what for p in conversion.probes] == ["example", "synthetic", "boundary"]
    agree_all(conversion, rtol=1e-9)


@pytest.mark.parametrize("options", [
    {}, {"contamination": 0.1}, {"contamination": 0.05, "max_features": 0.5}, {"max_samples": 1}, {"bootstrap": True},
], ids=str)  # fmt: skip
def test_isolation_forest_labels_are_exact(options: dict[str, Any]) -> None:
    """With a contamination the offset is the score of some training row, which must come out as an inlier."""
    model = en.IsolationForest(n_estimators=30, random_state=0, **options).fit(CANCER[0])
    found = run(model, CANCER[0])[0]
    np.testing.assert_array_equal(found["label"], model.predict(CANCER[0]))
    np.testing.assert_allclose(found["score"], model.decision_function(CANCER[0]), rtol=0, atol=1e-15)


def test_known_wrong_isolation_forest_and_histogram_boosting_need_no_newer_opset() -> None:
    """The public converter needs another ML opset for one and an older protobuf for the other."""
    for model in (en.IsolationForest(**N).fit(CANCER[0]), en.HistGradientBoostingClassifier(max_iter=8).fit(*CANCER)):
        conversion = convert(model, Intent(example=CANCER[0]))
        assert run_program(conversion, conversion.programs[0], CANCER[0])["label"].shape == (200,)


def test_a_threshold_of_infinity() -> None:
    """Histogram boosting may split missing from all others."""
    rows = np.where(np.arange(200) % 2, np.nan, np.linspace(0, 1e-9, 200))[:, None]
    model = en.HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2).fit(rows, np.arange(200) % 2 * 5.0)
    batch = np.array([[np.nan], [0.0], [1e300], [np.inf], [-np.inf]])
    found = run(model, rows, batch)[1]["prediction"]
    np.testing.assert_allclose(found[:3], model.predict(batch[:3]), rtol=1e-9)


@pytest.mark.parametrize("estimator", [
    en.HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]),
    en.RandomForestClassifier(**N), tr.DecisionTreeClassifier(),
], ids=lambda e: type(e).__name__)  # fmt: skip
def test_what_has_no_exact_conversion_is_refused(estimator: Any) -> None:
    rows = np.c_[IRIS[1], IRIS[0]]
    several = not hasattr(estimator, "categorical_features")
    estimator.fit(rows, np.stack([IRIS[1], IRIS[1] % 2], axis=1) if several else IRIS[1])
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), estimator, Value("x", "float64", 5))
    assert caught.value.code == "convert.unsupported"


def test_a_booster_begins_with_any_regressor() -> None:
    """The initial estimator is given float32 rows and computes in them; parity covers that step."""
    model = en.GradientBoostingRegressor(init=Ridge(), **N).fit(*DIABETES)
    agree(model, DIABETES[0], rtol=1e-4, atol=1e-3)
