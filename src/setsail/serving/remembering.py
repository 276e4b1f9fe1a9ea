"""Answers of one loaded version, kept for requests that come again (`--cache-bytes`).

The key is what the model would see: the bound inputs' names, dtypes, shapes and bytes, and the outputs asked for. So
requests through different wires share answers, and a request that would be refused is never looked up. Equal requests
that come while the first one runs wait for its answer. Only answers are kept; what failed is asked again by whoever
waited for it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from msgspec.structs import replace

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.monitor.meter import Meter
from setsail.scheduling.cache import Hit, ResponseCache, Wait, key
from setsail.serving.line import Done
from setsail.serving.predict import Prediction
from setsail.tensors import Array

__all__ = ["Remembering"]

Again = Callable[[], object]


class Remembering:
    """One version's answers. Used on the loop's thread."""

    __slots__ = ("_cache", "_meter")

    def __init__(self, limit: int, meter: Meter) -> None:
        self._cache, self._meter = ResponseCache(limit), meter

    def ask(self, prediction: Prediction, done: Done, again: Again) -> Done | None:
        """Answer from memory, or say whom to give the answer of a run.

        Args:
            again: submits the same request once more; called when the run that it waits for fails.

        Returns:
            What to call with the outcome of a run; None when the request is answered, or will be by another's run.
        """
        began, request = perf_counter(), prediction.request
        try:
            digest = _digest(prediction)
        except SetsailError:
            return done  # the run binds it again, and tells the fault
        found = self._cache.begin(digest)
        self._meter.cache(request.model.name, prediction.version, isinstance(found, Hit), perf_counter() - began)
        if isinstance(found, Hit):
            done(replace(found.value, id=request.id))
            return None
        if isinstance(found, Wait):
            found.waiters.append((request.id, done, again))
            return None
        return lambda outcome: self._ended(digest, done, outcome)

    def _ended(self, digest: bytes, done: Done, outcome: Response | BaseException) -> None:
        waiters: list[Any]
        if isinstance(outcome, Response):
            # The batch's arrays are copied: a view of one row would keep the whole batch.
            own = replace(outcome, outputs={name: array.copy() for name, array in outcome.outputs.items()}, id="")
            waiters = self._cache.finish(digest, own, sum(_nbytes(array) for array in own.outputs.values()))
            done(outcome)
            for ident, waiter, _ in waiters:
                waiter(replace(own, id=ident))
            return
        waiters = self._cache.abandon(digest)
        done(outcome)
        for _, _, again in waiters:
            again()


def _digest(prediction: Prediction) -> bytes:
    request, parts = prediction.request, []
    for name, array in bind(prediction.signature, request.body).items():
        parts += [f"{name}|{array.dtype.str}|{array.shape}".encode(), _content(array)]
    wanted = prediction.wanted
    parts.append(b"*" if wanted is None else "\0".join(sorted(wanted)).encode())
    return key(request.model.name, prediction.version, parts)


def _content(array: Array) -> bytes:
    """A tensor's values as bytes that no other values have."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    texts = [str(value).encode() for value in array.ravel().tolist()]
    return b"".join(len(text).to_bytes(8, "little") + text for text in texts)


def _nbytes(array: Array) -> int:
    """Memory of an answer; a text counts with its object."""
    if array.dtype.kind != "O":
        return int(array.nbytes)
    return sum(64 + len(str(value)) for value in array.ravel().tolist())
