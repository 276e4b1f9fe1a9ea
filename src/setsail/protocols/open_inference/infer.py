"""A prediction: a request of the protocol to what is asked.

Tensors come as JSON (flat or nested, row-major) or, with the binary tensor extension, as bytes after the JSON header,
whose length is in `Inference-Header-Content-Length`. Content types are not looked at: the protocol's main client sends
none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import Digits, Request, Response, Tensor, Tensors
from setsail.protocols import packed
from setsail.protocols.digits import Memo
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.open_inference import classification, content_types
from setsail.protocols.open_inference.answers import (
    AnswerForm,
    deflated,
    encode_plainly,
    encode_raw,
    prefers_deflate,
)
from setsail.protocols.open_inference.form import Infer, Input, Wanted, read
from setsail.protocols.open_inference.refusals import refuse_parameters, signature_of
from setsail.protocols.open_inference.tensors import from_bytes, from_list
from setsail.protocols.open_inference.unread import ANY_NAME, MEMO, Heads
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.signature import DEFAULT

__all__ = ["infer", "infer_any_name"]

HEADER_LENGTH: Final = "inference-header-content-length"
_NOTHING: Final = memoryview(b"")


def infer(request: HttpRequest, params: Params) -> Exchange:
    """The one request of `/infer`."""
    exchange = _exchange(request, params, MEMO, _HEADS)
    return _deflated(request, exchange) if "accept-encoding" in request.headers else exchange


def infer_any_name(request: HttpRequest, params: Params) -> Exchange:
    """The same for servers whose models of one input do not look at its name."""
    exchange = _exchange(request, params, ANY_NAME, _ANY_HEADS)
    ask = exchange.ask
    if isinstance(ask, Request) and type(ask.body) is Tensors:
        exchange = Exchange(replace(ask, body=Tensors(ask.body.tensors, any_name=True)), exchange.encode)
    return _deflated(request, exchange) if "accept-encoding" in request.headers else exchange


def _deflated(request: HttpRequest, exchange: Exchange) -> Exchange:
    if not prefers_deflate(request.headers["accept-encoding"]):
        return exchange
    return Exchange(exchange.ask, deflated(exchange.encode))


_HEADS: Final = Heads(any_name=False)
_ANY_HEADS: Final = Heads(any_name=True)


def _exchange(request: HttpRequest, params: Params, memo: Memo, heads: Heads) -> Exchange:
    raw = request.body
    length = request.headers.get(HEADER_LENGTH)
    if length is None or type(raw) is not bytes or len(raw) >= packed.LONG:
        return _read(request, params, memo)
    found = heads.find(raw, length)
    if found is None:
        exchange = _read(request, params, memo)
        assert isinstance(exchange.ask, Request)
        heads.learn(raw, int(length), exchange.ask, exchange.encode)
        return exchange
    text, known = found
    again = partial(_again, len(raw) - len(text), heads is _ANY_HEADS)
    asked = known.asked
    digits = Digits(text, known.form, raw, again)
    return Exchange(
        Request(model_ref(params), digits, asked.outputs, asked.signature, "", asked.parameters), known.encode
    )


def _again(length: int, any_name: bool, raw: bytes) -> Tensors:
    view = memoryview(raw)
    return Tensors(tuple(_mixed_tensors(read(view[:length]), view[length:])), any_name=any_name)


def _read(request: HttpRequest, params: Params, memo: Memo) -> Exchange:
    raw = request.body
    if type(raw) is bytes and len(raw) < packed.LONG and HEADER_LENGTH not in request.headers and b'"id"' not in raw:
        digits = memo.find(raw)
        if digits is not None:
            return Exchange(Request(model_ref(params), digits), encode_plainly)
    header, blobs = _split(request) if HEADER_LENGTH in request.headers else (request.body, None)
    if not header and blobs is not None:
        return Exchange(Request(model_ref(params), Tensors((Tensor("", bytes(blobs)),))), encode_raw)
    body = read(header)
    if blobs is None and len(body.inputs) == 1 and not (body.outputs or body.id or body.parameters):
        (only,) = body.inputs  # what most requests are; the general way below says the same of it
        if not only.parameters:
            return Exchange(Request(model_ref(params), Tensors((from_list(only),))), encode_plainly)
    items: list[Input | Wanted] = [*body.inputs, *body.outputs]
    extended = bool(body.parameters)
    for item in items:
        if item.parameters:
            extended = True
    if extended:
        refuse_parameters([(item.name, item.parameters) for item in items], body.parameters)
    if extended or blobs is not None:
        tensors = _mixed_tensors(body, _NOTHING if blobs is None else blobs)
    else:
        tensors = [from_list(item) for item in body.inputs]
    wanted = tuple([w.name for w in body.outputs]) if body.outputs else None
    signature = signature_of(body.parameters) if extended else DEFAULT
    ask = Request(model_ref(params), Tensors(tuple(tensors)), wanted, signature, body.id, body.parameters)
    if not extended:
        return Exchange(ask, AnswerForm(body.id, wanted).encode if wanted or body.id else encode_plainly)
    return Exchange(ask, _answer_form(body, wanted))


def _answer_form(body: Infer, wanted: tuple[str, ...] | None) -> Callable[[Response], HttpReply]:
    """What the parameters say of the answer. Flags of an output beat the request's `binary_data_output`."""
    default = bool(body.parameters.get("binary_data_output", False))
    typed = content_types.KEY in body.parameters
    for item in body.inputs:
        typed = typed or content_types.KEY in item.parameters
    if wanted is None and not (body.id or typed):
        return encode_raw if default else encode_plainly
    binary, classes = {}, {}
    for output in body.outputs:
        own = output.parameters
        if own:
            content_types.of_output(output.name, own.get(content_types.KEY))
            binary[output.name] = bool(own.get("binary_data", default))
            if count := classification.count(output.name, own):
                classes[output.name] = count
    return AnswerForm(body.id, wanted, binary, default, classes, typed).encode


