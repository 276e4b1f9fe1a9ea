"""The document: paths out of the table of routes, schemas out of signatures (OpenAPI 3.1.0, JSON Schema 2020-12).

Of all models it has each path once, with `{model}` in it and any model's body; of one model the paths have its name in
them, and the bodies are its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from setsail.catalog import ModelMetadata
from setsail.protocols.http import JSON
from setsail.protocols.openapi.answers import answer
from setsail.protocols.openapi.faults import responses
from setsail.protocols.openapi.predictions import Body, Prediction, prediction
from setsail.protocols.openapi.signatures import Signed, signed
from setsail.protocols.openapi.tensors import Schema
from setsail.protocols.routes import Route, Wire

__all__ = ["document"]

_KEY: Final = {"key": {"type": "http", "scheme": "bearer", "description": "a key of the server's --api-key-file"}}
_OPEN: Final = frozenset(("/", "/v2/health/live", "/v2/health/ready", "/ping"))  # answered without a key
_WITHOUT_BODY: Final = frozenset(("GET", "DELETE", "HEAD"))  # RFC 9110 §9.3: a body has no meaning there
_MEANINGS: Final[Mapping[str, str]] = {
    "model": "a model's name", "version": "a version of it, a positive integer", "label": "a label of a version",
}  # fmt: skip


def document(
    routes: Sequence[Route],
    models: Sequence[ModelMetadata],
    *,
    url: str,
    version: str,
    only: bool = False,
    keyed: bool = False,
) -> dict[str, Any]:
    """The OpenAPI document of a data port.

    Args:
        models: those that are ready; what paths without a version mean.
        url: where the port is.
        version: setsail's own.
        only: `models` is one, and the document is about it alone.
        keyed: whether the port asks for an API key.
    """
    named = _Named(models[0] if only else None, models)
    paths: dict[str, Any] = {}
    for route in routes:
        if only and "{model}" not in route.pattern:
            continue
        paths.setdefault(named.path(route), {}).setdefault(route.method.lower(), named.operation(route, keyed))
    about = f"Model `{models[0].name}`, version {models[0].version}." if only else "Every wire that speaks HTTP."
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": models[0].name if only else "setsail", "version": version, "description": about},
        "servers": [{"url": url}],
        "tags": [{"name": wire.name, "description": wire.title} for wire in _wires(routes)],
        "paths": paths,
        "components": {"schemas": named.schemas, "responses": named.faults}
        | ({"securitySchemes": _KEY} if keyed else {}),
    }
    return made | ({"security": [{"key": []}]} if keyed else {})


def _wires(routes: Iterable[Route]) -> Iterable[Wire]:
    return dict.fromkeys(route.wire for route in routes)


class _Named:
    """Operations, and the schemas they refer to.

    Attributes:
        schemas: of every model and wire that was asked for.
        faults: error responses of every wire.
    """

    def __init__(self, only: ModelMetadata | None, models: Sequence[ModelMetadata]) -> None:
        self._only, self._models = only, models
        self.schemas: dict[str, Schema] = {}
        self.faults: dict[str, Any] = {}

    def path(self, route: Route) -> str:
        return route.pattern if self._only is None else route.pattern.replace("{model}", self._only.name)

    def operation(self, route: Route, keyed: bool) -> dict[str, Any]:
        made: dict[str, Any] = {
            "tags": [route.wire.name],
            "summary": route.summary,
            "operationId": re.sub(r"\W+", "_", f"{route.wire.name} {route.method} {route.pattern}").strip("_"),
            "externalDocs": {"url": route.wire.page, "description": route.wire.title},
            "parameters": [self._parameter(name) for name in re.findall(r"\{(\w+)\}", self.path(route))],
        }
        told = prediction(route.wire.name, route.pattern) if route.predicts else None
        if told is not None:
            made["parameters"] += [
                {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
                for name, meaning in told.query
            ]
            if route.method not in _WITHOUT_BODY:
                made["requestBody"] = {"required": True, "content": self._content(told, told.requests, "request")}
            good = {"200": {"description": "the answer", "content": self._content(told, told.answers, "answer")}}
        else:
            good = self._other(route, made)
        faults = responses(route)
        shared = {status: _either(good[status], faults[status]) for status in good.keys() & faults.keys()}
        made["responses"] = good | {status: self._fault(route, status, faults[status]) for status in faults} | shared
        if keyed and route.pattern in _OPEN:
            made["security"] = []
        return made

    def _fault(self, route: Route, status: str, response: dict[str, Any]) -> dict[str, str]:
        """A reference to what all routes of a wire say of a status."""
        name = f"{route.wire.name}{'.predict' if route.predicts else ''}.{status}"
        self.faults.setdefault(name, response)
        return {"$ref": f"#/components/responses/{name}"}

    def _other(self, route: Route, made: dict[str, Any]) -> dict[str, Any]:
        row = answer(route.wire.name, route.method, route.pattern)
        if route.method not in _WITHOUT_BODY:
            schema = row.request if row is not None and row.request is not None else {}
            made["requestBody"] = {"content": {JSON: {"schema": schema}}}
        if row is None:
            return {} if route.summary.startswith("refused") else {"200": {"description": "the answer"}}
        said: dict[str, Any] = {"description": "the answer"}
        if row.schema is not None:
            said["content"] = {JSON: {"schema": row.schema}}
        return {str(status): said for status in (200, *row.statuses)}

    def _parameter(self, name: str) -> dict[str, Any]:
        schema: Schema = {"type": "string"}
        if name == "model" and self._models:
            schema = {"type": "string", "enum": [meta.name for meta in self._models]}
        elif name == "version":
            schema = {"type": "integer", "minimum": 1}
            if self._only is not None:
                schema = {"type": "integer", "enum": list(self._only.versions)}
        made = {"name": name, "in": "path", "required": True, "schema": schema}
        return made | ({"description": _MEANINGS[name]} if name in _MEANINGS else {})

    def _content(self, told: Prediction, bodies: Sequence[Body], side: str) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for body in bodies:
            models = [meant for meta in self._models if body.read(meta)
                      for meant in signed(meta)[: None if body.named else 1]]  # fmt: skip
            if self._models and not models:
                continue
            refs = [{"$ref": self._schema(told, body, side, meant)} for meant in models]
            media: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs} if refs else {}}
            if body.example is not None and models:
                media["examples"] = {_called(meant): {"value": body.example(meant)} for meant in models}
            content[body.media] = media
        return content

    def _schema(self, told: Prediction, body: Body, side: str, meta: Signed) -> str:
        kind = "" if body.media == JSON else "." + re.sub(r"\W+", "-", body.media)
        part = re.sub(r"\W+", "", told.part)
        name = ".".join(filter(None, (_called(meta), told.wire, part, side))) + kind
        self.schemas.setdefault(name, body.schema(meta))
        return f"#/components/schemas/{name}"


def _called(meta: Signed) -> str:
    """A model's name, and that of a signature which has to be named."""
    return f"{meta.name}.{meta.names[0]}" if meta.stated else meta.name


def _either(good: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    """One status that a good answer and a fault share, as 503 of a model's state is."""
    if "content" not in good:
        return {"description": fault["description"]}
    said = [part["content"][JSON]["schema"] for part in (good, fault) if JSON in part.get("content", {})]
    return {"description": fault["description"], "content": {JSON: {"schema": {"anyOf": said}}}}
