"""The error answers of a wire, as it writes them itself: each code is rendered, and what comes out is described.

So the document cannot say anything else than the server does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from setsail.errors import KINDS, SetsailError
from setsail.protocols.http import JSON, HttpReply
from setsail.protocols.openapi.tensors import Schema
from setsail.protocols.routes import Route, Wire
from setsail.protocols.values import parse

__all__ = ["responses"]

_NOT_HTTP: Final = frozenset(("request.version", "request.cancelled", "server.worker"))
_PREDICTING: Final = ("input.", "output.", "request.", "model.", "server.")
_ASKING: Final = ("request.", "model.", "server.", "control.")
_ELSEWHERE: Final = frozenset(("model.name",))
_TYPES: Final[Mapping[type, str]] = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


def responses(route: Route) -> dict[str, Any]:
    """The error responses of a route by status."""
    return _responses(route.wire, _PREDICTING if route.predicts else _ASKING)


@lru_cache(64)
def _responses(wire: Wire, areas: tuple[str, ...]) -> dict[str, Any]:
    found: dict[int, list[tuple[str, HttpReply]]] = {}
    for code in KINDS:
        if code.startswith(areas) and code not in _NOT_HTTP | _ELSEWHERE:
            replies = {reply.status: reply for reply in map(wire.render_error, _samples(code))}
            for status, reply in replies.items():
                found.setdefault(status, []).append((code, reply))
    return {str(status): _response(found[status]) for status in sorted(found)}


def _samples(code: str) -> Iterable[SetsailError]:
    """With and without the facts that some wires look at."""
    for facts in ({}, {"method": "GET", "path": "/v1/a"}):
        yield SetsailError(code, KINDS[code].meaning, field="x", value=1, expected="another", **facts)


def _response(replies: list[tuple[str, HttpReply]]) -> dict[str, Any]:
    """One status: the codes it may stand for, its body, its header."""
    codes = [code for code, _ in replies]
    headers = {"x-setsail-error": {"description": "the code of the fault", "schema": {"enum": codes}}}
    said = " ".join(f"`{code}`: {KINDS[code].meaning}" for code in codes)
    return {"description": said, "headers": headers, "content": _content([reply for _, reply in replies])}


def _content(replies: Iterable[HttpReply]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for reply in replies:
        media = dict(reply.headers).get("content-type", JSON).partition(";")[0]
        if media not in made:
            example: Any = parse(reply.body) if media == JSON else reply.body.decode()
            made[media] = {"schema": _shape(example), "example": example}
    return made


def _shape(example: Any) -> Schema:
    """The form of a body: its keys with the types they have, and room for facts that only some faults have."""
    if not isinstance(example, dict):
        return {"type": _TYPES[type(example)]}
    facts = {key: _shape(value) if key not in _FACTS else {} for key, value in example.items()}
    return {"type": "object", "properties": facts, "required": [key for key in facts if key not in _FACTS]}


# What only some faults have, of any type.
_FACTS: Final = frozenset(("field", "value", "expected", "row", "method", "path"))