def _mixed_tensors(body: Infer, blobs: memoryview) -> list[Tensor]:
    """Tensors as JSON or as bytes after the JSON header, and not a byte more; read as their content types say."""
    tensors, at, whole = [], 0, body.parameters.get(content_types.KEY)
    for item in body.inputs:
        size = _binary_size(item, len(blobs) - at) if item.parameters else None
        tensor = _tensor(item, None if size is None else blobs[at : at + size])
        if whole is not None or content_types.KEY in item.parameters:
            tensor = content_types.decoded(tensor, item.parameters.get(content_types.KEY), whole)
        tensors.append(tensor)
        at += size or 0
    if at != len(blobs):
        raise SetsailError(
            "request.binary",
            f"{len(blobs) - at} bytes follow the last tensor",
            value=len(blobs),
            expected=f"{at} bytes after the JSON header",
        )
    return tensors


def _split(request: HttpRequest) -> tuple[bytes | memoryview, memoryview]:
    """The JSON header and the bytes after it; without a header all bytes are the value of the model's only input."""
    view = memoryview(request.body)
    text = request.headers[HEADER_LENGTH]
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if not 0 <= length <= len(view):
        raise SetsailError(
            "request.binary",
            "Inference-Header-Content-Length does not fit the body",
            field="Inference-Header-Content-Length",
            value=text,
            expected=f"the JSON header's length, 1 to {len(view)}, or 0 for a raw body",
        )
    return view[:length], view[length:]


def _binary_size(item: Input, left: int) -> int | None:
    size = item.parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        raise SetsailError(
            "request.binary",
            f"input {item.name!r} does not fit the bytes after the JSON header",
            field=f"{item.name}.parameters.binary_data_size",
            value=size,
            expected=f"0 to {left}",
        )
    if item.data is not msgspec.UNSET:
        raise SetsailError(
            "request.binary",
            f"input {item.name!r} has both data and binary_data_size",
            field=item.name,
            expected="one of them",
        )
    return size


def _tensor(item: Input, blob: memoryview | None) -> Tensor:
    return from_list(item) if blob is None else from_bytes(item.name, item.datatype, item.shape, blob)
