"""Labels that come back, joined to the predictions they are of by the request's id.

Only so many predictions are kept, the newest; what went before is known to have been there for as long again, so that
its label is told to be late and not unknown. A label is counted once: a second one for an id is a duplicate.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from setsail.monitor.quality import LAGS, Labels, Task

__all__ = ["Joiner"]

KEPT: Final = 20_000
Judged = Callable[[float, float], object]


class _Kept(Struct):
    """A request that was answered: when, and each row's prediction and score.

    `bare`: it named no version: a route, or the default, has chosen who answers.
    """

    when: float
    predicted: list[Any]
    scores: list[float]
    bare: bool = True
    labelled: bool = False


class Joiner:
    """The predictions of one version that wait for their labels.

    Args:
        capacity: requests that are kept.

    Attributes:
        judged: called with the mean loss of a bare request's rows, in [0, 1], and when it was answered; whoever decides
            between versions sets it. Rows of one request are alike, so they are one result; and who names a version
            has chosen what to ask it.
    """

    def __init__(self, task: Task | None, capacity: int = KEPT) -> None:
        self.task, self.labels = task, Labels()
        self.judged: Judged | None = None
        self._capacity = capacity
        self._kept: dict[str, _Kept] = {}
        self._gone: dict[str, None] = {}

    def keep(self, key: str, when: float, predicted: list[Any], scores: list[float], bare: bool = True) -> None:
        """A request was answered. An id that comes again stands for the newer request."""
        self._kept.pop(key, None)
        self._kept[key] = _Kept(when, predicted, scores, bare)
        if len(self._kept) > self._capacity:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._gone[oldest] = None
            if len(self._gone) > self._capacity:
                del self._gone[next(iter(self._gone))]

    def join(self, key: str, truth: Any, now: float) -> str:
        """What became of a label: one of `quality.RESULTS`. All but `unknown` are counted here.

        Args:
            truth: one label, or a list with one for each row of the request.
        """
        kept = self._kept.get(key)
        if kept is None:
            return self._counted("late") if key in self._gone else "unknown"
        if kept.labelled:
            return self._counted("duplicate")
        truths = truth if isinstance(truth, list) else [truth]
        if self.task is None or len(truths) != len(kept.predicted) or not self._fit(self.task, truths):
            return self._counted("unfit")
        rows = zip(kept.predicted, kept.scores, truths, strict=True)
        judged = [self.labels.judge(self.task, predicted, score, one) for predicted, score, one in rows]
        losses = [loss for loss in judged if loss is not None]
        kept.labelled = True
        lag = max(0.0, now - kept.when)
        self.labels.lags[bisect_left(LAGS, lag)] += 1
        self.labels.lag += lag
        if self.judged is not None and kept.bare and losses:
            self.judged(sum(losses) / len(losses), kept.when)
        return self._counted("joined")

    @staticmethod
    def _fit(task: Task, truths: Sequence[Any]) -> bool:
        if task.kind == "classes":
            return all(isinstance(one, str | int | float | bool) for one in truths)
        return all(isinstance(one, int | float) and not isinstance(one, bool) for one in truths)

    def _counted(self, result: str) -> str:
        self.missed(result, 1)
        return result

    def missed(self, result: str, many: int) -> None:
        """Count labels; unknown ones are counted by whoever knows that nobody else knows them."""
        self.labels.results[result] = self.labels.results.get(result, 0) + many
