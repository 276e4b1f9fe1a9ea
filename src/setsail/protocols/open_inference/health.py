"""Live and ready: of the server and of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from setsail.catalog import IsLive, IsReady
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.open_inference.dialects import Dialect
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.values import dump

__all__ = ["Health"]


class Health:
    """The decoders of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def live(self, request: HttpRequest, params: Params) -> Exchange:
        return Exchange(IsLive(), self._flag("live"))

    def ready(self, request: HttpRequest, params: Params) -> Exchange:
        return Exchange(IsReady(), self._flag("ready"))

    def model_ready(self, request: HttpRequest, params: Params) -> Exchange:
        return Exchange(
            IsReady(model_ref(params), self._dialect.lenient), self._flag("ready", {"name": params["model"]})
        )

    def _flag(self, name: str, extra: Mapping[str, Any] | None = None) -> Callable[[bool], HttpReply]:
        def told(yes: bool) -> HttpReply:
            status = 200 if yes else self._dialect.not_ready
            if self._dialect.bare:
                return HttpReply(status)
            return HttpReply(status, dump({**(extra or {}), name: yes}), JSON_HEADERS)

        return told
