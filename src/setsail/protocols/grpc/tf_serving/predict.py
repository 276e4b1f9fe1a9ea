"""`Predict`: named tensors in, named tensors and the model's spec out."""

from __future__ import annotations

from typing import Final

from setsail.errors import SetsailError
from setsail.messages import Request, Tensors
from setsail.protocols.grpc.method import Exchange
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.tf_serving.answers import Answer
from setsail.protocols.grpc.tf_serving.spec import model_ref, signature
from setsail.protocols.grpc.tf_serving.templates import Templates
from setsail.protocols.grpc.tf_serving.tensors import tensor

__all__ = ["predict", "request"]

_TEMPLATES: Final = Templates()


def predict(data: bytes | memoryview) -> Exchange:
    asked = _TEMPLATES.request(data) or _read(data)
    return Exchange(asked, Answer(asked.signature, asked.outputs).encode)


def _read(data: bytes | memoryview) -> Request:
    """What no template knows, read by protobuf; the next message like it is."""
    asked = request(data)
    _TEMPLATES.learn(data, asked)
    return asked


def request(data: bytes | memoryview) -> Request:
    """A message of any form as a request. `client_id` and `request_options` change no answer and are not looked at.

    Raises:
        SetsailError: `request.malformed`, `request.form`, `request.binary`, `request.unsupported`, `model.version`,
            `output.unknown`, `input.dtype`, `input.shape` or `input.range`.
    """
    asked = parse(message("tensorflow.serving.PredictRequest"), data)
    if asked.HasField("predict_streamed_options"):
        raise SetsailError(
            "request.unsupported", "the request is a part of a stream", field="predict_streamed_options",
            todo="send it without: every request is answered by itself",
        )  # fmt: skip
    wanted = tuple(asked.output_filter)
    for name in wanted:
        if wanted.count(name) > 1:
            raise SetsailError(
                "output.unknown", f"output {name!r} is asked for twice", field="output_filter", value=list(wanted),
                expected="each output once",
            )  # fmt: skip
    tensors = Tensors(tuple(tensor(name, asked.inputs[name]) for name in asked.inputs))
    spec = asked.model_spec
    return Request(model_ref(spec), tensors, wanted or None, signature(spec))
