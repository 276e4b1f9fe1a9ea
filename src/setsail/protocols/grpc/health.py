"""`grpc.health.v1`: the whole server (an empty name) and its services, which are ready when every model is.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from typing import Any, Final

from setsail.catalog import IsReady, ServerInfo
from setsail.errors import SetsailError
from setsail.protocols.grpc.method import Exchange
from setsail.protocols.grpc.pool import SERVICES, message, parse

__all__ = ["check", "listing", "watch"]

_NAMES: Final = ("", *SERVICES)


def check(data: bytes | memoryview) -> Exchange:
    """A service that is not known is `request.path`, NOT_FOUND on the wire, as the protocol says."""
    service = _service(data)
    if service not in _NAMES:
        raise SetsailError(
            "request.path", f"there is no service {service!r}", field="service", value=service,
            expected="the empty name, or " + ", ".join(SERVICES), todo="send an empty name for the whole server",
        )  # fmt: skip
    return Exchange(IsReady(), _answer)


def watch(data: bytes | memoryview) -> Exchange:
    """As `check`, but an unknown service is an answer: it may come up later."""
    if _service(data) in _NAMES:
        return Exchange(IsReady(), _answer)
    return Exchange(ServerInfo(), lambda _: _status("SERVICE_UNKNOWN"))


def listing(data: bytes | memoryview) -> Exchange:
    parse(message("grpc.health.v1.HealthListRequest"), data)

    def encode(ready: bool) -> bytes:
        answer = message("grpc.health.v1.HealthListResponse")()
        for name in _NAMES:
            answer.statuses[name].ParseFromString(_answer(ready))
        told: bytes = answer.SerializeToString(deterministic=True)
        return told

    return Exchange(IsReady(), encode)


def _service(data: bytes | memoryview) -> str:
    service: Any = parse(message("grpc.health.v1.HealthCheckRequest"), data).service
    return str(service)


def _answer(ready: bool) -> bytes:
    return _status("SERVING" if ready else "NOT_SERVING")


def _status(name: str) -> bytes:
    told: bytes = message("grpc.health.v1.HealthCheckResponse")(status=name).SerializeToString()
    return told
