"""Open Inference Protocol v2 over REST, as Triton and KServe speak it (docs/wires/open-inference.md).

Tensors come and go as JSON (flat or nested, row-major) or, with the binary tensor extension, as bytes after the JSON
header. The JSON header's length is in `Inference-Header-Content-Length`. Content types are not looked at: the
protocol's main client sends none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from setsail.catalog import (
    EXTENSIONS,
    STATES,
    Index,
    IsLive,
    IsReady,
    Load,
    Metadata,
    ModelMetadata,
    ServerInfo,
    Unload,
    VersionStatus,
)
from setsail.errors import SetsailError
from setsail.messages import Request, Response, Tensor, Tensors
from setsail.protocols import binary, packed
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.oip import (
    SERVER_NAME,
    datatype,
    load_parameters,
    no_repository,
    refuse_extensions,
    server_version,
)
from setsail.protocols.oip import shape as declared_shape
from setsail.protocols.routes import Exchange, Params, Route, Wire, model_ref
from setsail.protocols.values import UNREAD, array_json, convert, dump, parse
from setsail.signature import TensorSpec
from setsail.tensors import BY_OIP, Numbers, dtype_of

__all__ = ["ROUTES", "WIRE"]

HEADER_LENGTH: Final = "inference-header-content-length"
_NOTHING: Final = memoryview(b"")


def render_error(error: SetsailError) -> HttpReply:
    return error_reply(error, dump({"error": str(error)}))


WIRE: Final = Wire("open-inference", "Open Inference Protocol v2", "docs/wires/open-inference.md", render_error)


# -- the body of an infer request --------------------------------------------------------------------------------------


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = msgspec.UNSET


class _Wanted(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Wanted] = []


# The same without unknown keys, which msgspec would skip without a look at their values: read straight from the bytes.
class _ExactInput(_Input, gc=False, forbid_unknown_fields=True):
    pass


class _ExactWanted(_Wanted, gc=False, forbid_unknown_fields=True):
    pass


class _ExactInfer(_Infer, gc=False, forbid_unknown_fields=True):
    inputs: list[_ExactInput]  # type: ignore[assignment]
    outputs: list[_ExactWanted] = []  # type: ignore[assignment]


_read: Final = msgspec.json.Decoder(_ExactInfer).decode


def _form(header: bytes | memoryview) -> _Infer:
    try:
        if len(header) >= packed.LONG:
            form = _long_form(bytes(header))
            if form is not None:
                return form
        return _read(header)
    except UNREAD:
        return convert(parse(header), _Infer)


_MOST_CUTS: Final = 64  # each may look through the whole text
_COLON_LIST: Final = re.compile(rb"\s*:\s*\[")


def _long_form(header: bytes) -> _Infer | None:
    """The same with numbers as arrays: every list called data is cut out and read by itself.

    None where that could go wrong. Without a backslash left, `"data":` is a key and nothing else; there must be as
    many as inputs, and each input must be left with an empty list.
    """
    cuts: list[tuple[int, int]] = []
    rest: list[bytes] = []
    at = 0
    while (found := header.find(b'"data"', at)) >= 0:
        match = _COLON_LIST.match(header, found + 6)
        end = _list_end(header, match.end()) if match else -1
        if match is None or end < 0 or len(cuts) == _MOST_CUTS:
            return None
        cuts.append((match.end() - 1, end))
        rest.append(header[at : match.end() - 1])
        at = end
    rest.append(header[at:])
    text = b"[]".join(rest)
    form: _Infer = _read(text)
    if b"\\" in text or len(form.inputs) != len(cuts) or any(item.data != [] for item in form.inputs):
        return None
    for item, (start, end) in zip(form.inputs, cuts, strict=True):
        dtype = BY_OIP.get(item.datatype)
        item.data = packed.numbers(header[start:end], dtype.kind if dtype else None)
        if item.data is None:
            return None
    return form


def _list_end(text: bytes, start: int) -> int:
    """Where a list of numbers, or of such lists, ends; -1 where that is not seen at once."""
    end = text.find(b"]", start)
    if end < 0 or text.find(b"[", start, end) < 0:
        return end + 1 or -1
    ends = [end for after in (b"]}", b'],"', b'], "') if (end := text.find(after, start)) >= 0]
    return min(ends) + 1 if ends else -1


def _infer(request: HttpRequest, params: Params) -> Exchange:
    header, blobs = _split(request) if HEADER_LENGTH in request.headers else (request.body, None)
    body = _form(header)
    if blobs is None and len(body.inputs) == 1 and not (body.outputs or body.id or body.parameters):
        (only,) = body.inputs  # what most requests are; the general way below says the same of it
        if not only.parameters:
            return Exchange(Request(model_ref(params), Tensors((_tensor(only, None),))), _encode_plainly)
    items: list[_Input | _Wanted] = [*body.inputs, *body.outputs]
    extended = bool(body.parameters)
    for item in items:
        if item.parameters:
            extended = True
    if extended:
        refuse_extensions([(item.name, item.parameters) for item in items], body.parameters)
    if extended or blobs is not None:
        tensors = _mixed_tensors(body, _NOTHING if blobs is None else blobs)
    else:
        tensors = [_tensor(item, None) for item in body.inputs]
    wanted = tuple([w.name for w in body.outputs]) if body.outputs else None
    ask = Request(model_ref(params), Tensors(tuple(tensors)), wanted, "serving_default", body.id, body.parameters)
    if wanted is None and not body.id and not extended:
        return Exchange(ask, _encode_plainly)
    form = _AnswerForm(body.id, wanted, _binary_outputs(body), bool(body.parameters.get("binary_data_output", False)))
    return Exchange(ask, form.encode)


def _mixed_tensors(body: _Infer, blobs: memoryview) -> list[Tensor]:
    """Tensors as JSON or as bytes after the JSON header, and not a byte more."""
    tensors, at = [], 0
    for item in body.inputs:
        size = _binary_size(item, len(blobs) - at) if item.parameters else None
        if size is None:
            tensors.append(_tensor(item, None))
        else:
            tensors.append(_tensor(item, blobs[at : at + size]))
            at += size
    if at != len(blobs):
        raise SetsailError(
            "request.binary",
            f"{len(blobs) - at} bytes follow the last tensor",
            value=len(blobs),
            expected=f"{at} bytes after the JSON header",
        )
    return tensors


def _split(request: HttpRequest) -> tuple[bytes | memoryview, memoryview]:
    """The JSON header and the bytes after it."""
    view = memoryview(request.body)
    text = request.headers[HEADER_LENGTH]
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if not 0 < length <= len(view):
        raise SetsailError(
            "request.binary",
            "Inference-Header-Content-Length does not fit the body"
            if length
            else "a raw body (Inference-Header-Content-Length: 0) is not supported",
            field="Inference-Header-Content-Length",
            value=text,
            expected=f"the JSON header's length, 1 to {len(view)}",
        )
    return view[:length], view[length:]


def _binary_size(item: _Input, left: int) -> int | None:
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


def _tensor(item: _Input, blob: memoryview | None) -> Tensor:
    dtype, shape = datatype(item.name, item.datatype), declared_shape(item.name, item.shape)
    if blob is not None:
        return Tensor(item.name, binary.unpack(item.name, dtype, shape, blob), dtype, shape)
    if not isinstance(item.data, list | Numbers):
        raise SetsailError(
            "request.form",
            f"input {item.name!r} has no list `data`",
            field=f"{item.name}.data",
            value=None if item.data is msgspec.UNSET else item.data,
            expected="a list of values, or binary_data_size and bytes after the JSON header",
        )
    return Tensor(item.name, item.data, dtype, shape)


# -- the answer --------------------------------------------------------------------------------------------------------


def _binary_outputs(body: _Infer) -> Mapping[str, bool]:
    """Per-output flags; they beat the request-wide `binary_data_output`."""
    return {w.name: bool(w.parameters["binary_data"]) for w in body.outputs if "binary_data" in w.parameters}


class _AnswerForm(Struct, frozen=True):
    """How a client wants its answer: echoed id, order of outputs, which of them as bytes."""

    id: str
    wanted: tuple[str, ...] | None
    binary: Mapping[str, bool]
    binary_default: bool

    def encode(self, response: Response) -> HttpReply:
        parts, blobs = [_top(response.model, response.version)], []
        if self.id:
            parts += (b',"id":', dump(self.id))
        opening = b',"outputs":['
        for name in dict.fromkeys(self.wanted) if self.wanted else response.outputs:
            array = response.outputs[name]
            entry = _entry(name, array.dtype, array.shape)
            if self.binary.get(name, self.binary_default):
                blobs.append(binary.pack(array))
                parts += (opening, entry, b',"parameters":{"binary_data_size":%d}' % len(blobs[-1]))
            else:
                parts += (opening, entry, b',"data":', array_json(array.ravel()))
            opening = b"},"
        parts.append(b"}]}" if len(parts) > 3 else b',"outputs":[]}')
        if not blobs:
            return HttpReply(200, b"".join(parts), JSON_HEADERS)
        header = b"".join(parts)
        return HttpReply(200, b"".join((header, *blobs)), _binary_headers(len(header)))


_encode_plainly: Final = _AnswerForm("", None, {}, False).encode


@lru_cache(1024)
def _top(model: str, version: int) -> bytes:
    return dump({"model_name": model, "model_version": str(version)})[:-1]


@lru_cache(4096)
def _entry(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """One output's description, still open."""
    known = dtype_of(np.empty(0, dtype))
    return dump({"name": name, "datatype": known.oip if known else "BYTES", "shape": shape})[:-1]


