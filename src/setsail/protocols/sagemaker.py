"""SageMaker's container contract: `/ping`, `/invocations`, `/execution-parameters`, and the multi-model paths.

The body of an invocation is whatever its Content-Type says (`payload.py`), the answer what Accept asks for: JSON, JSON
lines, CSV without a header, or .npy. It holds the model's default output (docs/wires/sagemaker.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

from msgspec import Struct

from setsail.catalog import (
    Describe,
    IsLive,
    IsReady,
    ModelDescription,
    Register,
    Registered,
    ServerInfo,
    Unregister,
)
from setsail.errors import SetsailError
from setsail.messages import Body, Columns, Digits, ModelRef, Request, Response, Rows
from setsail.protocols.accept import chosen
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.payload import read
from setsail.protocols.routes import Exchange, Params, Route, Wire
from setsail.protocols.sole import asked_model
from setsail.protocols.values import convert, dump, parse
from setsail.protocols.verbatim import verbatim

__all__ = ["MULTI_MODEL", "ROUTES", "WIRE", "Terms", "exchange", "multi_model", "routes", "terms"]

_ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
_INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
_PAGE: Final = 100  # models of one answer to GET /models


class Terms(Struct, frozen=True):
    """What the container's environment says about answers.

    Attributes:
        accept: the media type of an answer where the client does not say.
        transforms, strategy, payload_mb: what GET /execution-parameters tells a batch transform.
    """

    accept: str = "application/json"
    transforms: int = 1
    strategy: str = "MULTI_RECORD"
    payload_mb: int = 6


def terms(environment: Mapping[str, str]) -> Terms:
    """Of SageMaker's own variables. What they cannot mean is left at its default: the server's settings refuse it."""
    given = Terms()
    return Terms(
        environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or given.accept,
        _positive(environment.get("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"), os.cpu_count() or 1),
        environment.get("SAGEMAKER_BATCH_STRATEGY") or given.strategy,
        _positive(environment.get("SAGEMAKER_MAX_PAYLOAD_IN_MB"), given.payload_mb),
    )


def _positive(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and int(text[:9]) > 0 else otherwise


def render_error(error: SetsailError) -> HttpReply:
    """The platform hands the text to the caller as it is (`OriginalMessage` of a ModelError)."""
    return error_reply(error, dump({"error": str(error), "code": error.code}))


WIRE: Final = Wire("sagemaker", "Amazon SageMaker containers", "docs/wires/sagemaker.md", render_error)


# -- invocations -------------------------------------------------------------------------------------------------------


def exchange(request: HttpRequest, model: ModelRef, accept: str, body: Body | None = None) -> Exchange:
    """A prediction, answered as Accept asks.

    Args:
        accept: the answer's media type where the client does not say.
        body: of the request, where it was read already.

    Raises:
        SetsailError: what `payload.read` raises; `request.media_type` where nothing that is accepted can be written.
    """
    headers = request.headers
    body = read(request.body, headers.get("content-type", ""), header=False) if body is None else body
    body, wrapped = _unwrapped(body)
    asked = headers.get("accept", "")
    form = chosen(asked if asked not in ("", "*/*") else accept)
    attributes = headers.get(_ATTRIBUTES)
    told = () if attributes is None else (("X-Amzn-SageMaker-Custom-Attributes", attributes),)

    def encode(response: Response) -> HttpReply:
        return form.write(response, wrapped, told)

    return Exchange(Request(model, body, id=headers.get(_INFERENCE_ID, "")), encode)


_FEATURES: Final = {"features"}


def _unwrapped(body: Body) -> tuple[Body, bool]:
    """Built-in algorithms' form: `{"instances": […]}`, of which each may be `{"features": […]}`.

    Returns:
        The rows, and whether the answer is `{"predictions": …}` as theirs is.
    """
    if isinstance(body, Digits):
        return body, body.form.name == "instances"
    wrapped = isinstance(body, Columns) and isinstance(body.columns, dict) and body.columns.keys() == {"instances"}
    rows: Any = body.columns["instances"] if wrapped else body.rows if isinstance(body, Rows) else None  # type: ignore[union-attr]
    if isinstance(rows, list) and rows and isinstance(rows[0], dict) and rows[0].keys() == _FEATURES:
        return Rows(
            [row["features"] if isinstance(row, dict) and row.keys() == _FEATURES else row for row in rows]
        ), wrapped
    return body, wrapped


# -- multi-model endpoints ---------------------------------------------------------------------------------------------


class _Load(Struct):
    model_name: str
    url: str


def _load(request: HttpRequest, params: Params) -> Exchange:
    asked = convert(parse(request.body), _Load)

    def encode(answer: Registered) -> HttpReply:
        return HttpReply(200, dump({"modelName": answer.name, "modelUrl": asked.url}), JSON_HEADERS)

    return Exchange(Register(asked.url, asked.model_name, 1), encode)  # a name is loaded once, whatever its version


def _unload(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Unregister(params["model"]), lambda _: HttpReply(200))


def _list(request: HttpRequest, params: Params) -> Exchange:
    token = parse_qs(request.query).get("next_page_token", [""])[0]
    first = int(token) if token.isascii() and token.isdigit() and len(token) < 10 else 0
    if token and not first:
        raise SetsailError("request.form", "the page token is none of ours", field="next_page_token", value=token,
                           expected="the nextPageToken of the page before")  # fmt: skip

    def encode(answer: tuple[ModelDescription, ...]) -> HttpReply:
        body: dict[str, Any] = {"models": [_told(known) for known in answer[first : first + _PAGE]]}
        if first + _PAGE < len(answer):
            body["nextPageToken"] = str(first + _PAGE)
        return HttpReply(200, dump(body), JSON_HEADERS)

    return Exchange(Describe(), encode)


def _one(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: tuple[ModelDescription, ...]) -> HttpReply:
        return HttpReply(200, dump(_told(answer[0])), JSON_HEADERS)

    return Exchange(Describe(params["model"]), encode)


def _told(known: ModelDescription) -> dict[str, str]:
    """A model as the platform knows it: its own name for it, and where it put it."""
    return {"modelName": known.name, "modelUrl": known.source}


# -- routes ------------------------------------------------------------------------------------------------------------


def parameters(given: Terms) -> HttpReply:
    """The answer to GET /execution-parameters."""
    told = {"MaxConcurrentTransforms": given.transforms, "BatchStrategy": given.strategy,
            "MaxPayloadInMB": given.payload_mb}  # fmt: skip
    return HttpReply(200, dump(told), JSON_HEADERS)


def routes(given: Terms) -> tuple[Route, ...]:
    """The paths of a container with one model."""

    def ping(request: HttpRequest, params: Params) -> Exchange:
        return Exchange(IsReady(), lambda ready: HttpReply(200 if ready else 503))

    def invocations(request: HttpRequest, params: Params) -> Exchange:
        model = partial(asked_model, request)
        return verbatim(request, lambda: exchange(request, model(), given.accept), model)

    return (
        Route("GET", "/ping", ping, WIRE, "200 when every model is ready"),
        Route("POST", "/invocations", invocations, WIRE, "a prediction of the only model served", predicts=True),
        _execution_parameters(given),
    )


def _execution_parameters(given: Terms) -> Route:
    reply = parameters(given)
    return Route("GET", "/execution-parameters", lambda *_: Exchange(ServerInfo(), lambda _: reply), WIRE,
                 "what a batch transform should send")  # fmt: skip


def multi_model(given: Terms) -> tuple[Route, ...]:
    """The paths of a container whose models come and go; it is healthy without any."""

    def ping(request: HttpRequest, params: Params) -> Exchange:
        return Exchange(IsLive(), lambda yes: HttpReply(200 if yes else 503))

    def invoke(request: HttpRequest, params: Params) -> Exchange:
        model = ModelRef(params["model"])
        return verbatim(request, lambda: exchange(request, model, given.accept), lambda: model)

    return (
        Route("GET", "/ping", ping, WIRE, "200 while the server is up"),
        Route("POST", "/models", _load, WIRE, "load a model"),
        Route("GET", "/models", _list, WIRE, "the models, a page at a time"),
        Route("GET", "/models/{model}", _one, WIRE, "one model"),
        Route("DELETE", "/models/{model}", _unload, WIRE, "unload a model"),
        Route("POST", "/models/{model}/invoke", invoke, WIRE, "a prediction", predicts=True),
        _execution_parameters(given),
    )


TERMS: Final = terms(os.environ)  # read when a port that needs it is opened: the contract has them in the environment
ROUTES: Final = routes(TERMS)
MULTI_MODEL: Final = multi_model(TERMS)
