"""TensorFlow Serving's REST API and KServe's V1, which share their paths (docs/wires/tf-serving.md).

`:predict` answers in the shape of the request: `instances` (rows) gives `predictions`, `inputs` (columns) gives
`outputs`. Status is the union of both servers' bodies.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from setsail.catalog import STATES, Index, IsLive, Metadata, ModelMetadata, Status, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import Body, Columns, Request, Response, Rows
from setsail.protocols import packed
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.routes import Exchange, Params, Route, Wire, model_ref
from setsail.protocols.values import UNREAD, array_json, dump, key_json, parse, records_json, texts
from setsail.signature import TensorSpec
from setsail.tensors import Array

__all__ = ["ROUTES", "WIRE"]

DEFAULT_SIGNATURE: Final = "serving_default"


def render_error(error: SetsailError) -> HttpReply:
    return error_reply(error, dump({"error": str(error)}))


WIRE: Final = Wire("tf-serving", "TensorFlow Serving and KServe V1", "docs/wires/tf-serving.md", render_error)


# -- predict -----------------------------------------------------------------------------------------------------------


class _Sent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A body without keys of other servers, read straight from its bytes; everything else goes the general way."""

    instances: list[Any] | msgspec.UnsetType = msgspec.UNSET
    inputs: Any = msgspec.UNSET
    signature_name: str = DEFAULT_SIGNATURE


_read: Final = msgspec.json.Decoder(_Sent).decode


def _predict(request: HttpRequest, params: Params) -> Exchange:
    raw = request.body if type(request.body) is bytes else bytes(request.body)
    sent = _long_form(raw) if len(raw) >= packed.LONG else None
    encoded = False
    if sent is None:
        sent, encoded = _any_form(raw), b'"b64"' in raw
    rows = sent.instances
    if rows is not msgspec.UNSET:
        body: Body = Rows(_decode_b64(rows) if encoded else rows)
        return Exchange(Request(model_ref(params), body, None, sent.signature_name), _encode_rows)
    body = Columns(_decode_b64(sent.inputs) if encoded else sent.inputs, True)
    return Exchange(Request(model_ref(params), body, None, sent.signature_name), _encode_columns)


def _any_form(raw: bytes) -> _Sent:
    try:
        sent = _read(raw)
    except UNREAD:
        return _form(parse(raw))
    return sent if (sent.instances is msgspec.UNSET) != (sent.inputs is msgspec.UNSET) else _form(parse(raw))


_OPENING: Final = re.compile(rb'"(?:instances|inputs)"\s*:\s*\[')


def _long_form(raw: bytes) -> _Sent | None:
    """The same with numbers as an array; None where the body has anything else than one long list of them."""
    opening = _OPENING.search(raw, 0, 256)
    if opening is None:
        return None
    start, end = opening.end() - 1, raw.rfind(b"]") + 1
    rest = packed.cut(raw, start, end)
    if len(rest) > 512 or b"\\" in rest:  # without one, the opening is a key and its list, not part of a text
        return None
    try:
        sent = _read(rest)
    except UNREAD:
        return None
    values = packed.numbers(raw[start:end]) if (sent.instances == []) != (sent.inputs == []) else None
    if values is None:
        return None
    if sent.instances == []:
        sent.instances = values  # type: ignore[assignment]
    else:
        sent.inputs = values
    return sent if sent.instances is msgspec.UNSET or sent.inputs is msgspec.UNSET else None


def _form(body: Any) -> _Sent:
    """The general way: other keys are left alone, as TensorFlow Serving does, and every fault is named."""
    if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
        raise SetsailError(
            "request.form",
            "the body needs exactly one of `instances` and `inputs`",
            value=sorted(body) if isinstance(body, dict) else body,
            expected='{"instances": [row, …]} or {"inputs": {name: values, …}}',
        )
    signature = body.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise SetsailError(
            "request.form", "signature_name is no text", field="signature_name", value=signature, expected="a name"
        )
    if "inputs" in body:
        return _Sent(inputs=body["inputs"], signature_name=signature)
    rows = body["instances"]
    if not isinstance(rows, list):
        raise SetsailError(
            "request.form", "`instances` is no list", field="instances", value=rows, expected="a list of rows"
        )
    return _Sent(rows, signature_name=signature)


