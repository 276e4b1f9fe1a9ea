"""Who is told about each finished request: metrics, drift, the request log, shadow traffic.

An observer is a callable. It is called in the thread that answered, after the answer is made and the lease given back,
so it must be quick and must not keep the arrays changed. What it raises is logged and goes no further.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from setsail.messages import Request
from setsail.tensors import Array

__all__ = ["Finished", "Observer", "tell"]

_LOG = logging.getLogger("setsail.serving")


class Finished(Struct):
    """One request, answered or refused.

    Attributes:
        version: the version that was asked, 0 when none was found.
        rows: of the batch; 0 when the request was refused before it was bound, 1 for a model without a batch.
        seconds: from the decoded request to the answer.
        inputs, outputs: as bound and as run; empty when it did not come so far.
        error: what the client is told, None when it got an answer.
    """

    request: Request
    version: int = 0
    rows: int = 0
    seconds: float = 0.0
    inputs: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    error: BaseException | None = None


Observer = Callable[[Finished], None]


def tell(observers: Sequence[Observer], event: Finished) -> None:
    for observer in observers:
        try:
            observer(event)
        except Exception:
            _LOG.exception("an observer failed; the request was not touched by it")
