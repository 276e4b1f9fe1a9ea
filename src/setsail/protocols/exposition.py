"""Metrics on ports of clients: where each of the servers that are imitated has its page for Prometheus.

The names on it are that server's; our own are on the admin port. `name[]=…` in the query asks for some metrics only, as
TorchServe has it.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from setsail.catalog import Exposition
from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.routes import Exchange, Params, Route, Wire

__all__ = ["CONTENT_TYPE", "KSERVE", "MLSERVER", "TFSERVING", "TORCHSERVE", "TRITON", "WIRE"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render_error(error: SetsailError) -> HttpReply:
    headers = (("content-type", "text/plain; charset=utf-8"), ("x-setsail-error", error.code))
    return HttpReply(error.family.http, f"{error}\n".encode(), headers)


WIRE: Final = Wire("metrics", "Prometheus", "docs/metrics.md", render_error)


def _encode(page: bytes) -> HttpReply:
    return HttpReply(200, page, (("content-type", CONTENT_TYPE),))


def _routes(path: str, names: str) -> tuple[Route, ...]:
    def decode(request: HttpRequest, params: Params) -> Exchange:
        only = tuple(value for key, value in parse_qsl(request.query) if key == "name[]") if request.query else ()
        return Exchange(Exposition(names, only), _encode)

    return (Route("GET", path, decode, WIRE, "what was counted, for Prometheus"),)


TFSERVING: Final = _routes("/monitoring/prometheus/metrics", "tfserving")
TORCHSERVE: Final = _routes("/metrics", "torchserve")
TRITON: Final = _routes("/metrics", "triton")
KSERVE: Final = _routes("/metrics", "kserve")
MLSERVER: Final = _routes("/metrics", "mlserver")
