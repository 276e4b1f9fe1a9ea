"""Data that comes with scikit-learn, as training rows and rows never seen in training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

__all__ = ["CANCER", "DIABETES", "DIGITS", "IRIS", "PEOPLE", "TEXTS", "WINE", "Data", "with_holes"]

UNSEEN = 40


@dataclass(frozen=True)
class Data:
    """`X`, `y` to train on; `rows` to ask about: left out of training, a third of them moved a little."""

    X: Any
    y: np.ndarray
    rows: Any


def _split(X: np.ndarray, y: np.ndarray, limit: int = 300) -> Data:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    X, y = X[order], y[order]
    rows = X[-UNSEEN:].copy()
    moved = rng.random(UNSEEN) < 1 / 3
    rows[moved] += rng.normal(0, 0.3, (int(moved.sum()), X.shape[1])) * X.std(0)
    return Data(X[: min(limit, len(X) - UNSEEN)], y[: min(limit, len(X) - UNSEEN)], rows)


def _people() -> Data:
    """The diabetes table as a person would have it: numbers, words and holes in both."""
    table = load_diabetes(as_frame=True, scaled=False)
    frame, rng = table.data, np.random.default_rng(1)
    people = pd.DataFrame({
        "age": frame["age"],
        "bmi": frame["bmi"],
        "sex": np.where(frame["sex"] > 1, "woman", "man").astype(object),
        "pressure": pd.cut(frame["bp"], [0, 85, 100, 200], labels=["low", "normal", "high"]).astype(object),
    })  # fmt: skip
    people.loc[rng.random(len(people)) < 0.1, "bmi"] = np.nan
    people.loc[rng.random(len(people)) < 0.1, "pressure"] = None
    return Data(people[:300], table.target.to_numpy()[:300], people[-UNSEEN:])


def _texts() -> Data:
    """Sentences out of the descriptions of the data sets; the class is what they describe."""
    sets = (load_iris(), load_wine(), load_breast_cancer(), load_diabetes())
    pairs = [(s.strip(), i) for i, d in enumerate(sets) for s in re.split(r"[.\n]\s", d.DESCR) if len(s.split()) > 3]
    pairs = [pairs[i] for i in np.random.default_rng(2).permutation(len(pairs))]
    texts, y = [text for text, _ in pairs], np.array(["iris", "wine", "cancer", "diabetes"])[[i for _, i in pairs]]
    strange = ["", "ÀÉÎ — straße", "WINE wine Wine", "1 2 3", "petal,petal;petal\nwidth"]
    return Data(texts[:-20], y[:-20], texts[-20:] + strange)


def with_holes(X: np.ndarray) -> np.ndarray:
    """A copy with one value in ten missing."""
    X = X.copy()
    X[np.random.default_rng(3).random(X.shape) < 0.1] = np.nan
    return X


IRIS = _split(*load_iris(return_X_y=True))
WINE = _split(*load_wine(return_X_y=True))
CANCER = _split(*load_breast_cancer(return_X_y=True))
DIABETES = _split(*load_diabetes(return_X_y=True))
DIGITS = _split(*load_digits(return_X_y=True))
PEOPLE = _people()
TEXTS = _texts()
