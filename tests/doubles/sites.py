"""Artifacts for tests of what runs in a browser: one of each family, packed as a user packs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import setsail
from setsail.artifact import Artifact, read

__all__ = ["FAMILIES", "pack"]


def credit(path: Path) -> Artifact:
    """A scikit-learn pipeline on numbers and texts, with levels it was not trained on and missing numbers."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    rows = 300
    frame = pd.DataFrame({
        "age": random.integers(18, 90, rows), "income": random.normal(40_000, 12_000, rows).round(2),
        "city": random.choice(["Köln", "Paris", "Oslo"], rows), "employed": random.choice(["yes", "no"], rows),
    })  # fmt: skip
    frame.loc[::17, "income"] = np.nan
    wanted = np.where(frame.income.fillna(30_000) + 500 * frame.age > 70_000, "approve", "decline")
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["city", "employed"])
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, wanted)
    return setsail.pack(model, example=frame[:40], name="credit", output=path)


def booster(path: Path) -> Artifact:
    """XGBoost on one table of named columns, with missing values."""
    import pandas as pd
    from xgboost import XGBClassifier

    random = np.random.default_rng(1)
    table = pd.DataFrame(random.normal(size=(400, 5)), columns=["depth", "width", "weight", "heat", "age in days"])
    table.iloc[::13, 2] = np.nan
    model = XGBClassifier(n_estimators=30, max_depth=4).fit(table, (table.depth + table.heat**2 > 0.7).astype(int))
    return setsail.pack(model, example=table[:40], name="parts", labels=("keep", "scrap"), output=path)


def pictures(path: Path) -> Artifact:
    """A convolutional network of PyTorch with its image processor: takes a file, resizes, crops, scales."""
    import hugging

    folder = path.parent / "resnet"
    folder.mkdir()
    hugging.pictures(folder, "resnet")
    return setsail.pack(folder, name="pictures", output=path)


def sentiment(path: Path) -> Artifact:
    """A text classifier with its tokenizer."""
    import hugging

    folder = path.parent / "bert"
    folder.mkdir()
    hugging.bert(folder)
    return setsail.pack(folder, name="sentiment", output=path)


FAMILIES: dict[str, Callable[[Path], Artifact]] = {
    "credit": credit, "booster": booster, "pictures": pictures, "sentiment": sentiment,
}  # fmt: skip


def pack(family: str, folder: Path) -> Artifact:
    path = folder / f"{family}.setsail"
    if not path.exists():
        return FAMILIES[family](path)
    return read(path)
