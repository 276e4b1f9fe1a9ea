"""What TorchServe's ports have in common: replies, errors in its words, and versions as it writes them.

An error is `{"code", "type", "message"}`, the type being the name of a Java exception. Its clients look at the status
and at the type, and some at the text, so where the original has a text for a fault, that is the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import uuid4

import orjson

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols import routes
from setsail.protocols.http import JSON, HttpReply, error_reply
from setsail.protocols.routes import Params, Wire

__all__ = ["HEADERS", "JSON_REPLY", "WIRE", "error_json", "ident", "model_ref", "pretty", "render_error", "reply",
           "version_of", "version_text"]  # fmt: skip

# What the original sends with every reply.
HEADERS: Final = (
    ("pragma", "no-cache"),
    ("cache-control", "no-cache; no-store, must-revalidate, private"),
    ("expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
)
JSON_REPLY: Final = (("content-type", JSON), *HEADERS)


def pretty(value: Any) -> bytes:
    """JSON with the original's indentation of two, and the newline that it ends with."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def reply(value: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, pretty(value), JSON_REPLY)


# -- versions ----------------------------------------------------------------------------------------------------------


def version_text(version: int) -> str:
    """A version as archives of TorchServe call theirs: `1.0`."""
    return f"{version}.0"


def version_of(text: str, model: str) -> int:
    """`1` and `1.0` are version 1. Raises `model.version` for what is none of ours."""
    whole, _, rest = text.partition(".")
    named = whole if not rest.strip("0") else text
    found = routes.model_ref({"model": model, "version": named}).version
    assert found is not None
    return found


def model_ref(params: Params) -> ModelRef:
    """The model a path means."""
    name, version = params["model"], params.get("version")
    return ModelRef(name, None if version is None else version_of(version, name))


# -- errors ------------------------------------------------------------------------------------------------------------


def render_error(error: SetsailError) -> HttpReply:
    status, body = error_json(error)
    told = error_reply(error, pretty(body))
    return HttpReply(status, told.body, (*told.headers, *HEADERS))


def error_json(error: SetsailError) -> tuple[int, dict[str, Any]]:
    """The status, and the body's object."""
    kind = _BY_CODE.get(error.code) or _BY_FAMILY.get(error.kind.family) or _Kind(error.family.http, _INTERNAL)
    message = kind.words(error) if kind.words is not None else ""
    return kind.status, {"code": kind.status, "type": kind.type, "message": message or str(error)}


class _Kind(NamedTuple):
    """How a fault is told. `words`: the original's, or "" where it has none for these facts."""

    status: int
    type: str
    words: Callable[[SetsailError], str] | None = None


def _no_model(error: SetsailError) -> str:
    name = error.facts.get("model")
    return f"Model not found: {name}" if name else ""


def _no_version(error: SetsailError) -> str:
    name, version = error.facts.get("model"), error.facts.get("version")
    return f"Model version: {_shown(version)} does not exist for model: {name}" if name and version else ""


def _no_worker(error: SetsailError) -> str:
    name = error.facts.get("model")
    return (
        f'Model "{name}" has no worker to serve inference request. Please use scale workers API to add workers. '
        "If this is a sequence inference, please check if it is closed, or expired; "
        "or exceeds maxSequenceJobQueueSize"
    ) if name else ""  # fmt: skip


def _is_there(error: SetsailError) -> str:
    name, version = error.facts.get("model"), error.facts.get("version")
    return f"Model version {_shown(version)} is already registered for model {name}" if name and version else ""


def _keeps_default(error: SetsailError) -> str:
    name = error.facts.get("model")
    return f"Cannot remove default version for model {name}" if name else ""


def _not_in_store(error: SetsailError) -> str:
    url = error.facts["url"]
    if error.facts.get("remote"):
        return f"Given URL {url} does not match any allowed URL(s)"
    return f"Relative path is not allowed in url: {url}"


def _shown(version: Any) -> str:
    return version_text(version) if isinstance(version, int) else str(version)


def _says(text: str) -> Callable[[SetsailError], str]:
    return lambda error: text


_INTERNAL: Final = "InternalServerException"
_BY_CODE: Final[Mapping[str, _Kind]] = {
    "model.unknown": _Kind(404, "ModelNotFoundException", _no_model),
    "model.version": _Kind(404, "ModelVersionNotFoundException", _no_version),
    "model.not_ready": _Kind(503, "ServiceUnavailableException", _no_worker),
    "model.failed": _Kind(503, "ServiceUnavailableException"),
    "model.busy": _Kind(503, "ServiceUnavailableException"),
    **dict.fromkeys(("model.run", "app.fault", "app.answer"), _Kind(503, _INTERNAL, _says("Prediction failed"))),
    "model.exists": _Kind(409, "ConflictStatusException", _is_there),
    "model.default": _Kind(400, "InvalidModelVersionException", _keeps_default),
    "model.name": _Kind(400, "InvalidModelException"),
    "store.none": _Kind(404, "ModelNotFoundException", _says("Model store has not been configured.")),
    "store.missing": _Kind(404, "ModelNotFoundException",
                           lambda error: f"Model not found in model store: {error.facts['url']}"),
    "store.outside": _Kind(404, "ModelNotFoundException", _not_in_store),
    "store.source": _Kind(400, "InvalidModelException"),
    "request.form": _Kind(400, "BadRequestException", lambda error: str(error.facts.get("original", ""))),
    "source.trust": _Kind(400, "InvalidModelException"),
    "control.refused": _Kind(405, "MethodNotAllowedException",
                             _says("Requested method is not allowed, please refer to API document.")),
    "request.path": _Kind(404, "ResourceNotFoundException",
                          _says("Requested resource is not found, please refer to API document.")),
    "request.method": _Kind(405, "MethodNotAllowedException",
                            _says("Requested method is not allowed, please refer to API document.")),
    "request.key": _Kind(400, "InvalidKeyException", _says(
        "Token Authorization failed. Token either incorrect, expired, or not provided correctly")),
}  # fmt: skip
_BY_FAMILY: Final[Mapping[str, _Kind]] = {
    "invalid": _Kind(400, "BadRequestException"),
    "media_type": _Kind(400, "BadRequestException"),
    "forbidden": _Kind(403, "IllegalArgumentException"),
    "not_found": _Kind(404, "ResourceNotFoundException"),
    "slow": _Kind(408, "RequestTimeoutException"),
    "deadline": _Kind(408, "RequestTimeoutException"),
    "conflict": _Kind(409, "ConflictStatusException"),
    "too_large": _Kind(413, "TooLongFrameException"),
    "unsupported": _Kind(501, "UnsupportedOperationException"),
    "exhausted": _Kind(503, "ServiceUnavailableException"),
    "unavailable": _Kind(503, "ServiceUnavailableException"),
}


# -- ids ---------------------------------------------------------------------------------------------------------------


def ident(headers: Mapping[str, str]) -> str:
    """A request's id: the client's, or one of the form of a UUID. Those are counted, because true ones cost as much as
    the rest of a small request."""
    return headers.get("x-request-id") or f"{_lead()}{next(_COUNT) & 0xFFFFFFFFFFFF:012x}"


@cache
def _lead() -> str:
    """What the ids that this process makes begin with."""
    return str(uuid4())[:24]


_COUNT: Final = count(1)
WIRE: Final = Wire("torchserve", "TorchServe", "docs/wires/torchserve.md", render_error, ident=ident)