@lru_cache(1024)
def _binary_headers(length: int) -> tuple[tuple[str, str], ...]:
    return (("content-type", "application/octet-stream"), ("Inference-Header-Content-Length", str(length)))


# -- health, metadata, repository --------------------------------------------------------------------------------------


def _json(status: int, value: Any) -> HttpReply:
    return HttpReply(status, dump(value), JSON_HEADERS)


def _flag(name: str, extra: Mapping[str, Any] | None = None) -> Callable[[bool], HttpReply]:
    return lambda yes: _json(200 if yes else 503, {**(extra or {}), name: yes})


def _live(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsLive(), _flag("live"))


def _ready(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(), _flag("ready"))


def _model_ready(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsReady(model_ref(params)), _flag("ready", {"name": params["model"]}))


def _server(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: object) -> HttpReply:
        return _json(200, {"name": SERVER_NAME, "version": server_version(), "extensions": list(EXTENSIONS)})

    return Exchange(ServerInfo(), encode)


def _metadata(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Metadata(model_ref(params)), lambda answer: _json(200, metadata_json(answer)))


def metadata_json(meta: ModelMetadata) -> dict[str, Any]:
    """A model's metadata; -1 stands for a free dimension."""

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": s.name, "datatype": s.dtype.oip, "shape": s.oip_shape()} for s in specs]

    return {
        "name": meta.name,
        "versions": [str(v) for v in meta.versions],
        "platform": meta.framework,
        "inputs": tensors(meta.signature.inputs),
        "outputs": tensors(meta.signature.outputs),
    }


