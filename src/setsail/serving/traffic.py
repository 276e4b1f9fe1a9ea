"""Where a house's bare requests go, and what becomes known of their answers: routes, and the labels that come back.

The way of a request itself is elsewhere: `chosen.py` finds the version, `shadows.py` counts for canaries. Here a route
changes, by one swap of the house's table, and labels find the predictions they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from setsail.catalog import Feedback
from setsail.messages import ModelRef
from setsail.monitor.meter import Meter
from setsail.routing import PutRoute, Reroute, Routed, Routes
from setsail.serving.canaries import Canaries
from setsail.serving.rerouting import put, rerouted_in, routed_of, tell
from setsail.serving.table import Swap, Table
from setsail.serving.watchers import Watchers

__all__ = ["Traffic"]


class _Housing(Protocol):
    """What is needed of `house.House`."""

    @property
    def table(self) -> Table: ...
    def swap(self, change: Swap) -> None: ...
    def answer(self, ask: Any, *, control: bool = True) -> Any: ...


class Traffic:
    """Answers `ASKS`, for whoever may change routes.

    Args:
        meter: counts what canaries did, and asks what was watched.

    Attributes:
        canaries: told of labels here, and of answers by those who see them (`shadows.py`).
        on_route: called with a model's name after its route has changed.
    """

    def __init__(self, house: _Housing, meter: Meter, watchers: Watchers) -> None:
        self._house, self._watchers = house, watchers
        self.canaries = Canaries(meter)
        self.on_route: Callable[[str], object] = lambda name: None
        meter.watched = watchers.tallies
        watchers.judged = lambda *told: self.canaries.label(house.table, *told)

    def answer(self, ask: Any) -> Any:
        """The type of the answer stands with each ask. Raises what stands there, and `model.unknown`."""
        return self.ASKS[type(ask)](self, ask)

    def _feedback(self, ask: Feedback) -> tuple[str, ...]:
        """Labels of a model that is here, whatever became of the version that answered."""
        self._house.table.status(ModelRef(ask.name))
        self._watchers.missed(ask.name, ask.version, ask.missed)
        return tuple(self._watchers.labels(ask.name, ask.version, ask.labels, alone=not ask.spread))

    def _routes(self, ask: Routes) -> tuple[Routed, ...]:
        return routed_of(self._house.table, ask.name)

    def _reroute(self, ask: Reroute) -> Routed:
        (before,) = routed_of(self._house.table, ask.name)
        made = rerouted_in(before, self._house.table.status(ModelRef(ask.name)), ask, self._house.answer)
        after = self._put_route(made)
        tell(ask.name, before.routing, made.routing)
        return after

    def _put_route(self, ask: PutRoute) -> Routed:
        self._house.swap(lambda table: put(table, ask))
        self.on_route(ask.name)
        return routed_of(self._house.table, ask.name)[0]

    ASKS: Final[Mapping[type, Callable[..., Any]]] = {
        Feedback: _feedback, Routes: _routes, Reroute: _reroute, PutRoute: _put_route,
    }  # fmt: skip
