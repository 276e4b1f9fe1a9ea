"""BF16, and bodies that nobody described."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply
from setsail.protocols.open_inference.tensors import from_bytes
from setsail.tensors import BY_NAME

Ask = Callable[..., HttpReply]


def code(reply: HttpReply) -> str:
    return dict(reply.headers)["x-setsail-error"]


def test_every_bf16_number_is_the_float32_it_is() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    bits = np.arange(1 << 16, dtype=np.uint16)
    tensor = from_bytes("x", "BF16", (256, 256), memoryview(bits.tobytes()))
    assert (tensor.dtype, tensor.shape) == (BY_NAME["float32"], (256, 256))
    with np.errstate(invalid="ignore"):
        truth = bits.view(bfloat16).astype(np.float32).reshape(256, 256)
    np.testing.assert_array_equal(tensor.data, truth)


def test_bf16_comes_as_bytes_only(ask: Ask) -> None:
    raw = (np.array([[0.5, -3]], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    item = {"name": "x", "shape": [1, 2], "datatype": "BF16"}
    header = json.dumps({"inputs": [item | {"parameters": {"binary_data_size": 4}}]}).encode()
    length = {"inference_header_content_length": str(len(header))}
    for model in ("echo-float32", "echo-float64"):  # it widens
        reply = ask("POST", f"/v2/models/{model}/infer", header + raw, **length)
        assert json.loads(reply.body)["outputs"][0]["data"] == [0.5, -3.0]
    assert code(ask("POST", "/v2/models/echo-float16/infer", header + raw, **length)) == "input.dtype"
    reply = ask("POST", "/v2/models/echo-float32/infer", {"inputs": [item | {"data": [1, 2]}]})
    assert code(reply) == "input.dtype"
    with pytest.raises(SetsailError) as caught:
        from_bytes("x", "BF16", (1, 2), memoryview(bytes(8)))
    assert caught.value.code == "request.binary"


def raw_body(ask: Ask, model: str, body: bytes) -> tuple[dict[str, Any], bytes, HttpReply]:
    reply = ask("POST", f"/v2/models/{model}/infer", body, inference_header_content_length="0")
    length = int(dict(reply.headers).get("Inference-Header-Content-Length", len(reply.body)))
    return json.loads(reply.body[:length]), reply.body[length:], reply


def test_a_raw_body_is_the_only_input_and_answered_in_bytes(ask: Ask) -> None:
    header, blob, _ = raw_body(ask, "echo-int16", np.array([[1, 2], [3, 4]], "<i2").tobytes())
    assert header["outputs"][0]["shape"] == [2, 2]
    assert blob == np.array([1, 2, 3, 4], "<i2").tobytes()
    header, blob, _ = raw_body(ask, "image", np.arange(6, dtype="<f4").tobytes())
    assert (header["outputs"][0]["shape"], np.frombuffer(blob, "<f4").tolist()) == ([1], [15.0])
    header, _, _ = raw_body(ask, "review", "good, é".encode())
    assert header["outputs"][0]["shape"] == [1, 2]
    header, blob, _ = raw_body(ask, "echo-bool", b"\x01\x00")
    assert blob == b"\x01\x00"


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("people", b"", "input.missing"),
        ("iris", bytes(33), "request.binary"),
        ("iris", b"", "input.empty"),
        ("echo-string", b"ab", "input.shape"),  # one text, and the model takes two
        ("review", b"\xff", "input.dtype"),
    ],
)
def test_raw_bodies_that_are_no_input(ask: Ask, model: str, body: bytes, expected: str) -> None:
    assert code(raw_body(ask, model, body)[2]) == expected
