"""The models of the demo, each trained in a second or two on data that scikit-learn brings along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from demo import pictures
from setsail.artifact import Artifact

__all__ = ["TRAINERS", "Trained"]


@dataclass(frozen=True)
class Trained:
    """A trained model and questions for it.

    Attributes:
        model: what `setsail.pack` takes, or a function that writes it into a folder.
        rows: what the demo asks about, none of it seen in training.
        scores: the source model's own answer to rows, as the output called `output`.
        shown: what a person reads out of one row of it.
        options: what `setsail.pack` is told beside the example.
        around: puts steps around what was packed, into a file.
    """

    title: str
    model: Any
    example: Any
    rows: Any
    output: str
    scores: Callable[[Any], np.ndarray]
    shown: Callable[[np.ndarray], str]
    options: dict[str, Any] = field(default_factory=dict)
    around: Callable[[Artifact, Path], Artifact] | None = None


def cancer() -> Trained:
    """XGBoost on a table of numbers with column names."""
    data = load_breast_cancer(as_frame=True)
    X, rows, y, _ = train_test_split(data.data, data.target, test_size=64, random_state=0)
    names = [str(name) for name in data.target_names]
    model = XGBClassifier(n_estimators=60, max_depth=4, n_jobs=1).fit(X, y)
    return Trained("XGBoost, breast cancer, 30 numbers a row", model, X, rows, "probabilities",
                   model.predict_proba, best_of(names), {"labels": names})  # fmt: skip


def diabetes() -> Trained:
    """A scikit-learn pipeline on numbers and words, with holes in both."""
    data, rng = load_diabetes(as_frame=True, scaled=False), np.random.default_rng(0)
    people = data.data[["age", "bmi"]].assign(
        sex=np.where(data.data["sex"] > 1, "woman", "man").astype(object),
        pressure=pd.cut(data.data["bp"], [0, 85, 100, 200], labels=["low", "normal", "high"]).astype(object),
    )
    people.loc[rng.random(len(people)) < 0.1, "bmi"] = np.nan
    people.loc[rng.random(len(people)) < 0.1, "pressure"] = None
    X, rows, y, _ = train_test_split(people, data.target, test_size=64, random_state=0)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(columns, GradientBoostingRegressor(n_estimators=60, random_state=0)).fit(X, y)
    return Trained("scikit-learn pipeline, diabetes, numbers and words with holes", model, X, rows, "prediction",
                   model.predict, lambda row: f"{float(row):.1f}")  # fmt: skip


def digits() -> Trained:
    """A convolutional network where PyTorch is there, else scikit-learn's perceptron."""
    data = load_digits()
    X, rows, y, _ = train_test_split(data.data / 16, data.target, test_size=64, random_state=0)
    names = [str(i) for i in range(10)]
    if find_spec("torch") and find_spec("onnxscript"):
        from demo import network

        images, asked = (np.asarray(a, np.float32).reshape(-1, 1, 8, 8) for a in (X, rows))
        model = network.trained(images, y)
        return Trained("PyTorch convolutional network, digits, 8x8 images", model, images, asked, "output",
                       lambda images: network.answers(model, images), best_of(names))  # fmt: skip
    perceptron = MLPClassifier((32,), max_iter=100, tol=1e-3, random_state=0).fit(X, y)
    return Trained("scikit-learn perceptron (PyTorch is not installed), digits, 64 numbers", perceptron, X, rows,
                   "probabilities", perceptron.predict_proba, best_of(names))  # fmt: skip


def reviews() -> Trained:
    """Text: what lower-cases it, strips its accents and counts its words travels with the model."""
    subjects, tails = ("the soup", "their café", "this hotel", "the film", "a guide"), ("", " again", " at all", "!")
    words = {"good": ("was lovely", "délicieux, wonderful", "is a JOY", "made us happy"),
             "bad": ("was awful", "is a sad bore", "TERRIBLE and cold", "made us ill")}  # fmt: skip
    told = [(f"{s} {w}{t}", label) for label, group in words.items() for s in subjects for w in group for t in tails]
    X, rows, y, _ = train_test_split(*zip(*told, strict=True), test_size=32, random_state=0)
    model = make_pipeline(TfidfVectorizer(strip_accents="unicode"), LogisticRegression(C=10)).fit(X, y)
    return Trained("scikit-learn pipeline, what people wrote, a text a row", model, X, np.array(rows, dtype=object),
                   "scores", model.predict_proba, best_of(["bad", "good"]))  # fmt: skip


def drawings() -> Trained:
    """Pictures: a perceptron on 8x8 pixels, and the steps from a PNG file of any size to those."""
    data = load_digits()
    X, asked, y, _ = train_test_split(data.images / 16, data.target, test_size=32, random_state=0)
    perceptron = MLPClassifier((32,), max_iter=300, tol=1e-3, random_state=0).fit(X.reshape(-1, 64), y)
    names, kept = [str(i) for i in range(10)], pictures.files(X[:3])

    def around(packed: Artifact, file: Path) -> Artifact:
        return pictures.around(packed, file, names, kept, pictures.answers(perceptron, kept))

    return Trained("scikit-learn perceptron, digits, a PNG file a row", partial(pictures.program, perceptron), None,
                   pictures.files(asked), "probabilities", partial(pictures.answers, perceptron), best_of(names),
                   around=around)  # fmt: skip


def best_of(names: Sequence[str]) -> Callable[[np.ndarray], str]:
    return lambda row: f"{names[int(np.argmax(row))]} {float(np.max(row)):.1%}"


TRAINERS: dict[str, Callable[[], Trained]] = {
    "cancer": cancer, "diabetes": diabetes, "digits": digits, "reviews": reviews, "drawings": drawings,
}  # fmt: skip
