"""The paths of both servers. What stands between slashes and colons may come in any case; names of models may not."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.cloud_events import answering
from setsail.protocols.http import HttpRequest
from setsail.protocols.routes import Exchange, Params, Route, Wire
from setsail.protocols.tf_serving import models
from setsail.protocols.tf_serving.predict import predict
from setsail.protocols.tf_serving.wire import ORIGINAL, WIRE

__all__ = ["ORIGINAL_ROUTES", "ROUTES"]


_EXAMPLES: Final = "setsail.protocols.tf_serving.examples"  # imported with the first request that has some


def _classify(request: HttpRequest, params: Params) -> Exchange:
    exchange: Exchange = import_module(_EXAMPLES).classify(request, params)
    return exchange


def _regress(request: HttpRequest, params: Params) -> Exchange:
    exchange: Exchange = import_module(_EXAMPLES).regress(request, params)
    return exchange


def _refused(request: HttpRequest, params: Params) -> Exchange:
    raise SetsailError(
        "request.unsupported",
        "models are not explained here",
        field="path",
        value=request.path,
        expected=":predict, :classify or :regress",
        todo="send the same rows to :predict",
    )


def _routes(wire: Wire, shared: bool) -> tuple[Route, ...]:
    rows = []
    for part in ("", "/versions/{version}", "/labels/{label}"):
        model = "/v1/models/{model}" + part
        rows += [
            Route(
                "POST",
                model + ":predict",
                answering(predict) if shared else predict,
                wire,
                "a prediction",
                predicts=True,
                any_case=True,
            ),
            Route("POST", model + ":classify", _classify, wire, "classes and their scores", True, True),
            Route("POST", model + ":regress", _regress, wire, "one number for every example", True, True),
            Route(
                "GET", model, models.union if shared else models.status, wire, "state of the versions", any_case=True
            ),
            Route("GET", model + "/metadata", models.metadata, wire, "signatures", any_case=True),
        ]
        if shared:
            rows.append(Route("POST", model + ":explain", _refused, wire, "refused"))
    if shared:
        rows += [
            Route("GET", "/", models.alive, wire, "200 while the process is up"),
            Route("GET", "/v1/models", models.names, wire, "names of the models"),
        ]
    return tuple(rows)


ROUTES: Final = _routes(WIRE, True)
ORIGINAL_ROUTES: Final = _routes(ORIGINAL, False)  # on a port of its own
