"""How a case becomes a request of a server, and its reply numbers again. One row a wire, by name.

JSON is written as Python's `json` writes it: numbers of a table as people write them, an image as `tolist()` gives it,
which is what makes 3.1 MB of it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import Case

__all__ = ["WIRES", "Reply", "Wire", "framed", "http_request"]

Numbers = NDArray[np.float64]
_DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes


class Wire(NamedTuple):
    """Headers and body of a case; the numbers in a reply, in order."""

    encode: Callable[[Case, str], tuple[Mapping[str, str], bytes]]
    decode: Callable[[Reply], Numbers]
    method: str = "POST"


JSON: Final = {"content-type": "application/json"}


def _lists(array: NDArray[Any]) -> Any:
    if array.dtype == np.float32 and array.size < 1000:
        short = [float(str(value)) for value in array.ravel()]  # 5.1, not 5.099999904632568
        return np.reshape(short, array.shape).tolist()
    return array.tolist()


def _document(case: Case) -> dict[str, Any]:
    return {name: _lists(array) for name, array in case.inputs.items()}


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def _flat(value: Any) -> Numbers:
    """Every number under a JSON value, in order: outputs come as lists, by name, or as tensors with `data`."""
    if isinstance(value, dict):
        value = value.get("data", list(value.values()))
    if isinstance(value, list):
        if value and not isinstance(value[0], (list, dict)):
            return np.asarray(value, np.float64)
        return np.concatenate([_flat(item) for item in value]) if value else np.empty(0)
    return np.asarray([value], np.float64)


def _answer(reply: Reply) -> Numbers:
    document = json.loads(reply.body)
    return _flat(document["predictions" if "predictions" in document else "outputs"])


def _tensor(name: str, array: NDArray[Any], **rest: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": _DATATYPES[array.dtype.name], **rest}


def _v2(case: Case, model: str) -> tuple[Mapping[str, str], bytes]:
    inputs = [_tensor(name, array, data=_lists(array.ravel())) for name, array in case.inputs.items()]
    return JSON, _dumped({"inputs": inputs})


def _v2_binary(case: Case, model: str) -> tuple[Mapping[str, str], bytes]:
    inputs = [
        _tensor(name, array, parameters={"binary_data_size": array.nbytes}) for name, array in case.inputs.items()
    ]
    head = _dumped({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return headers, head + b"".join(array.tobytes() for array in case.inputs.values())


def _v2_binary_answer(reply: Reply) -> Numbers:
    head = int(reply.headers["inference-header-content-length"])
    return np.frombuffer(reply.body[head:], np.float32).astype(np.float64)


def _raw(case: Case, model: str) -> tuple[Mapping[str, str], bytes]:
    (array,) = case.inputs.values()
    return {"content-type": "application/octet-stream"}, array.tobytes()


# -- protobuf, as much of it as one request takes: protobuf.dev/programming-guides/encoding ---------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _grpc(case: Case, model: str) -> tuple[Mapping[str, str], bytes]:
    """`inference.ModelInferRequest` with raw contents."""
    inputs = b""
    for name, array in case.inputs.items():
        shape = b"".join(_varint(size) for size in array.shape)
        parts = (name.encode(), _DATATYPES[array.dtype.name].encode(), shape)
        inputs += _field(5, b"".join(_field(number, part) for number, part in enumerate(parts, 1)))
    raws = b"".join(_field(7, array.tobytes()) for array in case.inputs.values())
    return {"content-type": "application/grpc", "te": "trailers"}, _field(1, model.encode()) + inputs + raws


def _grpc_answer(reply: Reply) -> Numbers:
    """Field 6 of `inference.ModelInferResponse`, `raw_output_contents`; its fields are of length and varint only."""
    body, at, raws = reply.body, 0, b""

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(body):
        tag = number()
        size = number()
        if tag & 7 == 2:
            raws += body[at : at + size] if tag >> 3 == 6 else b""
            at += size
    return np.frombuffer(raws, np.float32).astype(np.float64)


def framed(message: bytes) -> bytes:
    """A gRPC message as it stands in an HTTP/2 stream."""
    return struct.pack(">BI", 0, len(message)) + message


WIRES: Final[Mapping[str, Wire]] = {
    # {"input": [[5.1, 3.5, 1.4, 0.2]]}
    "named": Wire(lambda case, model: (JSON, _dumped(_document(case))), _answer),
    # the same one level down, for servers that name their arguments
    "nested": Wire(lambda case, model: (JSON, _dumped({"tensors": _document(case)})), _answer),
    "mlflow": Wire(lambda case, model: (JSON, _dumped({"inputs": _document(case)})), _answer),
    "v2": Wire(_v2, _answer),
    "v2-binary": Wire(_v2_binary, _v2_binary_answer),
    "raw": Wire(_raw, lambda reply: np.frombuffer(reply.body, np.float32).astype(np.float64)),
    "grpc": Wire(_grpc, _grpc_answer),
    "echo": Wire(lambda case, model: (JSON, _dumped(_document(case))), lambda reply: np.empty(0)),
    # a body that nobody looks at; any 200 is right
    "discard": Wire(_raw, lambda reply: np.empty(0), "GET"),
}


def http_request(wire: Wire, case: Case, model: str, path: str, port: int) -> bytes:
    """The whole request as it goes over the socket."""
    headers, body = wire.encode(case, model)
    lines = [f"{wire.method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


if __name__ == "__main__":
    import sys

    from benchmarks.wire_costs import main  # what each wire of setsail's costs

    sys.exit(main())
