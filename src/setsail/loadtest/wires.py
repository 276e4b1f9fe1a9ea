"""Requests and answers of each wire, as a client writes and reads them. Pure.

A row of the table per `--wire`. Two answers agree when they are equal but for the last digits of numbers: a row that
shared its run with others may differ from one that did not by what parity allows (`docs/parity.md`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.loadtest.orders import Answer
from setsail.parity import ABSOLUTE, RELATIVE
from setsail.protocols import binary
from setsail.protocols.values import BARE, array_json, dump, parse
from setsail.signature import TensorSpec
from setsail.tensors import BY_OIP, Array

__all__ = ["WIRES", "Piece", "Wire", "agree", "http_request"]

_LENGTH: Final = "Inference-Header-Content-Length"
_POOL: Final = "setsail.protocols.grpc.pool"  # loads protobuf

Piece = Mapping[str, Array]
Body = tuple[bytes, Mapping[str, str]]  # and headers besides Content-Length and Host


class Wire(Struct, frozen=True):
    """How a wire asks and is read.

    Attributes:
        title: for people.
        body: (model, specs, arrays, signature) -> the body and headers; gRPC: the message. The signature is "" for the
            default one.
        path: with `{model}`.
        read: an answer as plain values. Raises ValueError (or a SetsailError) for what is not one.
        named: whether a request can name a signature.
    """

    title: str
    body: Callable[..., Body]
    path: str
    read: Callable[[Answer], Any]
    channel: str = "http"
    named: bool = True


def http_request(path: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "User-Agent: setsail-bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


_JSON: Final = {"Content-Type": "application/json"}


def _v2(model: str, specs: Sequence[TensorSpec], piece: Piece, signature: str = "") -> Body:
    parts = [
        _entry(s, piece[s.name])[:-1] + b',"data":' + array_json(piece[s.name].ravel(), BARE) + b"}" for s in specs
    ]
    named = b',"parameters":' + dump({"signature": signature}) if signature else b""
    return b'{"inputs":[' + b",".join(parts) + b"]" + named + b"}", _JSON


def _entry(spec: TensorSpec, array: Array, **more: Any) -> bytes:
    return dump({"name": spec.name, "datatype": spec.dtype.oip, "shape": list(array.shape)} | more)


def _v2_binary(model: str, specs: Sequence[TensorSpec], piece: Piece, signature: str = "") -> Body:
    blobs = [binary.pack(piece[s.name]) for s in specs]
    entries = [
        _entry(s, piece[s.name], parameters={"binary_data_size": len(blob)})
        for s, blob in zip(specs, blobs, strict=True)
    ]
    parameters = {"binary_data_output": True} | ({"signature": signature} if signature else {})
    head = b'{"inputs":[' + b",".join(entries) + b'],"parameters":' + dump(parameters) + b"}"
    headers = {"Content-Type": "application/octet-stream", _LENGTH: str(len(head))}
    return b"".join((head, *blobs)), headers


def _v1(model: str, specs: Sequence[TensorSpec], piece: Piece, signature: str = "") -> Body:
    named = b'"signature_name":' + dump(signature) + b"," if signature else b""
    if not all(s.batched for s in specs):
        return b"{" + named + b'"inputs":' + _columns(specs, piece) + b"}", _JSON
    if len(specs) == 1:
        return b"{" + named + b'"instances":' + array_json(piece[specs[0].name], BARE) + b"}", _JSON
    count = len(piece[specs[0].name])
    rows = [
        b"{" + b",".join(dump(s.name) + b":" + _value(piece[s.name][i]) for s in specs) + b"}" for i in range(count)
    ]
    return b"{" + named + b'"instances":[' + b",".join(rows) + b"]}", _JSON


def _value(value: Any) -> bytes:
    array = np.asarray(value, dtype=object) if isinstance(value, str) else np.asarray(value)
    return array_json(array, BARE)


def _columns(specs: Sequence[TensorSpec], piece: Piece) -> bytes:
    return b"{" + b",".join(dump(s.name) + b":" + _value(piece[s.name]) for s in specs) + b"}"


def _plain(model: str, specs: Sequence[TensorSpec], piece: Piece, signature: str = "") -> Body:
    if len(specs) == 1 and specs[0].batched:
        return array_json(piece[specs[0].name], BARE), _JSON
    return _columns(specs, piece), _JSON


def _grpc(model: str, specs: Sequence[TensorSpec], piece: Piece, signature: str = "") -> Body:
    pool = import_module(_POOL)
    request = pool.message("inference.ModelInferRequest")(model_name=model)
    if signature:
        request.parameters["signature"].string_param = signature
    for spec in specs:
        array = piece[spec.name]
        request.inputs.add(name=spec.name, datatype=spec.dtype.oip, shape=list(array.shape))
        request.raw_input_contents.append(binary.pack(array))
    return request.SerializeToString(), {}


# -- answers -----------------------------------------------------------------------------------------------------------


def _read_json(answer: Answer) -> Any:
    value = parse(answer.body)
    if isinstance(value, dict):
        value.pop("id", None)
    return value


def _read_binary(answer: Answer) -> Any:
    stated = answer.headers.get(_LENGTH.lower())
    if stated is None:
        return _read_json(answer)
    length = int(stated)
    value, at = parse(answer.body[:length]), length
    for output in value["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            output["data"] = _unpacked(output, memoryview(answer.body)[at : at + size])
            at += size
    return value


def _unpacked(output: Mapping[str, Any], data: memoryview) -> Any:
    return binary.unpack(output["name"], BY_OIP[output["datatype"]], tuple(output["shape"]), data).ravel().tolist()


def _read_grpc(answer: Answer) -> Any:
    pool = import_module(_POOL)
    reply = pool.parse(pool.message("inference.ModelInferResponse"), answer.body)
    found = [{"name": o.name, "datatype": o.datatype, "shape": list(o.shape)} for o in reply.outputs]
    for output, raw in zip(found, reply.raw_output_contents, strict=False):
        output["data"] = _unpacked(output, memoryview(raw))
    return found


def agree(a: Any, b: Any) -> bool:
    """Whether two values read from answers are the same but for last digits of numbers."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(agree(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, float) or isinstance(b, float):
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b)):
            return False
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= ABSOLUTE + RELATIVE * abs(b)
    return type(a) is type(b) and bool(a == b)


WIRES: Final[Mapping[str, Wire]] = {
    "v2": Wire("Open Inference Protocol v2, JSON", _v2, "/v2/models/{model}/infer", _read_json),
    "v2-binary": Wire("Open Inference Protocol v2, binary tensors", _v2_binary, "/v2/models/{model}/infer",
                      _read_binary),
    "v1": Wire("TensorFlow Serving's JSON", _v1, "/v1/models/{model}:predict", _read_json),
    "plain": Wire("plain JSON", _plain, "/predict/{model}", _read_json, named=False),
    "grpc": Wire("Open Inference Protocol v2, gRPC", _grpc, "/inference.GRPCInferenceService/ModelInfer", _read_grpc,
                 "grpc"),
}  # fmt: skip