def _decode_b64(value: Any) -> Any:
    """Replace every `{"b64": "…"}` by its bytes."""
    if isinstance(value, list):
        return [_decode_b64(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        return {k: _decode_b64(v) for k, v in value.items()}
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise SetsailError(
            "request.form", "a b64 value is not base64", field="b64", value=value["b64"], expected="RFC 4648 base64"
        ) from fault


def _encode_rows(response: Response) -> HttpReply:
    outputs, names = response.outputs, response.defaults
    if len({outputs[name].shape[:1] for name in names} | {()}) != 2:
        raise SetsailError(
            "request.form",
            "the outputs have no common rows",
            field="instances",
            value={name: outputs[name].shape[0] if outputs[name].ndim else None for name in names},
            expected="`inputs`, the column form",
        )
    if len(names) == 1:
        return _ok(b'{"predictions":', _value_json(names[0], outputs[names[0]]), b"}")
    return _ok(b'{"predictions":', records_json({name: _shown(name, outputs[name]) for name in names}), b"}")


def _encode_columns(response: Response) -> HttpReply:
    outputs, names = response.outputs, response.defaults
    if len(names) == 1:
        return _ok(b'{"outputs":', _value_json(names[0], outputs[names[0]]), b"}")
    fields = b",".join([key_json(name) + _value_json(name, outputs[name]) for name in names])
    return _ok(b'{"outputs":{', fields, b"}}")


def _shown(name: str, array: Array) -> Array | list[Any]:
    """Text of an output named `…_bytes` goes out as base64, which is TensorFlow Serving's rule for bytes."""
    if array.dtype.kind not in "OUST" or not name.endswith("_bytes"):
        return array
    return _as_b64(texts(array) if array.ndim else [texts(array)])


def _as_b64(value: list[Any]) -> list[Any]:
    return [
        _as_b64(v) if isinstance(v, list) else None if v is None else {"b64": base64.b64encode(v.encode()).decode()}
        for v in value
    ]


def _value_json(name: str, array: Array) -> bytes:
    if array.dtype.kind not in "OUST":
        return array_json(array)
    value = _shown(name, array)
    return dump(value) if isinstance(value, list) else array_json(value)


def _ok(*parts: bytes) -> HttpReply:
    return HttpReply(200, b"".join(parts), JSON_HEADERS)


def _refused(request: HttpRequest, params: Params) -> Exchange:
    raise SetsailError(
        "request.unsupported",
        f":{params['verb']} is not answered here",
        field="path",
        value=request.path,
        expected=":predict",
        todo="send the same rows to :predict",
    )


# -- status and metadata -----------------------------------------------------------------------------------------------


def _status(request: HttpRequest, params: Params) -> Exchange:
    name = params["model"]

    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        ready = any(s.ready for s in answer)
        body = {"name": name, "ready": ready, "model_version_status": [_status_json(s) for s in answer]}
        return HttpReply(200 if ready else 503, dump(body), JSON_HEADERS)

    return Exchange(Status(model_ref(params)), encode)


def _status_json(status: VersionStatus) -> dict[str, Any]:
    """One entry; int64 is text, as protobuf's JSON has it."""
    code = "INTERNAL" if status.state == "failed" else "OK"
    return {
        "version": str(status.version),
        "state": STATES[status.state].tf,
        "status": {"error_code": code, "error_message": status.reason},
    }


def _metadata(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(Metadata(model_ref(params)), lambda answer: _ok(dump(metadata_json(answer))))


def metadata_json(meta: ModelMetadata) -> dict[str, Any]:
    """`signature_def` is nested twice, as the original's is. Each output is also a signature of its own."""
    inputs = {s.name: _tensor_info(s) for s in meta.signature.inputs}
    outputs = {s.name: _tensor_info(s) for s in meta.signature.outputs}
    defaults = {n: outputs[n] for n in meta.signature.defaults}
    signatures = {n: _signature_def(inputs, {n: info}) for n, info in outputs.items()}
    signatures[DEFAULT_SIGNATURE] = _signature_def(inputs, defaults)
    return {
        "model_spec": {"name": meta.name, "signature_name": "", "version": str(meta.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _signature_def(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict", "defaults": {}}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(d), "name": ""} for d in spec.oip_shape()]
    return {"dtype": spec.dtype.tf, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": f"{spec.name}:0"}


def _names(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return _ok(dump({"models": list(dict.fromkeys(s.name for s in answer))}))

    return Exchange(Index(), encode)


def _alive(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsLive(), lambda yes: _ok(b'{"status":"alive"}'))


def _routes() -> tuple[Route, ...]:
    rows = [
        Route("GET", "/", _alive, WIRE, "200 while the process is up"),
        Route("GET", "/v1/models", _names, WIRE, "names of the models"),
    ]
    for part in ("", "/versions/{version}", "/labels/{label}"):
        model = "/v1/models/{model}" + part
        rows += [
            Route("POST", model + ":predict", _predict, WIRE, "a prediction", predicts=True),
            Route("POST", model + ":{verb}", _refused, WIRE, "refused: classify, regress, explain"),
            Route("GET", model, _status, WIRE, "state of the versions"),
            Route("GET", model + "/metadata", _metadata, WIRE, "signatures"),
        ]
    return tuple(rows)


ROUTES: Final = _routes()
