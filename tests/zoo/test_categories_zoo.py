"""XGBoost and LightGBM models with categories in the zoo: asked for categories by name, in frames of another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from flats import CODES, FLATS, RENT, asked
from keeper import Keeper, Specimen, keeping

from setsail.artifact import read

Make = Callable[[Path], Specimen]
LGB: dict[str, Any] = {
    "n_estimators": 12, "num_leaves": 8, "min_data_per_group": 5, "cat_smooth": 1.0, "n_jobs": 1, "verbose": -1,
}  # fmt: skip
XGB: dict[str, Any] = {"n_estimators": 12, "max_depth": 4, "n_jobs": 1, "enable_categorical": True}
THIRDS = np.digitize(RENT, np.quantile(RENT, [1 / 3, 2 / 3]))
LATER, UNSEEN = asked(unseen=False), asked(unseen=True)


def answers(model: Any, X: Any) -> Mapping[str, Any]:
    """What the source says of a frame with these rows' own categories."""
    if isinstance(X, pd.DataFrame):
        X = X.assign(**{name: pd.Categorical(X[name]) for name in ("town", "rooms")})
    if isinstance(model, xgb.Booster):
        return {"prediction": model.predict(xgb.DMatrix(X, enable_categorical=True))}
    if hasattr(model, "predict_proba"):
        return {"label": model.predict(X), "probabilities": model.predict_proba(X)}
    return {"score" if type(model).__name__.endswith("Ranker") else "prediction": model.predict(X)}


def live(model: Any, target: Any, rows: pd.DataFrame, told: bool = True, **fit: Any) -> Make:
    def make(folder: Path) -> Specimen:
        fitted = model.fit(FLATS, target, **fit)
        return Specimen(fitted, plain(rows), partial(answers, fitted), example=FLATS if told else None)

    return make


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """As a client has them: texts and whole numbers."""
    return rows.astype({"town": object, "rooms": np.int64})


def lgb_file(folder: Path) -> Specimen:
    options = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "objective": "regression"}
    booster = lgb.train(options, lgb.Dataset(FLATS, RENT), 12)
    booster.save_model(folder / "model.txt")
    return Specimen(folder / "model.txt", plain(UNSEEN), partial(answers, booster))


def xgb_file(folder: Path) -> Specimen:
    table = xgb.DMatrix(FLATS, RENT, enable_categorical=True)
    booster = xgb.train({"nthread": 1, "max_depth": 4, "objective": "reg:squarederror"}, table, 12)
    booster.save_model(folder / "model.ubj")
    return Specimen(folder / "model.ubj", plain(LATER).astype({"area": np.float32}), partial(answers, booster))


def lgb_numbers(folder: Path) -> Specimen:
    """The categories' numbers themselves: they stay numbers."""
    model = lgb.LGBMRegressor(**LGB).fit(CODES, RENT, categorical_feature=[0, 2])
    rows = np.vstack([CODES[:12], [[99.0, 50.0, 1.0], [-1.0, 50.0, 7.0]]])
    return Specimen(model, rows, lambda X: {"prediction": model.predict(X)}, example=CODES)


def xgb_numbers(folder: Path) -> Specimen:
    kinds = ["c", "q", "c"]
    table = xgb.DMatrix(CODES, RENT, feature_types=kinds, enable_categorical=True)
    booster = xgb.train({"nthread": 1, "max_depth": 4}, table, 12)
    rows = np.vstack([CODES[:12], [[99.0, 50.0, 1.0]]]).astype(np.float32)
    return Specimen(booster, rows, lambda X: {"prediction": booster.predict(xgb.DMatrix(X, feature_types=kinds))})


GROUPS = [20] * 20
ZOO: Mapping[str, Make] = {
    "lightgbm": live(lgb.LGBMRegressor(**LGB), RENT, UNSEEN),
    "lightgbm-two": live(lgb.LGBMClassifier(**LGB), THIRDS > 1, UNSEEN),
    "lightgbm-three": live(lgb.LGBMClassifier(**LGB), np.array(["low", "mid", "high"])[THIRDS], UNSEEN),
    "lightgbm-without-example": live(lgb.LGBMRegressor(max_cat_to_onehot=20, **LGB), RENT, UNSEEN, told=False),
    "lightgbm-ranker": live(lgb.LGBMRanker(**LGB), THIRDS, UNSEEN, group=GROUPS),
    "lightgbm-linear": live(lgb.LGBMRegressor(linear_tree=True, **LGB), RENT, UNSEEN),
    "lightgbm-txt": lgb_file,
    "lightgbm-numbers": lgb_numbers,
    "xgboost": live(xgb.XGBRegressor(**XGB), RENT, LATER),
    "xgboost-two": live(xgb.XGBClassifier(max_cat_to_onehot=20, **XGB), (THIRDS > 1).astype(int), LATER),
    "xgboost-three": live(xgb.XGBClassifier(**XGB), THIRDS, LATER),
    "xgboost-without-example": live(xgb.XGBRegressor(**XGB), RENT, LATER, told=False),
    "xgboost-dart": live(xgb.XGBRegressor(booster="dart", rate_drop=0.2, **XGB), RENT, LATER),
    "xgboost-ubj": xgb_file,
    "xgboost-numbers": xgb_numbers,
}


# What every change must pass; the others are of `make test-all`.
FIRST = {"lightgbm", "lightgbm-three", "lightgbm-txt", "lightgbm-numbers", "xgboost", "xgboost-two", "xgboost-ubj",
         "xgboost-numbers"}  # fmt: skip


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in ZOO])
def test_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, ZOO[name](tmp_path))
    with read(keeper.folder / f"{name}.setsail") as artifact:
        assert artifact.variants[0].format == ("lightgbm-text" if name == "lightgbm-linear" else "onnx")


def test_what_xgboost_never_saw_is_refused_by_name(keeper: Keeper, tmp_path: Path) -> None:
    keeper.check("refusing", live(xgb.XGBRegressor(**XGB), RENT, LATER)(tmp_path))
    row = {"town": "Zwickau", "area": 50.0, "rooms": 20}
    reply = keeper.session.post(
        f"{keeper.server.url}/v1/models/refusing:predict", json={"instances": [row]}, timeout=10
    )
    assert reply.status_code == 400
    assert "Zwickau" in reply.text
    assert "Aachen" in reply.text
