"""GraphPipe: tensors as FlatBuffers over HTTP (docs/wires/graphpipe.md).

Every start needs the routes; what reads and writes (`wire.py`) is imported with the first request.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Final

from setsail.catalog import IsLive, IsReady
from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply, HttpRequest, error_reply
from setsail.protocols.routes import Exchange, Params, Route, Wire

__all__ = ["EVERYWHERE", "ROUTES", "WIRE"]


def render_error(error: SetsailError) -> HttpReply:
    told = error_reply(error, str(error).encode())
    return HttpReply(told.status, told.body, (("content-type", "text/plain; charset=utf-8"), *told.headers[1:]))


WIRE: Final = Wire("graphpipe", "GraphPipe", "docs/wires/graphpipe.md", render_error)


@cache
def _wire() -> Any:
    return import_module("setsail.protocols.graphpipe.wire")


def _post(request: HttpRequest, params: Params) -> Exchange:
    exchange: Exchange = _wire().post(request, params)
    return exchange


def _healthy(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(), _told)


def _alive(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsLive(), _told)


def _told(ready: Any) -> HttpReply:
    return HttpReply(200 if ready else 503, b"ok\n" if ready else b"not ready\n", (("content-type", "text/plain"),))


ROUTES: Final = (
    Route("POST", "/graphpipe/{model}", _post, WIRE, "a prediction, or what the model is", predicts=True),
    Route("POST", "/graphpipe/{model}/versions/{version}", _post, WIRE, "the same of one version", predicts=True),
)
EVERYWHERE: Final = (
    *ROUTES,
    Route("GET", "/control/is_ready", _healthy, WIRE, "200 while everything is ready"),
    Route("GET", "/control/is_alive", _alive, WIRE, "200 while the process is up"),
    Route(
        "POST", "/", _post, WIRE, "a prediction of the only model, or what it is, at any path", predicts=True,
        anywhere=True,
    ),
)  # fmt: skip
