"""`:predict` answers in the shape of the request.

`instances` (rows) gives `predictions`, `inputs` (columns) gives `outputs`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from setsail.errors import SetsailError
from setsail.messages import Body, Columns, Form, Request, Response, Rows
from setsail.protocols import packed
from setsail.protocols.digits import Memo, one_row
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.identified import HEADER, identified
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.tf_serving.wire import answered
from setsail.protocols.values import (
    BARE,
    UNREAD,
    array_json,
    common_rows,
    dump,
    joined,
    key_json,
    parse_first,
    records_json,
    row_texts,
    texts,
    value_rows,
)
from setsail.shares import Share
from setsail.signature import DEFAULT
from setsail.tensors import Array

__all__ = ["COLUMNS", "decode_b64", "encode_rows", "predict"]


class _Sent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A body without keys of other servers, read straight from its bytes; everything else goes the general way."""

    instances: list[Any] | msgspec.UnsetType = msgspec.UNSET
    inputs: Any = msgspec.UNSET
    signature_name: str = DEFAULT


_read: Final = msgspec.json.Decoder(_Sent).decode


def predict(request: HttpRequest, params: Params) -> Exchange:
    exchange = _predict(request, params)
    return identified(request, exchange) if HEADER in request.headers else exchange


def _predict(request: HttpRequest, params: Params) -> Exchange:
    raw = request.body if type(request.body) is bytes else bytes(request.body)
    digits = _MEMO.find(raw) if len(raw) < packed.LONG else None
    if digits is not None:
        encode = _encode_columns if digits.form.note == COLUMNS else encode_rows
        return Exchange(Request(model_ref(params), digits), encode)
    sent = _long_form(raw) if len(raw) >= packed.LONG else None
    encoded = False
    if sent is None:
        sent, encoded = _any_form(raw), b'"b64"' in raw
    rows = sent.instances
    if rows is not msgspec.UNSET:
        body: Body = Rows(decode_b64(rows) if encoded else rows)
        return Exchange(Request(model_ref(params), body, None, sent.signature_name), encode_rows)
    body = Columns(decode_b64(sent.inputs) if encoded else sent.inputs, True)
    return Exchange(Request(model_ref(params), body, None, sent.signature_name), _encode_columns)


def _general(raw: bytes) -> Body:
    sent = _any_form(raw)
    return Columns(sent.inputs, True) if sent.instances is msgspec.UNSET else Rows(sent.instances)


def _learn(raw: bytes, count: int) -> Form | None:
    """A body of one row, which asks for nothing more."""
    try:
        sent = _read(raw)
    except UNREAD:
        return None
    if (sent.instances is msgspec.UNSET) == (sent.inputs is msgspec.UNSET) or sent.signature_name != DEFAULT:
        return None
    if sent.inputs is msgspec.UNSET:
        return one_row(count) if sent.instances == [[]] else None
    if sent.inputs == [[]]:
        return one_row(count, "inputs", note=COLUMNS)
    if not isinstance(sent.inputs, dict) or list(sent.inputs.values()) != [[[]]]:
        return None
    (name,) = sent.inputs
    return one_row(count, name, "ignoring", name=name, note=COLUMNS)


COLUMNS: Final = "inputs"  # of numbers that came as columns, and are answered so
_MEMO: Final = Memo(b"[[", b"", _learn, _general)


def _any_form(raw: bytes) -> _Sent:
    try:
        sent = _read(raw)
    except UNREAD:
        return _form(parse_first(raw))
    return sent if (sent.instances is msgspec.UNSET) != (sent.inputs is msgspec.UNSET) else _form(parse_first(raw))


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
    signature = body.get("signature_name", DEFAULT)
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


def decode_b64(value: Any) -> Any:
    """Replace every `{"b64": "…"}` by its bytes."""
    if isinstance(value, list):
        return [decode_b64(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        return {k: decode_b64(v) for k, v in value.items()}
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise SetsailError(
            "request.form", "a b64 value is not base64", field="b64", value=value["b64"], expected="RFC 4648 base64"
        ) from fault


def encode_rows(response: Response) -> HttpReply:
    outputs, names = response.outputs, response.defaults
    if type(outputs) is Share:
        return HttpReply(200, outputs.text(_bodies, response), JSON_HEADERS)
    if not common_rows({name: outputs[name] for name in names}):
        raise SetsailError(
            "request.form",
            "the outputs have no common rows",
            field="instances",
            value={name: outputs[name].shape[0] if outputs[name].ndim else None for name in names},
            expected="`inputs`, the column form",
        )
    if len(names) == 1:
        return answered(b'{"predictions":', _value_json(names[0], outputs[names[0]]), b"}")
    return answered(b'{"predictions":', records_json({name: _shown(name, outputs[name]) for name in names}), b"}")


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    rows = value_rows({name: _shown(name, outputs[name]) for name in response.defaults})
    return joined(((b'{"predictions":[', rows),), b"]}")


def _encode_columns(response: Response) -> HttpReply:
    outputs, names = response.outputs, response.defaults
    if type(outputs) is Share:
        return HttpReply(200, outputs.text(_columns, response), JSON_HEADERS)
    if len(names) == 1:
        return answered(b'{"outputs":', _value_json(names[0], outputs[names[0]]), b"}")
    fields = b",".join([key_json(name) + _value_json(name, outputs[name]) for name in names])
    return answered(b'{"outputs":{', fields, b"}}")


def _columns(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    names = response.defaults
    rows = [row_texts(_shown(name, outputs[name]), b"", BARE) for name in names]
    if len(names) == 1:
        return joined(((b'{"outputs":[', rows[0]),), b"]}")
    leads = [(b"]," if at else b'{"outputs":{') + key_json(name) + b"[" for at, name in enumerate(names)]
    return joined(zip(leads, rows, strict=True), b"]}}")


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
