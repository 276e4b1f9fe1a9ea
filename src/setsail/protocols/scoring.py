"""What MLflow's scoring server is known by: its faults, its health and version, the keys of its bodies.

Every start needs this much; the rest (`mlflow.py`) is imported with the first prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from setsail.catalog import IsReady, ServerInfo
from setsail.errors import SetsailError
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.routes import Exchange, Params, Route, Wire
from setsail.protocols.values import dump

__all__ = ["HEALTH", "KEYS", "PARQUET", "PING", "VERSION", "WIRE", "render_error"]

PARQUET: Final = "application/vnd.apache.parquet"
KEYS: Final = frozenset(("dataframe_split", "dataframe_records", "instances", "inputs"))
_SPOKEN: Final = "3.17.2"  # the MLflow whose scoring protocol this is: what `/version` says, because clients compare it


# -- errors ------------------------------------------------------------------------------------------------------------

_BY_STATUS: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST", 408: "DEADLINE_EXCEEDED",
    409: "RESOURCE_CONFLICT", 429: "REQUEST_LIMIT_EXCEEDED", 499: "CANCELLED", 500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_DETAILS: Final[Mapping[str, str]] = {"request.path": "Not Found", "request.method": "Method Not Allowed"}
_PLAIN: Final = ("content-type", "text/plain; charset=utf-8")


def render_error(error: SetsailError) -> HttpReply:
    """MLflow's own words for the kind of fault; a wrong content type is told as plain text, a wrong path by FastAPI."""
    if error.code in _DETAILS:
        return error_reply(error, dump({"detail": _DETAILS[error.code]}))
    if error.code == "request.media_type":
        reply = error_reply(error, str(error).encode())
        return HttpReply(reply.status, reply.body, (_PLAIN, *reply.headers[1:]))
    told = {"error_code": _BY_STATUS.get(error.family.http, "BAD_REQUEST"), "message": str(error)}
    if error.code.startswith("input."):
        told |= {"error_code": "INVALID_PARAMETER_VALUE", "sqlstate": "KAM01"}
        told["error_class"] = "SCHEMA_ENFORCEMENT_FAILED"
    elif told["error_code"] == "BAD_REQUEST":
        told |= {"sqlstate": "KAM00", "error_class": "INVALID_PARAMETER_VALUE"}
    return error_reply(error, dump(told))


WIRE: Final = Wire("mlflow", "MLflow scoring", "docs/wires/mlflow.md", render_error)


# -- health ------------------------------------------------------------------------------------------------------------


def _ping(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(), lambda ready: HttpReply(200 if ready else 404, b"\n", JSON_HEADERS))


def _version(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(ServerInfo(), lambda _: HttpReply(200, _SPOKEN.encode(), JSON_HEADERS))


PING: Final = Route("GET", "/ping", _ping, WIRE, "200 when every model is ready")
HEALTH: Final = Route("GET", "/health", _ping, WIRE, "the same")
VERSION: Final = Route("GET", "/version", _version, WIRE, "the version of MLflow whose protocol this is")
