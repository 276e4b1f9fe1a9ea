"""How TensorFlow Serving's wires tell a fault: with the text of every wire, and the words its clients look for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.protocols.http import JSON_HEADERS, HttpReply, error_reply
from setsail.protocols.routes import Wire
from setsail.protocols.values import dump

__all__ = ["ORIGINAL", "WIRE", "answered", "told"]

_PAGE: Final = "docs/wires/tf-serving.md"
_MALFORMED: Final = frozenset(("request.path", "request.method"))
_MISSING: Final = frozenset(("model.unknown", "model.version", "model.not_ready", "model.failed"))
# What the original answers to a version that it has not got ready; KServe's clients are told 503.
_NOT_THERE: Final[Mapping[str, int]] = {"model.not_ready": 404, "model.failed": 404}


def told(fault: SetsailError) -> str:
    """The text of a fault."""
    text = str(fault)
    if fault.code in _MALFORMED and "path" in fault.facts:
        return f"Malformed request: {fault.facts['method']} {fault.facts['path']} {text}"
    if fault.code in _MISSING and (name := _model(fault)):
        exactly = f"Specific({name}, {fault.value})" if fault.code == "model.version" else f"Latest({name})"
        return f"{text} Servable not found for request: {exactly}"
    return text


def _model(fault: SetsailError) -> Any:
    return fault.facts.get("model")


def _render(fault: SetsailError, statuses: Mapping[str, int]) -> HttpReply:
    reply = error_reply(fault, dump({"error": told(fault)}))
    status = statuses.get(fault.code, reply.status)
    if fault.code in _MALFORMED and str(fault.facts.get("path", "")).lower().startswith("/v1/"):
        status = 400
    return HttpReply(status, reply.body, reply.headers)


WIRE: Final = Wire(
    "tf-serving", "TensorFlow Serving and KServe V1", _PAGE, lambda fault: _render(fault, {}), preflight=200
)
# The same wire on a port of its own, where it need not agree with KServe's.
ORIGINAL: Final = Wire("tf-serving", "TensorFlow Serving", _PAGE, lambda fault: _render(fault, _NOT_THERE))


def answered(*parts: bytes) -> HttpReply:
    """A reply of JSON in pieces."""
    return HttpReply(200, b"".join(parts), JSON_HEADERS)
