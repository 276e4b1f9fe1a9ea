"""Ids that clients give their requests, on wires whose bodies have none: the header `X-Request-Id`.

The answer repeats it, and a label that comes back later is joined to the prediction by it (`feedback.py`).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from setsail.messages import Request, Response
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.routes import Exchange

__all__ = ["HEADER", "identified"]

HEADER: Final = "x-request-id"
_LONGEST: Final = 256


def identified(request: HttpRequest, exchange: Exchange) -> Exchange:
    """A prediction with the id that its client gave it; the answer repeats it. An id that is too long is none."""
    key = request.headers[HEADER]
    ask, encode = exchange.ask, exchange.encode
    if type(ask) is not Request or not 0 < len(key) <= _LONGEST or not key.isprintable():
        return exchange

    def told(response: Response) -> HttpReply:
        reply = encode(response)
        return HttpReply(reply.status, reply.body, reply.headers, key)

    return Exchange(replace(ask, id=ask.id or key), told)
