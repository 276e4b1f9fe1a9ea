"""Routes on the admin port, for machines: `/v1/routes`. What changes something must come from here (`Admin`).

GET    /v1/routes             all models
GET    /v1/routes/{model}     one: route, canary, shadows, history
PUT    /v1/routes/{model}     {"weights": {"1": 90, "2": 10}, "sticky": "header:user"}
DELETE /v1/routes/{model}     no route: the default version answers
POST   /v1/routes/{model}/canary | shadow | promote | rollback
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.responses import Response as HttpResponse

from setsail.errors import SetsailError
from setsail.monitor.canary import Figures
from setsail.monitor.meter import Snapshot
from setsail.routing import SLOTS, Change, Reroute, Route, Routed, Routes, Sticky, Wish
from setsail.server.forms import received
from setsail.server.verdicts import decided

__all__ = ["ACTIONS", "RoutePages", "document", "sticky_of"]

ACTIONS: Final = ("canary", "shadow", "promote", "rollback")
_LARGEST: Final = 1 << 16
_HEADERS: Final = {"cache-control": "no-store"}
Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class _Said(Wish, frozen=True, forbid_unknown_fields=True):
    """The body of a change, as JSON can say it."""

    weights: dict[str, float] = field(default_factory=dict)
    sticky: str | None = None


class RoutePages:
    """The handlers.

    Args:
        ask: asks the house.
        counts: of all processes.
        check: raises unless a request that changes something may.
    """

    def __init__(
        self, ask: Callable[[Any], Any], counts: Callable[[], Snapshot], check: Callable[[HttpRequest], None]
    ) -> None:
        self._ask, self._counts, self._check = ask, counts, check

    def rows(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        one = "/v1/routes/{model}"
        return [
            ("GET", "/v1/routes", self._all), ("GET", one, self._one), ("PUT", one, self._changed("route")),
            ("DELETE", one, self._changed("clear")),
            *(("POST", f"{one}/{action}", self._changed(action)) for action in ACTIONS),
        ]  # fmt: skip

    async def _all(self, request: HttpRequest) -> HttpResponse:
        return await self._told("")

    async def _one(self, request: HttpRequest) -> HttpResponse:
        return await self._told(request.path_params["model"])

    def _changed(self, action: str) -> Handler:
        async def change(request: HttpRequest) -> HttpResponse:
            self._check(request)
            ask = asked(request.path_params["model"], action, await received(request.stream(), _LARGEST, "body"))
            await run_in_threadpool(self._ask, ask)
            return await self._told(ask.name)

        return change

    async def _told(self, name: str) -> HttpResponse:
        routed = await run_in_threadpool(self._ask, Routes(name))
        counts = await run_in_threadpool(self._counts)
        documents = [document(one, counts) for one in routed]
        return JSONResponse(documents[0] if name else {"routes": documents}, headers=_HEADERS)


def asked(name: str, action: str, body: bytes) -> Reroute:
    """A change out of its JSON. Raises `request.form` or `route.value`."""
    try:
        said = msgspec.json.decode(body or b"{}", type=_Said)
    except msgspec.MsgspecError as fault:
        raise SetsailError("request.form", "the change of a route cannot be read", value=str(fault),
                           expected='JSON such as {"weights": {"1": 90, "2": 10}}') from fault  # fmt: skip
    values = msgspec.structs.asdict(said)
    weights = {_version(version): weight for version, weight in said.weights.items()}
    return Reroute(name, action, **values | {"weights": weights, "sticky": sticky_of(said.sticky)})


def sticky_of(text: str | None) -> Sticky | None:
    """`header:NAME` or `input:NAME`; "" ends it. Raises `route.value`."""
    if text is None or not text:
        return None if text is None else Sticky("", "")
    by, _, name = text.partition(":")
    if by not in ("header", "input") or not name:
        raise SetsailError("route.value", "a key cannot be read", field="sticky", value=text,
                           expected="header:NAME or input:NAME")  # fmt: skip
    return Sticky(by, name)


def _version(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < len(text) < 19:
        return int(text)
    raise SetsailError("route.value", "a version is no positive integer", field="weights", value=text, expected="1")


# -- documents ---------------------------------------------------------------------------------------------------------


def document(routed: Routed, counts: Snapshot) -> dict[str, Any]:
    """All that is known of a model's route."""
    route = routed.routing.route
    return {
        "model": routed.name, "revision": routed.routing.revision,
        "route": None if route is None else _route(route, routed, counts),
        "default": routed.default, "ready": list(routed.ready),
        "history": [_change(change) for change in reversed(routed.routing.changes)],
    }  # fmt: skip


def _route(route: Route, routed: Routed, counts: Snapshot) -> dict[str, Any]:
    return {
        "weights": {str(version): slots * 100 / SLOTS for version, slots in sorted(route.shares.items())},
        "sticky": None if route.sticky is None else str(route.sticky),
        "shadows": {str(version): _shadow(counts, routed.name, version) for version in route.shadows},
        "canary": _canary(routed, counts),
    }  # fmt: skip


def _canary(routed: Routed, counts: Snapshot) -> dict[str, Any] | None:
    found, _ = decided(routed, counts)
    route = routed.routing.route
    if found is None or route is None or route.canary is None:
        return None
    metrics = {name: _figures(figures) for name, figures in found.metrics.items()}
    return {**msgspec.structs.asdict(route.canary), "decision": found.decision, "why": found.why, "metrics": metrics}


def _figures(figures: Figures) -> dict[str, float]:
    return {**msgspec.structs.asdict(figures), "difference": figures.difference}


def _shadow(counts: Snapshot, name: str, shadow: int) -> Mapping[str, Any]:
    told: dict[str, Any] = dict.fromkeys(("agreed", "differed", "failed", "dropped", "away"), 0)
    seconds = 0.0
    for (model, _, version, result), duration in counts.shadows.items():
        if (model, version) == (name, shadow):
            told[result] += duration.count
            seconds += duration.ns / 1e9
    return told | {"seconds": seconds}


def _change(change: Change) -> dict[str, Any]:
    return {
        "revision": change.revision, "what": change.what, "to": str(change.route or "default"), "who": change.who,
        "why": change.why, "when": change.when,
    }  # fmt: skip
