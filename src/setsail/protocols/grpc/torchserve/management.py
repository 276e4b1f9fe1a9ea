"""`ManagementAPIsService`: what the REST paths answer, as the text of a message (docs/wires/torchserve.md).

A number that is 0 was not sent, so gRPC cannot say "no workers": it registers a model with none, and scales it to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.protocols.grpc.method import UNARY, Exchange, Method
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.torchserve import wire
from setsail.protocols.torchserve.orders import (
    Order,
    describing,
    listing,
    registering,
    scaling,
    setting_default,
    unregistering,
)  # fmt: skip

__all__ = ["METHODS", "WIRE"]

WIRE: Final = "torchserve-management-grpc"
_PACKAGE: Final = "org.pytorch.serve.grpc.management"
# Where the original's exceptions live, by their names: the last line of a status's text.
_JAVA: Final[Mapping[str, str]] = {
    "ModelNotFoundException": "org.pytorch.serve.archive.model.",
    "ModelVersionNotFoundException": "org.pytorch.serve.archive.model.",
    "InvalidModelException": "org.pytorch.serve.archive.model.",
    "BadRequestException": "org.pytorch.serve.http.",
    "ConflictStatusException": "org.pytorch.serve.http.",
    "InvalidModelVersionException": "org.pytorch.serve.http.",
    "InternalServerException": "org.pytorch.serve.http.",
}


def _describe(asked: Any) -> Order:
    return describing(_model(asked), asked.model_version or None, customized=asked.customized)


def _list(asked: Any) -> Order:
    return listing(_said(asked))


def _register(asked: Any) -> Order:
    return registering(_said(asked), wait=False)


def _scale(asked: Any) -> Order:
    return scaling(_model(asked), asked.model_version or None, _said(asked))


def _set_default(asked: Any) -> Order:
    return setting_default(_model(asked), asked.model_version)


def _unregister(asked: Any) -> Order:
    return unregistering(_model(asked), asked.model_version or None)


def _said(asked: Any) -> dict[str, Any]:
    """The fields that were sent."""
    return {field.name: value for field, value in asked.ListFields()}


def _model(asked: Any) -> str:
    if not asked.model_name:
        text = "Parameter model_name is required."
        raise SetsailError("request.form", text.rstrip("."), field="model_name", expected="a name", original=text)
    return str(asked.model_name)


def _method(name: str, kind: str, order: Callable[[Any], Order]) -> Method:
    def decode(data: bytes | memoryview) -> Exchange:
        made = order(parse(message(f"{_PACKAGE}.{kind}"), data))
        return Exchange(made.ask, lambda answer: _encode(made.told(answer)[1]))

    return Method(f"/{_PACKAGE}.ManagementAPIsService/{name}", UNARY, decode, wire=WIRE, status=status_of)


def _encode(value: Any) -> bytes:
    text = value if isinstance(value, str) else wire.pretty(value).decode().rstrip()
    told: bytes = message(f"{_PACKAGE}.ManagementResponse")(msg=text).SerializeToString()
    return told


def status_of(fault: SetsailError) -> tuple[int, str]:
    """How a call ends: our status, which is the original's where it has one, its text and its exception's name."""
    told = wire.error_json(fault)[1]
    java = _JAVA.get(told["type"])
    return fault.family.grpc, f"{told['message']}\n{java}{told['type']}" if java else told["message"]


METHODS: Final = (
    _method("DescribeModel", "DescribeModelRequest", _describe),
    _method("ListModels", "ListModelsRequest", _list),
    _method("RegisterModel", "RegisterModelRequest", _register),
    _method("ScaleWorker", "ScaleWorkerRequest", _scale),
    _method("SetDefault", "SetDefaultRequest", _set_default),
    _method("UnregisterModel", "UnregisterModelRequest", _unregister),
)
