"""Routes of a house: what is in force, what a change makes of it, and putting that in the table.

A change is decided once, by whoever is asked (`rerouted_in`), and then put everywhere as what it came to (`put`): so
all processes have the same route, whenever they started, and of two changes at the same time one is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from time import time
from typing import Final

from setsail.catalog import Metadata, ModelMetadata, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.routing import PutRoute, Reroute, Routed, Routing
from setsail.serving.chosen import place_of
from setsail.serving.routes import conflict, rerouted
from setsail.serving.table import Table, Versions

__all__ = ["put", "rerouted_in", "routed_of", "tell"]

_AUDIT: Final = logging.getLogger("setsail.audit")
_AUDIT.setLevel(logging.INFO)  # whatever else is not worth a line: this always is


def routed_of(table: Table, name: str = "") -> tuple[Routed, ...]:
    """The routing of a model, or ("") of all. Raises `model.unknown`."""
    if name:
        table.status(ModelRef(name))
    return tuple(_routed(known, versions) for known, versions in table.models.items() if not name or known == name)


def _routed(name: str, versions: Versions) -> Routed:
    ready = {v: entry.loaded.watch for v, entry in versions.entries.items() if entry.ready and entry.loaded is not None}
    labelled = tuple(v for v, watch in ready.items() if watch is not None and watch.joiner.task is not None)
    return Routed(name, versions.routing, tuple(ready), versions.default, labelled)


def rerouted_in(
    now: Routed, versions: Sequence[VersionStatus], ask: Reroute, metadata: Callable[[Metadata], ModelMetadata]
) -> PutRoute:
    """What a change comes to.

    Raises:
        SetsailError: what `routes.rerouted` raises; `route.value` for a key that a model lacks, and for labels that
            would never come.
    """
    known = [status.version for status in versions]
    ready = [status.version for status in versions if status.ready]
    routing = rerouted(now.routing, ask, known=known, ready=ready, default=now.default, when=time())
    route = routing.route
    if route is not None and route.sticky is not None and route.sticky.by == "input":
        for version in route.shares if ask.action != "rollback" else ():
            signature = metadata(Metadata(ModelRef(ask.name, version))).signature
            if place_of(route.sticky.name, signature) is None:
                raise SetsailError("route.value", f"version {version} of {ask.name!r} has no such input or column",
                                   field="sticky", value=route.sticky.name, expected=str(signature))  # fmt: skip
    if ask.action == "canary" and route is not None and route.canary is not None and ask.labels:
        unheard = {route.canary.control, route.canary.candidate}.difference(now.labelled)
        if unheard:
            raise SetsailError("route.value", f"no labels are joined to version {max(unheard)} of {ask.name!r}",
                               field="labels", expected="versions that are watched, and answer classes or a number",
                               todo="pack it with a reference, or serve with --watch all")  # fmt: skip
    return PutRoute(ask.name, routing)


def put(table: Table, ask: PutRoute) -> Table:
    """The table with it. A process that has just started, or has missed a change, takes all it is told.

    Raises:
        SetsailError: `model.unknown`, or `route.conflict` where another change came in between.
    """
    (now,) = routed_of(table, ask.name)
    if now.routing == ask.routing:
        return table
    changes = ask.routing.changes
    forgotten = bool(changes) and changes[0].revision > now.routing.revision  # too long ago to be among them
    if now.routing.changes and not forgotten and now.routing.changes[-1] not in changes[:-1]:
        raise conflict(ask.name, ask.routing.revision - 1, now.routing.revision)
    return table.routed(ask.name, ask.routing)


def tell(name: str, before: Routing, after: Routing) -> None:
    """The audit line of a change."""
    change = after.changes[-1]
    line = {
        "event": "route", "model": name, "revision": change.revision, "what": change.what,
        "from": str(before.route or "default"), "to": str(change.route or "default"), "who": change.who,
        "why": change.why,
    }  # fmt: skip
    _AUDIT.info("%s", json.dumps(line))
