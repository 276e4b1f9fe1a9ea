"""`InferenceAPIsService`: what the REST paths answer, a request's parameters being a map (docs/wires/torchserve.md).

Faults end a call with the original's statuses and texts: a model that does not exist is INTERNAL there, and the last
line of a text names the exception.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from setsail.catalog import IsReady
from setsail.errors import SetsailError
from setsail.letters import REQUEST, Field, Letter
from setsail.messages import Body, Request, Response, Unread
from setsail.protocols import payload
from setsail.protocols.grpc.method import EACH, UNARY, Exchange, Method
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.templates import named
from setsail.protocols.http import JSON
from setsail.protocols.multipart import Part
from setsail.protocols.torchserve import wire
from setsail.protocols.torchserve.inference import answer_json, body_of, replied

__all__ = ["METHODS", "WIRE"]

WIRE: Final = "torchserve-grpc"
_PACKAGE: Final = "org.pytorch.serve.grpc.inference"
_INTERNAL: Final = 13
_JAVA: Final = {  # the last line of the text of faults that the original calls INTERNAL
    "model.unknown": "org.pytorch.serve.archive.model.ModelNotFoundException",
    "model.version": "org.pytorch.serve.archive.model.ModelVersionNotFoundException",
    "model.name": "BadRequestException.()",
    "model.not_ready": "InternalServerException.()",
    "model.failed": "InternalServerException.()",
    "model.busy": "InternalServerException.()",
}


def ping(data: bytes | memoryview) -> Exchange:
    parse(message("google.protobuf.Empty"), data)
    return Exchange(IsReady(), _health)


def _health(ready: bool) -> bytes:
    text = wire.pretty({"status": "Healthy" if ready else "Unhealthy"}).decode().rstrip()
    told: bytes = message(f"{_PACKAGE}.TorchServeHealthResponse")(health=text).SerializeToString()
    return told


def predictions(data: bytes | memoryview) -> Exchange:
    asked = parse(message(f"{_PACKAGE}.PredictionsRequest"), data)
    if not asked.model_name:
        raise SetsailError("model.name", "Parameter model_name is required.", field="model_name")
    params = {"model": asked.model_name} | ({"version": asked.model_version} if asked.model_version else {})
    try:
        body = _body(asked.input)
    except SetsailError as fault:
        body = Unread(fault.kept())
    return Exchange(Request(wire.model_ref(params), body, letter=partial(_letter, asked)), _answer)


def _letter(asked: Any) -> Letter:
    """The parameters as a handler is given them; they have no content types."""
    return Letter(tuple(Field(name, asked.input[name]) for name in sorted(asked.input)))


def _body(parameters: Any) -> Body:
    """The only parameter is the body, whatever its name; several are the fields of a form."""
    if len(parameters) == 1:
        return body_of(next(iter(parameters.values())), "")
    parts = []
    for name in sorted(parameters):
        value = parameters[name]
        listed = value.lstrip()[:1] in (b"[", b"{")
        parts.append(Part(name, value, kind=JSON if listed else ""))
    return payload.form(parts)


def _answer(response: Response) -> bytes:
    if response.signature.inputs[0].content == REQUEST:
        said = replied(response)
        if said.status >= 400:
            text = said.body.decode(errors="replace").strip()
            raise SetsailError("request.form" if said.status < 500 else "model.run", text, original=text)
        data: bytes = message(f"{_PACKAGE}.PredictionResponse")(prediction=said.body).SerializeToString()
        return data
    told: bytes = message(f"{_PACKAGE}.PredictionResponse")(prediction=answer_json(response)).SerializeToString()
    return told


def sequences(data: bytes | memoryview) -> Exchange:
    raise SetsailError(
        "request.unsupported", "StreamPredictions2, sequences of requests with a memory, is not answered here",
        expected="Predictions", todo="send each request on its own",
    )  # fmt: skip


def status_of(fault: SetsailError) -> tuple[int, str]:
    """How a call ends: as in the original where it has a status for this."""
    text = fault.what if fault.code == "model.name" else wire.error_json(fault)[1]["message"]
    if fault.code in _JAVA:
        return _INTERNAL, f"{text}\n{_JAVA[fault.code]}"
    return fault.family.grpc, text


def _methods() -> tuple[Method, ...]:
    path = f"/{_PACKAGE}.InferenceAPIsService/"
    return (
        Method(path + "Ping", UNARY, ping, wire=WIRE, status=status_of),
        Method(path + "Predictions", UNARY, predictions, model=named, wire=WIRE, status=status_of),
        Method(path + "StreamPredictions", EACH, predictions, model=named, wire=WIRE, status=status_of),
        Method(path + "StreamPredictions2", EACH, sequences, wire=WIRE, status=status_of),
    )


METHODS: Final = _methods()
