"""Requests inside CloudEvents, as KServe takes them, and answers in kind.

In binary mode the attributes are `ce-` headers and the body is the data; in structured mode one JSON object has both.
Specification: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md

The id of an answer follows from the source and id of its request, which name an event and no other: an event that is
delivered twice is answered twice with the same id. There is no `time`, which is optional: nothing here has a clock.
"""

from __future__ import annotations

import base64
import binascii
import os
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.protocols.http import JSON, HttpReply, HttpRequest
from setsail.protocols.payload import kind_of
from setsail.protocols.routes import Exchange, Params
from setsail.protocols.values import dump, parse

__all__ = ["STRUCTURED", "answering"]

STRUCTURED: Final = "application/cloudevents+json"
_ANY: Final = "application/cloudevents"
_VERSION: Final = "ce-specversion"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_ASCII: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')  # others are encoded
Decode = Callable[[HttpRequest, Params], Exchange]


class _Terms(NamedTuple):
    """How answers are described; KServe reads it from these variables."""

    type: str
    source: str
    merge: bool


@lru_cache(1)
def _terms() -> _Terms:
    merge = os.environ.get("CE_MERGE", "false").lower() == "true"
    return _Terms(os.environ.get("CE_TYPE", "io.kserve.inference.response"), os.environ.get("CE_SOURCE", ""), merge)


def answering(decode: Decode) -> Decode:
    """A decoder that also takes its requests inside CloudEvents."""

    def either(request: HttpRequest, params: Params) -> Exchange:
        headers = request.headers
        if _VERSION in headers:
            return _binary(decode, request, params)
        if headers.get("content-type", "").startswith(_ANY):
            return _structured(decode, request, params)
        return decode(request, params)

    return either


def _binary(decode: Decode, request: HttpRequest, params: Params) -> Exchange:
    attributes = {key[3:]: unquote(value) for key, value in request.headers.items() if key.startswith("ce-")}
    _check(attributes, "header ce-")
    exchange = decode(request, params)

    def encode(answer: Any) -> HttpReply:
        plain = exchange.encode(answer)
        told = _described(params["model"], attributes)
        headers = tuple((f"ce-{key}", quote(str(value), safe=_ASCII)) for key, value in told.items())
        return plain.plus(headers)

    return Exchange(exchange.ask, encode)


def _structured(decode: Decode, request: HttpRequest, params: Params) -> Exchange:
    kind = kind_of(request.headers["content-type"])
    if kind != STRUCTURED:
        raise SetsailError(
            "request.media_type", "events come one by one and as JSON", field="content-type", value=kind,
            expected=STRUCTURED, todo="send each event by itself",
        )  # fmt: skip
    event = parse(request.body)
    if not isinstance(event, dict):
        raise SetsailError("request.form", "the event is no object", value=event, expected="a CloudEvent")
    attributes = {key: value for key, value in event.items() if key not in ("data", "data_base64")}
    _check(attributes, "")
    exchange = decode(replace(request, body=_data(event)), params)

    def encode(answer: Any) -> HttpReply:
        plain = exchange.encode(answer)
        told = dump(_described(params["model"], attributes) | {"datacontenttype": JSON})
        body = b'%b,"data":%b}' % (told[:-1], plain.body)
        return HttpReply(plain.status, body, (("content-type", STRUCTURED),))

    return Exchange(exchange.ask, encode)


def _data(event: Mapping[str, Any]) -> bytes:
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as fault:
            raise SetsailError(
                "request.form", "the event's data_base64 is not base64", field="data_base64",
                expected="RFC 4648 base64",
            ) from fault  # fmt: skip
    return dump(event.get("data"))


def _check(attributes: Mapping[str, Any], where: str) -> None:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise SetsailError(
                "request.form", f"the CloudEvent has no {name}", field=f"{where}{name}", value=value,
                expected="the attributes " + ", ".join(_REQUIRED),
            )  # fmt: skip


def _described(model: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an answer; with CE_MERGE those of its request too."""
    terms = _terms()
    kept = dict(attributes) if terms.merge else {}
    for own in ("time", "datacontenttype"):
        kept.pop(own, None)
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{attributes['source']} {attributes['id']}")
    return kept | {
        "specversion": "1.0", "id": str(identity), "type": terms.type,
        "source": terms.source or f"io.kserve.inference.{model}",
    }  # fmt: skip
