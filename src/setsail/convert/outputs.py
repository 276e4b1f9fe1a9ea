"""The published table of outputs: what a model of each kind answers (`contract.md` §5, `docs/outputs.md`).

One row a kind: the outputs in order and which of them a bare answer gives (MLflow, SageMaker, a TF Serving client that
names nothing). A converter fills in dtypes, sizes and labels; names and order come from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["OUTPUTS", "OutputRow"]


@dataclass(frozen=True, slots=True)
class OutputRow:
    """`outputs` maps name -> shape and meaning as the docs print it; `defaults` are what a bare answer gives."""

    outputs: Mapping[str, str]
    defaults: tuple[str, ...]


OUTPUTS: Final[Mapping[str, OutputRow]] = {
    "classifier": OutputRow(
        {"label": "[N], the class labels' own dtype", "probabilities": "[N, classes], as predict_proba"}, ("label",)
    ),
    "classifier without probabilities": OutputRow(
        {"label": "[N], the class labels' own dtype", "decision": "as decision_function, with its rank"}, ("label",)
    ),
    "text classifier": OutputRow(
        {
            "label": "[N], the class labels' own dtype",
            "scores": "[N, classes], as predict_proba",
            "classes": "[N, classes], the label each score belongs to",
        },
        ("scores", "classes"),
    ),
    "top classes": OutputRow(
        {"scores": "[N, k], the greatest probabilities, falling", "classes": "[N, k], the label of each"},
        ("scores", "classes"),
    ),
    "regressor": OutputRow({"prediction": "as predict, with exactly its rank"}, ("prediction",)),
    "ranker": OutputRow({"score": "[N], higher is better"}, ("score",)),
    "clusterer": OutputRow(
        {"cluster": "[N], as predict", "distances": "[N, clusters], as transform; only where it exists"}, ("cluster",)
    ),
    "outlier detector": OutputRow(
        {"label": "[N], 1 inlier, -1 outlier, as predict", "score": "[N], as decision_function"}, ("label",)
    ),
    "transformer": OutputRow({"transformed": "[N, features], as transform"}, ("transformed",)),
    "tensors": OutputRow({"the model's own names": "the model's own shapes"}, ("all of them",)),
}
