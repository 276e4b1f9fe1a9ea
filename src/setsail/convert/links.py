"""From a booster's sums to its answers, as nodes.

Two moves. A *link* turns sums into scores in the source's own precision; a *form* turns scores into outputs: `binary`
(one probability, of class 1), `multi` (one for each class), `margin` (a label by the sign, without probabilities) or
`value` (scores are the answer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from setsail.convert.graph import Graph
from setsail.convert.trees import Ensemble, emit
from setsail.tensors import Array

__all__ = ["FORMS", "LINKS", "Plan", "answers"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a booster's sums become its answers.

    Attributes:
        kind: row of the output table.
        form: key of FORMS.
        link: key of LINKS; `coefficient` scales the sum in front of it.
        classes: labels in the order of the scores, of a classifier.
        average: divides the sum (random-forest boosting), else 1.
        single: whether the source casts rows to float32 before anything else.
        missing: a number that stands for a missing value beside NaN, else None.
        limit: the probability above which a row of two classes is of the second.
        zero_missing: columns in which zero is missing, too (LightGBM's `zero_as_missing`).
    """

    kind: str
    form: str
    link: str
    coefficient: float = 1.0
    classes: Array | None = None
    average: int = 1
    single: bool = False
    missing: float | None = None
    zero_missing: tuple[int, ...] = ()
    limit: float = 0.5


def _sigmoid(graph: Graph, x: str, dtype: str) -> str:
    one = graph.constant(1, dtype)
    return str(graph.node("Div", one, graph.node("Add", one, graph.node("Exp", graph.node("Neg", x)))))


def _softplus(graph: Graph, x: str, dtype: str) -> str:
    return str(graph.node("Log", graph.node("Add", graph.constant(1, dtype), graph.node("Exp", x))))


def _signed_square(graph: Graph, x: str, dtype: str) -> str:
    return str(graph.node("Mul", x, graph.node("Abs", x)))


def _step(graph: Graph, x: str, dtype: str) -> str:
    return graph.cast(graph.node("Greater", x, graph.constant(0, dtype)), dtype)


# name -> nodes from sums [N, targets] to scores of the same shape and dtype
LINKS: Final[Mapping[str, Callable[[Graph, str, str], str]]] = {
    "identity": lambda graph, x, dtype: x,
    "sigmoid": _sigmoid,
    "softmax": lambda graph, x, dtype: str(graph.node("Softmax", x, axis=1)),
    "exp": lambda graph, x, dtype: str(graph.node("Exp", x)),
    "softplus": _softplus,
    "signed_square": _signed_square,
    "step": _step,
}


def _binary(graph: Graph, scores: str, dtype: str) -> dict[str, str]:
    both = graph.node("Concat", graph.node("Sub", graph.constant(1, dtype), scores), scores, axis=1)
    return {"index": _above(graph, scores, 0.5, dtype), "probabilities": both}


def _multi(graph: Graph, scores: str, dtype: str) -> dict[str, str]:
    return {"index": graph.node("ArgMax", scores, axis=1, keepdims=0), "probabilities": scores}


def _margin(graph: Graph, scores: str, dtype: str) -> dict[str, str]:
    return {"index": _above(graph, scores, 0.0, dtype), "decision": _flat(graph, scores)}


def _above(graph: Graph, scores: str, limit: float, dtype: str) -> str:
    return graph.cast(_flat(graph, graph.node("Greater", scores, graph.constant(limit, dtype))), "int64")


def _flat(graph: Graph, column: str) -> str:
    return str(graph.node("Squeeze", column, graph.constant([1], np.int64)))


# form -> nodes from scores to named results; `value` is named by the kind (`prediction`, `score`)
FORMS: Final[Mapping[str, Callable[[Graph, str, str], dict[str, str]]]] = {
    "binary": _binary,
    "multi": _multi,
    "margin": _margin,
    "value": lambda graph, scores, dtype: {"value": scores},
}


def answers(graph: Graph, ensemble: Ensemble, plan: Plan, x: str, given: str) -> dict[str, str]:
    """Append a whole booster.

    Args:
        x: `[N, width]` of dtype `given`.

    Returns:
        `index` int64 [N] and `probabilities` [N, classes] or `decision` [N]; or `value`, [N] or [N, targets]. All
        scores are in the ensemble's dtype.
    """
    dtype = ensemble.dtype
    held = "float32" if plan.single else given
    rows = x if given == held else graph.cast(x, held)
    if plan.missing is not None:
        hit = graph.node("Equal", rows, graph.constant(plan.missing, held))
        rows = graph.node("Where", hit, graph.constant(np.nan, held), rows)
    rows = rows if held == dtype else graph.cast(rows, dtype)
    if plan.zero_missing:
        rows = _zeros_to_nan(graph, rows, ensemble.features, plan.zero_missing, dtype)
    total = emit(graph, ensemble, rows)
    if plan.average != 1:
        total = graph.node("Div", total, graph.constant(plan.average, dtype))
    if plan.coefficient != 1:
        total = graph.node("Mul", total, graph.constant(plan.coefficient, dtype))
    scores = LINKS[plan.link](graph, total, dtype)
    results = FORMS[plan.form](graph, scores, dtype)
    if plan.form == "binary" and plan.limit != 0.5:
        results["index"] = _above(graph, scores, plan.limit, dtype)
    if "value" in results and ensemble.targets == 1:
        results["value"] = _flat(graph, results["value"])
    return results


def _zeros_to_nan(graph: Graph, x: str, width: int, columns: tuple[int, ...], dtype: str) -> str:
    """LightGBM's zero is anything within 1e-35 (as float32)."""
    affected = np.zeros((1, width), dtype=bool)
    affected[0, list(columns)] = True
    near = graph.node("LessOrEqual", graph.node("Abs", x), graph.constant(float(np.float32(1e-35)), dtype))
    hit = graph.node("And", near, graph.constant(affected))
    return str(graph.node("Where", hit, graph.constant(np.nan, dtype), x))
