"""Routes that are in force when a server begins: `--route MODEL:v1=90+v2=10+header:x-user`."""

from __future__ import annotations

from collections.abc import Iterator

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.routing import Change, PutRoute, Reroute, Routing, Sticky
from setsail.serving.house import House
from setsail.serving.rerouting import rerouted_in, routed_of

__all__ = ["begin", "parsed"]

_FORM = "MODEL:v1=90+v2=10, perhaps with +header:NAME or +input:NAME"


def begin(house: House, text: str) -> None:
    """Put the routes of the setting, but where a model has one already: a worker that replaces another.

    Raises:
        SetsailError: `setting.value`; or `model.unknown`, `.version`, `.not_ready`, `route.value`.
    """
    for ask in parsed(text):
        (now,) = routed_of(house.table, ask.name)
        if now.routing.changes:
            continue
        made = rerouted_in(now, house.table.status(ModelRef(ask.name)), ask, house.answer)
        change = made.routing.changes[-1]
        # no time: it must be the same change in every process
        house.answer(PutRoute(ask.name, Routing((Change(1, "route", change.route, 0.0, "serve", "--route"),))))


def parsed(text: str) -> Iterator[Reroute]:
    """The routes of a setting. Raises `setting.value`."""
    for one in filter(None, map(str.strip, text.split(","))):
        name, _, parts = one.partition(":")
        weights: dict[int, float] = {}
        sticky = None
        for part in parts.split("+"):
            key, colon, value = part.partition(":")
            if colon and key in ("header", "input") and value:
                sticky = Sticky(key, value)
                continue
            version, _, weight = part.partition("=")
            try:
                weights[int(version.removeprefix("v"))] = float(weight)
            except ValueError:
                raise SetsailError("setting.value", "a route cannot be read", field="--route", value=one,
                                   expected=_FORM) from None  # fmt: skip
        yield Reroute(name, "route", weights, sticky)
