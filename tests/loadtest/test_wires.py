"""Requests of each wire say what the rows are, to setsail's own decoders; answers are compared as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail import binding
from setsail.loadtest.orders import Answer
from setsail.loadtest.wires import WIRES, agree, http_request
from setsail.messages import Request, Response
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array


def signature(*inputs: str) -> Signature:
    return Signature(tuple(map(TensorSpec.parse, inputs)), (TensorSpec.parse("y:float32[N]"),), ("y",))


TABLE = signature("input:float32[N,3]")
MIXED = signature("age:int64[N]", "member:bool[N]", "city:string[N]", "pixels:float64[N,2,2]")
WHOLE = signature("image:float32[2,2]", "scale:float32[1]")
PIECES: list[tuple[Signature, Mapping[str, Array]]] = [
    (TABLE, {"input": np.array([[0.1, -2, 3e7], [4, 5, 6]], np.float32)}),
    (
        MIXED,
        {
            "age": np.array([2**62, -1]),
            "member": np.array([True, False]),
            "city": np.array(["Rome", 'O"slo é'], dtype=object),
            "pixels": np.arange(8.0).reshape(2, 2, 2) / 3,
        },
    ),
    (WHOLE, {"image": np.eye(2, dtype=np.float32), "scale": np.array([0.5], np.float32)}),
]


def decoded(wire: str, contract: Signature, piece: Mapping[str, Array], named: str = "") -> Request:
    """What setsail's server reads out of a request."""
    kind = WIRES[wire]
    body, headers = kind.body("m", contract.inputs, piece, named)
    if kind.channel == "grpc":
        exchange = METHODS[kind.path].decode(body)
    else:
        path = kind.path.format(model="m")
        lower = {name.lower(): value for name, value in headers.items()}
        exchange = DATA.route(HttpRequest("POST", path, "", lower, body))
    assert isinstance(exchange.ask, Request)
    return exchange.ask


@pytest.mark.parametrize(("contract", "piece"), PIECES)
@pytest.mark.parametrize("wire", [name for name, wire in WIRES.items() if wire.named])
def test_requests_name_a_signature_where_their_wire_can(
    wire: str, contract: Signature, piece: Mapping[str, Array]
) -> None:
    asked, other = decoded(wire, contract, piece), decoded(wire, contract, piece, "regress")
    assert (asked.signature, other.signature) == ("serving_default", "regress")
    for name, array in binding.bind(contract, other.body).items():
        np.testing.assert_array_equal(array, binding.bind(contract, asked.body)[name])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("contract", "piece"), PIECES, ids=["table", "mixed", "whole"])
def test_what_is_sent_is_what_is_read(wire: str, contract: Signature, piece: Mapping[str, Array]) -> None:
    ask = decoded(wire, contract, piece)
    assert ask.model.name == "m"
    arrays = binding.bind(contract, ask.body)
    for name, array in piece.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array), name


def test_a_request_is_whole() -> None:
    raw = http_request("/v2/models/m/infer", "h:1", {"X-Y": "z"}, b"body")
    assert raw == (
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\nUser-Agent: setsail-bench\r\nX-Y: z\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )


OUTPUTS = {"label": np.array([1, 0]), "scores": np.array([[0.25, np.nan]], np.float32), "text": np.array(["a"], object)}
NAMED = Signature(
    (TensorSpec.parse("x:float32[N]"),),
    tuple(map(TensorSpec.parse, ("label:int64[N]", "scores:float32[N,2]", "text:string[N]"))),
    tuple(OUTPUTS),
)
PIECE = {"x": np.array([1.0], np.float32)}


def answer(wire: str, outputs: Mapping[str, Array]) -> Answer:
    """What setsail answers with these outputs."""
    kind = WIRES[wire]
    body, headers = kind.body("m", NAMED.inputs, PIECE)
    response = Response("m", 1, outputs, tuple(outputs), NAMED)
    if kind.channel == "grpc":
        return Answer(0, "OK", {}, METHODS[kind.path].decode(body).encode(response))
    lower = {name.lower(): value for name, value in headers.items()}
    reply = DATA.route(HttpRequest("POST", kind.path.format(model="m"), "", lower, body)).encode(response)
    return Answer(0, "200", {name.lower(): value for name, value in reply.headers}, reply.body)


@pytest.mark.parametrize("wire", ["v2", "v2-binary", "grpc", "plain"])
def test_answers_agree_but_for_last_digits(wire: str) -> None:
    read: Callable[[Answer], Any] = WIRES[wire].read
    first = read(answer(wire, OUTPUTS))
    near = {**OUTPUTS, "scores": np.array([[0.2501, np.nan]], np.float32)}
    far = {**OUTPUTS, "scores": np.array([[0.26, np.nan]], np.float32)}
    other = {**OUTPUTS, "label": np.array([1, 1])}
    text = {**OUTPUTS, "text": np.array(["b"], object)}
    assert agree(read(answer(wire, near)), first)
    for outputs in (far, other, text):
        assert not agree(read(answer(wire, outputs)), first)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@given(values)
def test_everything_agrees_with_itself(value: Any) -> None:
    assert agree(value, value)


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 2), (1, True), (1.0, "1.0"), ([1], [1, 1]), ({"a": 1}, {"b": 1}), (None, 0), (1.0, float("nan")), ([], {})],
)
def test_what_differs(a: Any, b: Any) -> None:
    assert not agree(a, b)
    assert not agree(b, a)


def test_numbers_written_as_integers_are_numbers() -> None:
    assert agree({"data": [1.0, 2]}, {"data": [1, 2.0]})
