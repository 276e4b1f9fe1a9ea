"""Whether a canary is worse than what it is to replace, decided at any moment without spoiling the next one. Pure.

Each result of the candidate (1: an error, too slow, a wrong answer; else 0) is held against the mean of `block` results
of the control: d = x - k / block, between -1 and 1. If the candidate is no worse, a gambler who bets a fixed share c of
his capital on every d > 0 wins nothing in the mean: his capital, the product of 1 + c d, is a nonnegative
supermartingale that starts at 1, so it ever reaches 1/alpha with probability alpha at most (Ville's inequality),
however often somebody looks. We hold the mean capital of several such gamblers (`SHARES`). Testing "the difference is m
or more" likewise, for every m, gives an upper bound that holds at all times at once (Waudby-Smith and Ramdas,
*Estimating means of bounded random variables by betting*, 2024).

Because the shares are fixed, the order of the pairs is nothing: the counts of (x, k) are all there is to know. So
processes count, and who decides adds up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import exp, log
from threading import Lock
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.routing import Rule
from setsail.tensors import Array

__all__ = [
    "LABELS", "RESULTS", "SHARES", "Figures", "Pairing", "Verdict", "cells", "differences", "figures", "log_capital",
    "of", "upper_bound", "verdict",
]  # fmt: skip

SHARES: Final = (0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 0.95)
# Blocks of the control that wait for a result of the candidate, and results of it that wait for a block. Requests of
# both come all the time; labels may come a night's at once, first those of one version and then the other's.
RESULTS: Final = (4, 64)
LABELS: Final = (1024, 1024)


def cells(block: int) -> int:
    """How many values (x, k) there are: the cell of one is x * (block + 1) + k."""
    return 2 * (block + 1)


class Pairing:
    """Results of both versions, as they come, to cells. Safe to share between threads.

    Whom a result is held against depends on the order they come in and never on what they say, so nothing is chosen:
    the newest that waits, because what came long ago is of another hour. What is left over on the busier side is not
    used.

    Args:
        room: blocks of the control, and results of the candidate, that may wait.
    """

    def __init__(self, block: int, room: tuple[int, int] = RESULTS) -> None:
        self.block = block
        self._sum = self._many = 0
        self._blocks: deque[int] = deque(maxlen=room[0])
        self._waiting: deque[int] = deque(maxlen=room[1])
        self._lock = Lock()

    def control(self, bad: int) -> int | None:
        """A result of the control; the cell of the pair that this made, if it did."""
        with self._lock:
            self._sum += bad
            self._many += 1
            if self._many < self.block:
                return None
            found, self._sum, self._many = self._sum, 0, 0
            if self._waiting:
                return self._waiting.pop() * (self.block + 1) + found
            self._blocks.append(found)
            return None

    def candidate(self, bad: int) -> int | None:
        """A result of the candidate; likewise."""
        with self._lock:
            if self._blocks:
                return bad * (self.block + 1) + self._blocks.pop()
            self._waiting.append(bad)
            return None


def differences(block: int) -> Array:
    """d of every cell."""
    k = np.arange(block + 1) / block
    return np.concatenate([0.0 - k, 1.0 - k])


def log_capital(counts: Array, block: int, m: float = 0.0, *, below: bool = False) -> Array:
    """Log of the capital that was won against "the difference is m at most", or (`below`) "m at least".

    Args:
        counts: [..., cells] pairs by cell; axes before the last are other canaries, or other moments.
        m: more than -1 and less than 1.

    Returns:
        [...]: -inf to inf; log(1 / alpha) or more refutes it at level alpha, at any time.
    """
    d = differences(block)
    gain = (m - d) / (1 - m) if below else (d - m) / (1 + m)  # at worst -1
    won = np.asarray(counts, float) @ np.log1p(np.multiply.outer(gain, np.array(SHARES)))
    top = won.max(axis=-1)
    result: Array = top + np.log(np.exp(won - top[..., None]).mean(axis=-1))
    return result


def upper_bound(counts: Array, block: int, alpha: float) -> float:
    """What the difference is below, with confidence 1 - alpha at all times at once; 1 where nothing is known."""
    need = log(1 / alpha)
    low, high = -1.0 + 1e-9, 1.0 - 1e-9
    if float(log_capital(counts, block, high, below=True)) < need:
        return 1.0
    for _ in range(40):  # the capital grows with m
        middle = (low + high) / 2
        refuted = float(log_capital(counts, block, middle, below=True)) >= need
        low, high = (low, middle) if refuted else (middle, high)
    return high


class Figures(Struct, frozen=True):
    """One metric of a canary.

    Attributes:
        pairs: results of the candidate that were held against some of the control.
        candidate, control: shares of bad results among the pairs.
        upper: bound of the difference.
        evidence: capital; 1/alpha stops the canary.
    """

    pairs: int = 0
    candidate: float = 0.0
    control: float = 0.0
    upper: float = 1.0
    evidence: float = 1.0

    @property
    def difference(self) -> float:
        return self.candidate - self.control


class Verdict(Struct, frozen=True):
    """What is to be done with a canary now: "wait", "rollback" or "promote", and why."""

    decision: str
    why: str
    metrics: Mapping[str, Figures]


def verdict(rule: Rule, counts: Mapping[str, Sequence[int]]) -> Verdict:
    """The decision at this moment.

    It is stopped when the mean capital over its metrics reaches 1/alpha (a mean of such capitals is one), promoted when
    every metric's bound is below what is allowed.

    Args:
        counts: pairs by cell, by metric; what is missing was not seen yet.
    """
    empty = [0] * cells(rule.block)
    found = {metric: counts.get(metric, empty) for metric in rule.metrics}
    told = {metric: figures(pairs, rule.alpha) for metric, pairs in found.items()}
    capital = sum(figure.evidence for figure in told.values()) / len(told)
    if capital >= 1 / rule.alpha:
        worst = max(told, key=lambda metric: told[metric].evidence)
        return Verdict("rollback", f"{_told(worst, told[worst])}: evidence {capital:.3g}, stopped at "
                       f"{1 / rule.alpha:g}", told)  # fmt: skip
    if all(figure.upper < rule.allowed for figure in told.values()):
        why = ", ".join(_told(metric, figure) for metric, figure in told.items())
        return Verdict("promote", f"{why}: no more than {rule.allowed:g} worse, at level {rule.alpha:g}", told)
    return Verdict("wait", "not decided yet", told)


def figures(pairs: Sequence[int], alpha: float = 0.01) -> Figures:
    """What pairs by cell come to. `alpha`: of the bound."""
    counts = np.array(pairs, float)
    block, many = len(pairs) // 2 - 1, int(counts.sum())
    if not many:
        return Figures()
    by = counts.reshape(2, block + 1)
    control = float(by.sum(axis=0) @ np.arange(block + 1)) / (many * block)
    evidence = exp(min(700.0, float(log_capital(counts, block))))
    return Figures(many, float(by[1].sum()) / many, control, upper_bound(counts, block, alpha), evidence)


def _told(metric: str, figure: Figures) -> str:
    return f"{metric} {figure.candidate:.4g} against {figure.control:.4g} in {figure.pairs} pairs"


def of(counts: Mapping[Any, Sequence[int]], model: str, rule: Rule) -> dict[str, Sequence[int]]:
    """The pairs of one canary among those of all (`Snapshot.pairs`)."""
    return {metric: pairs for (name, since, metric), pairs in counts.items() if (name, since) == (model, rule.since)}
