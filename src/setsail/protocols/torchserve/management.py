"""TorchServe's management API over HTTP: `/models…` on its port 8081 (docs/wires/torchserve.md).

Parameters are in the query, those of a registration also in a JSON body. Every reply is JSON laid out as the
original's, with an `x-request-id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from setsail.catalog import IsReady, RenewToken
from setsail.errors import SetsailError
from setsail.protocols.http import JSON, HttpReply, HttpRequest
from setsail.protocols.payload import kind_of
from setsail.protocols.routes import Exchange, Params, Route
from setsail.protocols.torchserve.orders import (
    Order,
    describing,
    listing,
    registering,
    scaling,
    setting_default,
    unregistering,
)  # fmt: skip
from setsail.protocols.torchserve.wire import JSON_REPLY, WIRE, model_ref, pretty
from setsail.protocols.values import parse

__all__ = ["MANAGEMENT"]


def _exchange(order: Order) -> Exchange:
    def encode(answer: Any) -> HttpReply:
        status, value = order.told(answer)
        return _reply({"status": value} if isinstance(value, str) else value, status)

    return Exchange(order.ask, encode)


def _reply(value: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, pretty(value), JSON_REPLY, str(uuid4()))


def _asked(request: HttpRequest) -> dict[str, str]:
    """The query's parameters; of one given twice the first, as the original has it."""
    return dict(reversed(parse_qsl(request.query, keep_blank_values=True)))


def _register(request: HttpRequest, params: Params) -> Exchange:
    """The original waits for a model by default where it is asked in a query, and not where in a body."""
    if kind_of(request.headers.get("content-type", "")) != JSON or not request.body:
        return _exchange(registering(_asked(request), wait=True))
    given = parse(request.body)
    if not isinstance(given, dict):
        raise SetsailError("request.form", "the body is no JSON object", value=given, expected='{"url": "…"}')
    return _exchange(registering(given, wait=False))


def _scale(request: HttpRequest, params: Params) -> Exchange:
    return _exchange(scaling(params["model"], params.get("version"), _asked(request)))


def _set_default(request: HttpRequest, params: Params) -> Exchange:
    return _exchange(setting_default(params["model"], params["version"]))


def _unregister(request: HttpRequest, params: Params) -> Exchange:
    return _exchange(unregistering(params["model"], params.get("version")))


def _describe(request: HttpRequest, params: Params) -> Exchange:
    customized = _asked(request).get("customized", "").lower() == "true"
    return _exchange(describing(params["model"], params.get("version"), customized=customized))


def _list(request: HttpRequest, params: Params) -> Exchange:
    return _exchange(listing(_asked(request)))


def _ready(request: HttpRequest, params: Params) -> Exchange:
    """As KServe's V1 asks whether a model is ready."""
    name = params["model"]
    return Exchange(IsReady(model_ref(params)), lambda ready: _reply({"name": name, "ready": ready}))


def _renew(request: HttpRequest, params: Params) -> Exchange:
    """A new token in place of an old one; the file of tokens has it."""
    return Exchange(RenewToken(_asked(request).get("type", "")), lambda _: HttpReply(200, b"", JSON_REPLY))


def _routes() -> tuple[Route, ...]:
    rows: list[tuple[str, str, Callable[[HttpRequest, Mapping[str, str]], Exchange], str]] = [
        ("POST", "/models", _register, "register a model of the model store"),
        ("GET", "/models", _list, "the models, page by page"),
        ("PUT", "/models/{model}/{version}/set-default", _set_default, "make a version the default one"),
    ]
    for path, which in (("/models/{model}", "a model"), ("/models/{model}/{version}", "one version")):
        rows += [
            ("GET", path, _describe, f"what is known of {which}"),
            ("PUT", path, _scale, f"scale the workers of {which}"),
            ("DELETE", path, _unregister, f"unregister {which}"),
        ]
    rows += [
        ("GET", "/v1/models/{model}", _ready, "whether a model is ready"),
        ("GET", "/token", _renew, "a new token in place of one of a type"),
    ]
    return tuple(Route(method, path, decode, WIRE, summary) for method, path, decode, summary in rows)


MANAGEMENT: Final = _routes()
