"""CatBoost models in the zoo: trained here, packed, served over HTTP, asked every way, and always right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bundled import CANCER, DIABETES, IRIS, PEOPLE, WINE, Data, with_holes
from keeper import Keeper, Specimen, keeping

from setsail.artifact import read

catboost = pytest.importorskip("catboost", reason="needs CatBoost: pip install 'setsail[catboost]'")

Make = Callable[[Path], Specimen]
SMALL: dict[str, Any] = {
    "iterations": 12, "depth": 4, "border_count": 32, "verbose": 0, "allow_writing_files": False, "thread_count": 1,
}  # fmt: skip


def answers(model: Any, X: Any) -> Mapping[str, Any]:
    """What CatBoost itself says, under the names of its kind."""
    predicted = np.asarray(model.predict(X))
    if isinstance(model, catboost.CatBoostClassifier):
        return {"label": predicted.reshape(len(predicted)), "probabilities": model.predict_proba(X)}
    return {"score" if isinstance(model, catboost.CatBoostRanker) else "prediction": predicted}


def live(kind: str, data: Data, told: bool = True, **options: Any) -> Make:
    def make(folder: Path) -> Specimen:
        model = getattr(catboost, f"CatBoost{kind}")(**SMALL | options).fit(data.X, data.y)
        return Specimen(model, data.rows, partial(answers, model), example=data.X if told else None)

    return make


def file(kind: str, data: Data, told: bool = False, **options: Any) -> Make:
    """A `.cbm` file, read in a child process; it is asked in float32 where nobody says otherwise."""

    def make(folder: Path) -> Specimen:
        model = getattr(catboost, f"CatBoost{kind}")(**SMALL | options).fit(data.X, data.y)
        model.save_model(folder / "model.cbm")
        rows = data.rows if told else data.rows.astype(np.float32)
        return Specimen(folder / "model.cbm", rows, partial(answers, model), example=data.X if told else None)

    return make


def ranker(folder: Path) -> Specimen:
    pool = catboost.Pool(IRIS.X[:110], IRIS.y[:110] / 2, group_id=np.arange(110) // 10)
    model = catboost.CatBoostRanker(bootstrap_type="No", **SMALL).fit(pool)
    return Specimen(model, IRIS.rows, partial(answers, model), example=IRIS.X)


class Squares:
    """A loss of a person's own."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


def own_loss(folder: Path) -> Specimen:
    options = {"loss_function": Squares(), "eval_metric": "RMSE", **SMALL}
    model = catboost.CatBoost(options).fit(DIABETES.X, DIABETES.y)
    return Specimen(model, DIABETES.rows, lambda X: {"prediction": model.predict(X)}, example=DIABETES.X)


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """CatBoost takes no missing category: a text stands for it."""
    return frame.fillna({"pressure": "unknown", "sex": "unknown"}).reset_index(drop=True)


def unseen(frame: pd.DataFrame) -> pd.DataFrame:
    frame = filled(frame)
    frame.loc[:5, "pressure"] = ["never seen", "", "ünïcode", "HIGH", "1", "low "]
    return frame


HOLES = Data(with_holes(WINE.X), WINE.y, with_holes(WINE.rows))
NAMED = Data(IRIS.X, np.array(["setosa", "versicolor", "virginica"])[IRIS.y], IRIS.rows)
WORDS = Data(filled(PEOPLE.X), PEOPLE.y, unseen(PEOPLE.rows))
HIGH = Data(WORDS.X, np.where(PEOPLE.y > 140, "high", "low"), WORDS.rows)
DAYS = ["a fine day", "rain and more rain", "fine but cold", ""]
SPOKEN = Data(
    WORDS.X.assign(said=np.resize(DAYS, len(WORDS.X))), HIGH.y,
    WORDS.rows.assign(said=np.resize([*DAYS, "never said before"], len(WORDS.rows))),
)  # fmt: skip
CATEGORIES = ["sex", "pressure"]

ZOO: Mapping[str, Make] = {
    # numbers: ONNX
    "two": live("Classifier", CANCER),
    "two-truths": live("Classifier", Data(CANCER.X, CANCER.y == 1, CANCER.rows), told=False),
    "three-with-holes": live("Classifier", HOLES),
    "three-with-holes-right": live("Classifier", HOLES, nan_mode="Max"),
    "one-against-all": live("Classifier", NAMED, loss_function="MultiClassOneVsAll"),
    "regression": live("Regressor", DIABETES),
    "regression-leafwise": live("Regressor", DIABETES, grow_policy="Lossguide"),
    "counts": live("Regressor", Data(DIABETES.X, DIABETES.y // 25, DIABETES.rows), loss_function="Poisson"),
    "quantiles": live("Regressor", DIABETES, loss_function="MultiQuantile:alpha=0.1,0.9"),
    "ranker": ranker,
    "own-loss": own_loss,
    "file": file("Classifier", HOLES),
    "file-regression": file("Regressor", DIABETES, grow_policy="Depthwise"),
    # what ONNX does not carry: CatBoost itself
    "uncertainty": live("Regressor", DIABETES, loss_function="RMSEWithUncertainty"),
    "people": live("Regressor", WORDS, cat_features=CATEGORIES),
    "people-classes": live("Classifier", HIGH, cat_features=CATEGORIES, one_hot_max_size=10),
    "people-file": file("Classifier", HIGH, told=True, cat_features=CATEGORIES),
    "people-without-example": live("Regressor", WORDS, told=False, cat_features=CATEGORIES),
    "people-texts": live("Classifier", SPOKEN, cat_features=CATEGORIES, text_features=["said"]),
}  # fmt: skip
NATIVE = {"uncertainty"} | {name for name in ZOO if name.startswith("people")}


# What every change must pass; the others are of `make test-all`.
FIRST = {"two", "three-with-holes", "regression-leafwise", "counts", "ranker", "file", "people", "people-classes",
         "people-texts"}  # fmt: skip


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.filterwarnings("ignore:Failed to import numba:UserWarning")  # own losses are slow without it
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in ZOO])
def test_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    specimen = ZOO[name](tmp_path)
    keeper.check(name, specimen)
    with read(keeper.folder / f"{name}.setsail") as artifact:
        assert artifact.variants[0].format == ("catboost-cbm" if name in NATIVE else "onnx")
