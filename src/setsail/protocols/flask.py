"""A server of one model written by hand: POST to any path (docs/wires/flask.md).

What is sent is read as the plain wire reads it, but for a flat list, which may be one row here; the answer has
`prediction` always. Nothing else is known of such servers: each has a path and names of its own.
"""

from __future__ import annotations

from typing import Final

from setsail.catalog import IsReady
from setsail.messages import Body, Columns, Digits, ModelRef, Request, Rows
from setsail.protocols import payload, plain
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.routes import Exchange, Params, Route

__all__ = ["ROUTES"]


def _predict(request: HttpRequest, params: Params) -> Exchange:
    body = _row(payload.read(request.body, request.headers.get("content-type", "")))
    return Exchange(Request(ModelRef(plain.ONLY_MODEL), body), plain.encode_prediction)


def _row(body: Body) -> Body:
    """A bare flat list, as loose as one with a name."""
    found = body.again() if isinstance(body, Digits) else body
    if not isinstance(found, Rows) or not len(found.rows) or isinstance(found.rows[0], dict):
        return found
    return Columns({"data": found.rows}, loose=True)


def _healthy(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(), _told)


def _told(ready: bool) -> HttpReply:
    return HttpReply(200 if ready else 503, b'{"status":"ok"}' if ready else b'{"status":"loading"}', JSON_HEADERS)


ROUTES: Final = (
    Route("GET", "/", _healthy, plain.WIRE, "200 while the model is ready"),
    Route("GET", "/health", _healthy, plain.WIRE, "200 while the model is ready"),
    Route("GET", "/ping", _healthy, plain.WIRE, "200 while the model is ready"),
    Route(
        "POST", "/", _predict, plain.WIRE, "a prediction of the only model, at any path", predicts=True, anywhere=True
    ),
)