def _names(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return _json(200, {"models": list(dict.fromkeys(s.name for s in answer))})

    return Exchange(Index(), encode)


class _IndexBody(msgspec.Struct):
    ready: bool = False


class _ControlBody(msgspec.Struct):
    parameters: dict[str, Any] = {}


def _index(request: HttpRequest, params: Params) -> Exchange:
    body = convert(parse(request.body), _IndexBody) if len(request.body) else _IndexBody()

    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return _json(200, [
            {"name": s.name, "version": str(s.version), "state": STATES[s.state].oip, "reason": s.reason}
            for s in answer
        ])  # fmt: skip

    return Exchange(Index(body.ready), encode)


def _load(request: HttpRequest, params: Params) -> Exchange:
    body = convert(parse(request.body), _ControlBody) if len(request.body) else _ControlBody()
    load_parameters(body.parameters)
    name = params["model"]
    return Exchange(Load(name), lambda answer: _json(200, {"name": name, "load": True}))


def _unload(request: HttpRequest, params: Params) -> Exchange:
    name = params["model"]
    return Exchange(Unload(name), lambda answer: _json(200, {"name": name, "unload": True}))


def _other_repository(request: HttpRequest, params: Params) -> Exchange:
    raise no_repository(params["repository"])


def _routes() -> tuple[Route, ...]:
    rows: list[tuple[str, str, Callable[[HttpRequest, Params], Exchange], str]] = [
        ("GET", "/v2", _server, "server metadata"),
        ("GET", "/v2/health/live", _live, "200 while the process is up"),
        ("GET", "/v2/health/ready", _ready, "200 when every model is ready"),
        ("GET", "/v2/models", _names, "names of the models"),
        ("POST", "/v2/repository/index", _index, "every version of every model and its state"),
        ("POST", "/v2/repository/{repository}/index", _other_repository, "refused: repositories have no names"),
        ("POST", "/v2/repository/models/{model}/load", _load, "load a model (needs model control)"),
        ("POST", "/v2/repository/models/{model}/unload", _unload, "unload a model (needs model control)"),
    ]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        rows += [
            ("GET", model, _metadata, "inputs and outputs of a model"),
            ("GET", model + "/ready", _model_ready, "200 when the model is ready"),
            ("POST", model + "/infer", _infer, "a prediction"),
        ]
    return tuple(Route(*row[:3], WIRE, row[3], predicts=row[2] is _infer) for row in rows)


ROUTES: Final = _routes()
