"""TorchServe's inference API: `/ping`, `/predictions/{model}` and what is older (docs/wires/torchserve.md).

A handler of TorchServe takes one item a request and decides itself what is in it. Here the body is read by its content
type (`payload.py`) as rows, and the answer is the model's default output as JSON with an indentation of two, one entry
a row, which is what `return output.tolist()` at the end of a handler gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from functools import partial
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from setsail.catalog import Index, IsReady, Metadata, ModelMetadata
from setsail.errors import SetsailError
from setsail.letters import REQUEST, Field, Letter, Reply
from setsail.messages import Body, ModelRef, Request, Response, Unread
from setsail.protocols import payload
from setsail.protocols.http import JSON, HttpReply, HttpRequest
from setsail.protocols.multipart import FORM, MULTIPART, Part, parts, urlencoded
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.routes import Exchange, Params, Route
from setsail.protocols.torchserve.wire import HEADERS, JSON_REPLY, WIRE, ident, model_ref, pretty, reply
from setsail.protocols.values import UNREAD, array_json, value_json

__all__ = ["OLDER", "ROUTES", "WIRE", "answer_json", "body_of", "replied"]

_VERBS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
_JSON_STARTS: Final = (b"[", b"{", b'"')


# -- predictions -------------------------------------------------------------------------------------------------------


def _predict(request: HttpRequest, params: Params) -> Exchange:
    return _exchange(request, model_ref(params), partial(_letter, request))


def _exchange(request: HttpRequest, model: ModelRef, letter: Callable[[], Letter]) -> Exchange:
    """A handler gets the request as it came; for any other model its body is rows, or the reason why it is none."""
    try:
        body = body_of(request.body, request.headers.get("content-type", ""))
    except SetsailError as fault:
        body = Unread(fault.kept())
    return Exchange(Request(model, body, id=ident(request.headers), letter=letter), _answer)


def _letter(request: HttpRequest, more: tuple[Field, ...] = ()) -> Letter:
    """A request's parameters as a handler is given them: the fields of a form, or `body`; and its headers.

    Raises:
        SetsailError: `request.form` for a form that cannot be read.
    """
    told, raw = request.headers.get("content-type", ""), bytes(request.body)
    kind = payload.kind_of(told)
    headers = {name: text for name, text in request.headers.items() if name not in _SECRET}
    if kind == MULTIPART:
        fields = [Field(part.name, part.data, part.kind) for part in parts(raw, told)]
    elif kind == FORM and raw.lstrip()[:1] not in _OPENINGS:  # which is also what curl -d says of JSON
        fields = [Field(part.name, part.data) for part in urlencoded(raw)]
    else:
        fields = [Field("body", raw, "" if kind == FORM else told)] if raw or not more else []
    return Letter((*more, *fields), headers)


_SECRET: Final = ("authorization", "cookie")  # what is the server's affair and not the handler's
_OPENINGS: Final = (b"{", b"[")


def _answer(response: Response) -> HttpReply:
    if response.signature.inputs[0].content == REQUEST:
        said = replied(response)
        return HttpReply(said.status, said.body, (*said.headers.items(), *HEADERS), response.id)
    return HttpReply(200, answer_json(response), JSON_REPLY, response.id)


def replied(response: Response) -> Reply:
    """What a handler answered to one request."""
    output, headers = (response.outputs[spec.name] for spec in response.signature.outputs)
    return Reply.of(str(output[0]), str(headers[0]))


def body_of(raw: bytes | memoryview, content_type: str) -> Body:
    """A request's body: by its type, and where there is none by what it is: JSON, a numpy file, or one row's text.

    Raises:
        SetsailError: what `payload.read` raises.
    """
    if content_type == JSON:
        return payload.json_body(raw)
    kind = payload.kind_of(content_type)
    if kind in payload.CSV_TYPES or kind.endswith("json") or kind in _TYPED:
        return payload.read(raw, content_type)
    if not raw or bytes(raw[:64]).lstrip()[:1] in _JSON_STARTS:
        return payload.json_body(raw)
    if kind == "":
        try:
            return payload.json_body(raw)
        except SetsailError as fault:
            if fault.code != "request.json":  # else a text, or a file, sent with `curl -T`
                raise
    return payload.read(raw, "application/octet-stream")


_TYPED: Final = frozenset((
    "multipart/form-data", "application/x-www-form-urlencoded", "application/x-npy", "application/x-npz",
    "application/jsonlines", "application/x-jsonlines", "application/x-ndjson",
))  # fmt: skip


def answer_json(response: Response) -> bytes:
    """The default output: a list with one entry a row, an object each where the default is several outputs.

    The classes of a picture are what the handler `image_classifier` answers: an object, label -> score, and no list
    around that of a single picture.

    Laid out as Python's `json.dumps(…, indent=2)` does, and like it with the bare tokens for what is not finite.
    """
    outputs, names = response.outputs, response.defaults
    if names == _RANKED and response.signature.inputs[0].content == "image":
        scores, classes = (outputs[name].tolist() for name in names)
        named = [dict(zip(map(str, row), values, strict=True)) for row, values in zip(classes, scores, strict=True)]
        return _indented(orjson.dumps(named[0] if len(named) == 1 else named))
    if len(names) == 1:
        array = outputs[names[0]]
        try:
            text = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2)
        except TypeError:  # text, a single value, or not in order in memory
            return _indented(array_json(array))
        return text if b"n" not in text else _indented(array_json(array))
    return _indented(value_json({name: outputs[name] for name in names}))


_RANKED: Final = ("scores", "classes")


def _indented(text: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2)
    except UNREAD:  # NaN
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False).encode()


def _explained(request: HttpRequest, params: Params) -> Exchange:
    raise SetsailError(
        "request.unsupported", "explanations are not answered here", field="path", value=request.path,
        expected="/predictions/{model}", todo="ask for a prediction",
    )  # fmt: skip


# -- older paths, and SageMaker's ------------------------------------------------------------------------------------


def _invoke(request: HttpRequest, params: Params) -> Exchange:
    """`/invocations`, `/models/m/invoke` and `/m/predict`: here the query may hold the inputs, too."""
    asked = parse_qsl(request.query, keep_blank_values=True)
    named = dict(params) | {_NAMES[key]: value for key, value in asked if key in _NAMES}
    model = model_ref(named) if "model" in named else ModelRef(ONLY_MODEL)
    rest = tuple(Part(key, value.encode()) for key, value in asked if key and key not in _NAMES)
    letter = partial(_letter, request, tuple(Field(part.name, part.data) for part in rest))
    if rest and not request.body:
        return Exchange(Request(model, payload.form(rest), id=ident(request.headers), letter=letter), _answer)
    return _exchange(request, model, letter)


_NAMES: Final = {"model_name": "model", "model_version": "version"}


# -- health and description ------------------------------------------------------------------------------------------


def _ping(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(), _health)


def _health(ready: bool) -> HttpReply:
    return reply({"status": "Healthy"}) if ready else reply({"status": "Unhealthy"}, 500)


def _describe(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Index(), lambda _: HttpReply(200, pretty(_description()), JSON_REPLY))


def _described(request: HttpRequest, params: Params) -> Exchange:
    """A model's own description: what is sent to this path, and what comes back."""

    def encode(meta: ModelMetadata) -> HttpReply:
        found = import_module(_SCHEMAS).prediction(WIRE.name, "/predictions/{model}")
        about = _description(("/predictions/{model}", "/predictions/{model}/{version}"))
        for operations in about["paths"].values():
            for operation in operations.values():
                operation["requestBody"] = {"content": _contents(found.requests, meta)}
                operation["responses"]["200"]["content"] = _contents(found.answers, meta)
        return HttpReply(200, pretty(about), JSON_REPLY)

    return Exchange(Metadata(model_ref(params)), encode)


