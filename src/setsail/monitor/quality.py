"""How good predictions turned out to be, from labels that came back: accuracy, AUC, errors.

What is kept adds up over processes and has a fixed size. The AUC comes from two histograms of scores with bins of a
128th (a pair in one bin counts half), so it is within 1/256 of the exact one where scores spread over the bins.
"""

from __future__ import annotations

from math import isfinite, nan, sqrt
from typing import Any, Final

from msgspec import Struct, field

from setsail.signature import Signature

__all__ = ["LAGS", "LOSSES", "RESULTS", "Labels", "Task", "plain", "task_of"]

LOSSES: Final = 64  # a loss in [0, 1] is kept to a 64th
SCORES: Final = 128
LAGS: Final = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400)  # seconds from the prediction to its label
RESULTS: Final = ("joined", "late", "duplicate", "unknown", "unfit")


class Task(Struct, frozen=True):
    """What of the outputs a label is held against.

    Attributes:
        kind: `classes` or `numbers`.
        output, score: names of the outputs with the prediction, and (two classes) with the scores; "" for none.
        positive: the class that the score is of.
        scale: the error of a number that counts as a whole loss.
    """

    kind: str
    output: str
    score: str = ""
    positive: str = ""
    scale: float = 1.0


def task_of(signature: Signature, scale: float = 1.0) -> Task | None:
    """By what a model answers (docs/outputs.md); None where a label would say nothing of it."""
    outputs = {spec.name: spec for spec in signature.outputs}
    label, scores = outputs.get("label"), outputs.get("probabilities")
    if label is not None and len(label.shape) == 1:
        if scores is not None and len(scores.shape) == 2 and scores.shape[1] == 2:
            names = scores.labels or label.labels
            return Task("classes", "label", scores.name, plain(names[1]) if len(names) == 2 else "1")
        return Task("classes", "label")
    if len(outputs) == 1:
        (only,) = outputs.values()
        if only.dtype.kind == "float" and (len(only.shape) == 1 or only.shape[1:] == (1,)):
            return Task("numbers", only.name, scale=scale if scale > 0 and isfinite(scale) else 1.0)
    return None


def plain(label: Any) -> str:
    """A class as text, so that 1, 1.0 and "1" are one class."""
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    text = str(label)
    return text.lower() if text in ("True", "False") else text


def _scores() -> list[int]:
    return [0] * SCORES


class Labels(Struct):
    """What came back, counted.

    Attributes:
        results: by `RESULTS`.
        lags: joined labels by `LAGS`; lag is the sum of seconds.
        count, correct: of labels that were held against a prediction.
        wrong_way, right_way: scores of what was not the positive class, and of what was.
        losses: by 64ths.
        error, absolute, squared: sums over numbers.
    """

    results: dict[str, int] = field(default_factory=dict)
    lags: list[int] = field(default_factory=lambda: [0] * (len(LAGS) + 1))
    lag: float = 0.0
    count: int = 0
    correct: int = 0
    wrong_way: list[int] = field(default_factory=_scores)
    right_way: list[int] = field(default_factory=_scores)
    losses: list[int] = field(default_factory=lambda: [0] * (LOSSES + 1))
    error: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0

    def judge(self, task: Task, predicted: Any, score: float, truth: Any) -> float | None:
        """Hold one label against its prediction: its loss, 0 to 1; None when it is none that this task can have."""
        if task.kind == "classes":
            known = plain(truth)
            right = plain(predicted) == known
            self.correct += right
            loss = self._loss(0.0 if right else 1.0)
            if task.score and 0.0 <= score <= 1.0:
                side = self.right_way if known == task.positive else self.wrong_way
                side[min(int(score * SCORES), SCORES - 1)] += 1
            return loss
        if isinstance(truth, bool) or not isinstance(truth, int | float):
            return None
        error = float(predicted) - float(truth)
        if not isfinite(error):
            return None
        self.error += error
        self.absolute += abs(error)
        self.squared += error * error
        return self._loss(min(1.0, abs(error) / task.scale))

    def _loss(self, loss: float) -> float:
        self.count += 1
        self.losses[round(loss * LOSSES)] += 1
        return loss

    def measures(self, task: Task | None) -> dict[str, float]:
        """The measures that the task has, of all labels that came back; NaN while they say nothing."""
        if task is None or not self.count:
            return {}
        if task.kind == "classes":
            told = {"accuracy": self.correct / self.count}
            return told | ({"auc": self._auc()} if task.score else {})
        return {
            "mean_error": self.error / self.count, "mean_absolute_error": self.absolute / self.count,
            "root_mean_squared_error": sqrt(self.squared / self.count),
        }  # fmt: skip

    def _auc(self) -> float:
        pairs, below = 0.0, 0
        for bad, good in zip(self.wrong_way, self.right_way, strict=True):
            pairs += good * (below + bad / 2)
            below += bad
        whole = below * sum(self.right_way)
        return pairs / whole if whole else nan

    def plus(self, other: Labels) -> Labels:
        """The counts of both."""
        return self._with(other, 1)

    def minus(self, other: Labels) -> Labels:
        """What came since `other`."""
        return self._with(other, -1)

    def _with(self, other: Labels, sign: int) -> Labels:
        def both(a: list[int], b: list[int]) -> list[int]:
            return [x + sign * y for x, y in zip(a, b, strict=True)]

        results = {r: self.results.get(r, 0) + sign * other.results.get(r, 0) for r in {*self.results, *other.results}}
        return Labels(
            results, both(self.lags, other.lags), self.lag + sign * other.lag, self.count + sign * other.count,
            self.correct + sign * other.correct, both(self.wrong_way, other.wrong_way),
            both(self.right_way, other.right_way), both(self.losses, other.losses), self.error + sign * other.error,
            self.absolute + sign * other.absolute, self.squared + sign * other.squared,
        )  # fmt: skip
