"""Triton's model repository extension: the index, loading and unloading (which need `--model-control explicit`)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from setsail.catalog import STATES, Index, Load, Unload, VersionStatus
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.open_inference.dialects import Dialect
from setsail.protocols.open_inference.refusals import load_parameters, no_repository
from setsail.protocols.routes import Exchange, Params
from setsail.protocols.values import convert, dump, parse

__all__ = ["Repository"]


class _IndexBody(Struct):
    ready: bool = False


class _ControlBody(Struct):
    parameters: dict[str, Any] = {}


class Repository:
    """The decoders of one dialect. Every body may be left out."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def index(self, request: HttpRequest, params: Params) -> Exchange:
        body = convert(parse(request.body), _IndexBody) if len(request.body) else _IndexBody()
        return Exchange(Index(body.ready), _listed)

    def load(self, request: HttpRequest, params: Params) -> Exchange:
        load_parameters(_control(request).parameters)
        return Exchange(Load(params["model"]), lambda _: self._done(params["model"], "load"))

    def unload(self, request: HttpRequest, params: Params) -> Exchange:
        """`unload_dependents` is taken either way: no model here depends on another."""
        _control(request)
        return Exchange(Unload(params["model"]), lambda _: self._done(params["model"], "unload"))

    def other(self, request: HttpRequest, params: Params) -> Exchange:
        raise no_repository(params["repository"])

    def _done(self, name: str, verb: str) -> HttpReply:
        return HttpReply(200) if self._dialect.bare else HttpReply(200, dump({"name": name, verb: True}), JSON_HEADERS)


def _control(request: HttpRequest) -> _ControlBody:
    return convert(parse(request.body), _ControlBody) if len(request.body) else _ControlBody()


def _listed(answer: tuple[VersionStatus, ...]) -> HttpReply:
    rows = [
        {"name": s.name, "version": str(s.version), "state": STATES[s.state].oip, "reason": s.reason} for s in answer
    ]
    return HttpReply(200, dump(rows), JSON_HEADERS)
