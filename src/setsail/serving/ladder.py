"""How long a fresh model takes for 1, 2, 4, 8, … rows, and whether rows may share a run.

Measured once when a version is loaded, before anybody waits for it: the scheduler then knows from the first request on
what a batch costs, and a model's first runs, which are its slowest, never happen on the event loop.

A quick model is measured in a few milliseconds. Of a slow one, rungs beyond that are climbed only while each of them is
bearable and the last one gained much, as with large matrices, where one row costs as much as sixteen.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Final

import numpy as np
from msgspec import Struct, field

from setsail.errors import SetsailError
from setsail.parity import compare
from setsail.runtime import Runner
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["HIGHEST", "Ladder", "climb", "drawn"]

HIGHEST: Final = 256  # rows
BUDGET: Final = 0.025  # seconds for all rungs of a quick model
_BEARABLE: Final = 0.25  # seconds that one more rung may take for a slow one,
_MUCH: Final = 0.75  # if the last rung brought the time a row down to this share of the best before it
_GAIN: Final = 0.97  # of the best time a row so far: what a rung must come down to, or it was of no use
_USELESS: Final = 2  # rungs of no use in a row, after which higher ones are not tried
_RUNS: Final = 3  # of each rung, the quickest counts
_ALONE: Final = 4  # rows that are also run alone
_OTHERS: Final = 32  # drawn rows, where an artifact has none


class Ladder(Struct, frozen=True):
    """Seconds by rows, and whether a row's answer is the same alone and among others (within the parity rule).

    Empty, and not invariant, when the model fails on what it was tried with.
    """

    seconds: Mapping[int, float] = field(default_factory=dict)
    invariant: bool = False


def climb(
    runner: Runner,
    inputs: Mapping[str, Array],
    answers: Mapping[str, Array] | None = None,
    *,
    tolerance: float = 1.0,
    budget: float = BUDGET,
) -> Ladder:
    """Time a model, and compare rows alone with rows in a batch.

    Args:
        inputs: rows as `binding.bind` gives them, one or more.
        answers: what all of them together were answered, where they were run already.
        tolerance: of the parity rule.
        budget: seconds after which a rung is begun only if it promises much.
    """
    end = perf_counter() + budget
    try:
        if not runner.signature.batched or not len(next(iter(inputs.values()))):
            return Ladder({1: min(_timed(runner, inputs)[0] for _ in range(_RUNS))})
        alone = _alone(runner, inputs, end)
        seconds = {1: min(s for s, _ in alone)}
        rungs = _rungs(runner, inputs, seconds, end)
    except SetsailError:
        return Ladder()
    if answers is None or runner.max_batch is not None or len(next(iter(answers.values()))) < 2:
        answers = None
    together = rungs[max(rungs)] if rungs else answers
    return Ladder(seconds, together is not None and _same(runner, alone, together, tolerance))


def drawn(signature: Signature) -> dict[str, Array]:
    """Rows for a model whose artifact has none: small numbers, drawn; equal from start to start.

    They differ from each other, because equal rows could not show that one changes another's answer.
    """
    random = np.random.default_rng(0)
    return {spec.name: _drawn(spec, random) for spec in signature.inputs}


def _drawn(spec: TensorSpec, random: np.random.Generator) -> Array:
    shape = [d if isinstance(d, int) else _OTHERS if spec.batched and i == 0 else 1 for i, d in enumerate(spec.shape)]
    if spec.content:
        return np.asarray(np.full(shape, b""), dtype=object)
    if spec.dtype.kind == "string":
        texts = random.choice(np.array(spec.categories or ("text", "other text"), dtype=object), size=shape)
        return np.asarray(texts, dtype=object)
    if spec.dtype.kind == "float":
        return np.asarray(random.standard_normal(shape), dtype=spec.dtype.numpy)
    return np.asarray(random.integers(0, 2, shape), dtype=spec.dtype.numpy)


def _alone(runner: Runner, inputs: Mapping[str, Array], end: float) -> list[tuple[float, Mapping[str, Array]]]:
    """The first rows, each run by itself: two of them whatever it takes, more while there is time."""
    rows = range(min(_ALONE, len(next(iter(inputs.values())))))
    return [
        _timed(runner, {name: array[row : row + 1] for name, array in inputs.items()})
        for row in rows
        if row < 2 or perf_counter() < end
    ]


def _rungs(
    runner: Runner, inputs: Mapping[str, Array], seconds: dict[int, float], end: float
) -> dict[int, Mapping[str, Array]]:
    """Time 2, 4, 8, … rows until more of them do not help; the answers by rows. Adds to `seconds`."""
    answers: dict[int, Mapping[str, Array]] = {}
    best, gain, useless, rows = seconds[1], 0.0, 0, 2
    while rows <= min(runner.max_batch or HIGHEST, HIGHEST) and useless < _USELESS:
        at_most = 2 * seconds[rows // 2]
        if perf_counter() + at_most > end and (at_most > _BEARABLE or gain > _MUCH):
            break
        batch = {name: np.take(array, range(rows), axis=0, mode="wrap") for name, array in inputs.items()}
        seconds[rows], answers[rows] = _timed(runner, batch)
        for _ in range(_RUNS - 1):
            if perf_counter() + seconds[rows] < end:
                seconds[rows] = min(seconds[rows], _timed(runner, batch)[0])
        gain = seconds[rows] / rows / best
        useless = 0 if gain < _GAIN else useless + 1
        best, rows = best * min(gain, 1.0), 2 * rows
    return answers


def _timed(runner: Runner, inputs: Mapping[str, Array]) -> tuple[float, Mapping[str, Array]]:
    begun = perf_counter()
    answers = runner.run(inputs)
    return perf_counter() - begun, answers


def _same(
    runner: Runner,
    alone: list[tuple[float, Mapping[str, Array]]],
    together: Mapping[str, Array],
    tolerance: float,
) -> bool:
    """Whether the rows that were run alone got the answers that they get among others."""
    single = [answers for _, answers in alone]
    count = min(len(single), len(next(iter(together.values()))))
    ours = {name: np.concatenate([answers[name] for answers in single[:count]]) for name in together}
    theirs = {name: array[:count] for name, array in together.items()}
    return compare(runner.signature, theirs, ours, what="synthetic", tolerance=tolerance).passed