def _contents(bodies: Iterable[Any], meta: ModelMetadata) -> dict[str, Any]:
    return {body.media: {"schema": body.schema(meta)} for body in bodies if body.read(meta)}


_SCHEMAS: Final = "setsail.protocols.openapi.predictions"


def _description(patterns: Collection[str] = ()) -> dict[str, Any]:
    """These paths as OpenAPI 3.0.1, as the original tells them; the admin port has more (`/openapi.json`).

    Args:
        patterns: which of them; all where none are given.
    """
    paths: dict[str, Any] = {}
    for route in (*ROUTES, *OLDER):
        if route.method == "OPTIONS" or (patterns and route.pattern not in patterns):
            continue
        names = [part[1:-1] for part in route.pattern.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {
            "description": route.summary,
            "operationId": (route.method + route.pattern).lower().replace("/", "_").replace("{", "").replace("}", ""),
            "parameters": [
                {"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in names
            ],
            "responses": {"200": {"description": route.summary, "content": {"application/json": {"schema": {}}}}},
        }
        paths.setdefault(route.pattern, {})[route.method.lower()] = operation
    return {
        "openapi": "3.0.1",
        "info": {"title": "TorchServe APIs", "description": "TorchServe's inference API, by setsail", "version": "1"},
        "paths": paths,
    }


def _every(pattern: str, decode: Any, summary: str, *, predicts: bool = True) -> tuple[Route, ...]:
    return tuple(Route(verb, pattern, decode, WIRE, summary, predicts=predicts) for verb in _VERBS)


ROUTES: Final = (
    Route("GET", "/ping", _ping, WIRE, "200 while everything is ready, else 500"),
    *_every("/predictions/{model}", _predict, "a prediction"),
    *_every("/predictions/{model}/{version}", _predict, "a prediction of one version"),
    *_every("/explanations/{model}", _explained, "refused", predicts=False),
    *_every("/explanations/{model}/{version}", _explained, "refused", predicts=False),
    *(
        Route("OPTIONS", f"/predictions/{{model}}{version}", _described, WIRE, "what the model takes and gives")
        for version in ("", "/{version}")
    ),
    Route("GET", "/api-description", _describe, WIRE, "these paths as OpenAPI 3.0.1"),
)
OLDER: Final = (
    *(
        route
        for pattern, summary in (
            ("/invocations", "a prediction of `model_name`, or of the only model"),
            ("/models/{model}/invoke", "a prediction, as SageMaker asks"),
            ("/{model}/predict", "a prediction, as before `/predictions`"),
            ("/{model}/{version}/predict", "a prediction of one version, as before `/predictions`"),
        )
        for route in _every(pattern, _invoke, summary)
    ),
)
