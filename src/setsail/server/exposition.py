"""Metrics asked on a door of clients: a house that also answers `Exposition`.

Prometheus' library is imported with the first such question. Where there are several processes, each can answer for
all of them: it asks the supervisor for everybody's counts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from setsail.catalog import Ask, Exposition, Index
from setsail.messages import Request
from setsail.server.dispatch import Answering

if TYPE_CHECKING:
    from setsail.server.metrics import Counted

__all__ = ["Observed"]


class Observed:
    """Answers what `house` answers, and what was counted.

    Args:
        counted: the meter, or what stands for those of all processes.
    """

    def __init__(self, house: Answering, counted: Counted) -> None:
        self._house, self._counted = house, counted

    def answer(self, ask: Request | Ask, *, control: bool) -> Any:
        if not isinstance(ask, Exposition):
            return self._house.answer(ask, control=control)
        metrics = import_module("setsail.server.metrics").Metrics
        return metrics(self._counted, lambda: self._house.answer(Index(), control=False), names=(ask.names,)).text(
            ask.only
        )
