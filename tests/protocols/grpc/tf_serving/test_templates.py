"""The fast way to read a request against the general one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from setsail.messages import ModelRef, Request, Tensors
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving.predict import request
from setsail.protocols.grpc.tf_serving.templates import Templates

PREDICT = message("tensorflow.serving.PredictRequest")
BFLOAT16 = 14


def sent(array: Any, *, content: bool = True, name: str = "x", number: int = 1, **more: Any) -> bytes:
    tensor: dict[str, Any] = {"dtype": number, "tensor_shape": {"dim": [{"size": s} for s in array.shape]}}
    field = "float_val" if array.dtype == np.float32 else "double_val"
    tensor |= {"tensor_content": array.tobytes()} if content else {field: array.ravel().tolist()}
    found: bytes = PREDICT(**{"model_spec": {"name": "m"}, "inputs": {name: tensor}, **more}).SerializeToString()
    return found


def same(ours: Request | None, theirs: Request) -> bool:
    assert ours is not None
    assert (ours.model, ours.outputs, ours.signature) == (theirs.model, theirs.outputs, theirs.signature)
    assert isinstance(ours.body, Tensors)
    assert isinstance(theirs.body, Tensors)
    for a, b in zip(ours.body.tensors, theirs.body.tensors, strict=True):
        assert (a.name, a.dtype, a.shape) == (b.name, b.dtype, b.shape)
        np.testing.assert_array_equal(a.data, b.data)
        assert a.data.dtype == b.data.dtype
    return True


def learnt(*messages: bytes) -> Templates:
    made = Templates()
    for data in messages:
        made.learn(data, request(data))
    return made


def test_other_values_of_the_same_request_are_read_at_once() -> None:
    for content in (True, False):
        for dtype, number in ((np.float32, 1), (np.float64, 2)):
            first = sent(np.ones((3, 2), dtype), content=content, number=number)
            other = sent(np.arange(6, dtype=dtype).reshape(3, 2), content=content, number=number)
            assert same(learnt(first).request(other), request(other))
            assert same(learnt(first).request(memoryview(other)), request(other))


def test_what_differs_elsewhere_is_another_request() -> None:
    array = np.ones((3, 2), np.float32)
    made = learnt(sent(array))
    spec = {"name": "n"}
    for other in (
        sent(array, name="y"),
        sent(array, model_spec=spec),
        sent(array.reshape(2, 3)),
        sent(array[:2]),
        sent(array, output_filter=["y"]),
        sent(array, content=False),
        sent(array, number=23),  # uint64, which has other sizes
    ):
        assert made.request(other) is None


def test_spec_filter_and_several_inputs() -> None:
    array = np.ones((3, 2), np.float32)
    tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": 3}]}, "tensor_content": array[:, 0].tobytes()}
    spec = {"name": "m", "version": {"value": 3}, "signature_name": "s"}
    data = PREDICT(model_spec=spec, inputs={"a": tensor, "b": tensor}, output_filter=["y", "z"]).SerializeToString()
    found = learnt(data).request(data)
    assert same(found, request(data))
    assert found is not None
    assert (found.model, found.outputs, found.signature) == (ModelRef("m", 3), ("y", "z"), "s")


def test_what_is_not_simply_bytes_of_arrays_is_not_learnt() -> None:
    floats = np.float32([1.5, 2.5])
    bfloat16 = PREDICT(model_spec={"name": "m"}, inputs={"x": {
        "dtype": BFLOAT16, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": floats.tolist(), "half_val": [1, 2],
    }})  # fmt: skip
    odd = PREDICT(model_spec={"name": "m"}, inputs={"x": {
        "dtype": BFLOAT16, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": floats.tolist(),
    }})  # fmt: skip
    both = PREDICT(model_spec={"name": "m"}, inputs={"x": {
        "dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "tensor_content": floats.tobytes(), "float_val": [7, 8],
    }})  # fmt: skip
    filled = PREDICT(model_spec={"name": "m"}, inputs={"x": {
        "dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [7],
    }})  # fmt: skip
    integers = PREDICT(model_spec={"name": "m"}, inputs={"x": {
        "dtype": 9, "tensor_shape": {"dim": [{"size": 2}]}, "int64_val": [7, 8],
    }})  # fmt: skip
    labelled = PREDICT(model_spec={"name": "m"}, client_id=b"c", inputs={"x": {
        "dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [7, 8],
    }})  # fmt: skip
    for sent_message in (bfloat16, odd, both, filled, integers, labelled):
        data = sent_message.SerializeToString()
        assert learnt(data).request(data) is None


def test_many_lengths_and_many_heads_are_forgotten_not_kept() -> None:
    made = Templates()
    for size in range(1, 1100):
        data = sent(np.ones(size, np.float32))
        made.learn(data, request(data))
    for number in range(100):
        data = sent(np.ones(3, np.float32), name=f"{number:03}")
        made.learn(data, request(data))
    assert sum(map(len, made._known._known.values())) <= 1024
    assert max(map(len, made._known._known.values())) <= 8


ARRAY = np.arange(6, dtype=np.float32).reshape(3, 2)


@given(st.data())
def test_a_changed_byte_never_gives_another_answer(data: st.DataObject) -> None:
    """Whatever the fast way answers, protobuf answers too."""
    message_sent = bytearray(sent(ARRAY, output_filter=["y"]))
    made = learnt(bytes(message_sent))
    at = data.draw(st.integers(0, len(message_sent) - 1))
    message_sent[at] = data.draw(st.integers(0, 255))
    found = made.request(bytes(message_sent))
    if found is not None:
        assert same(found, request(bytes(message_sent)))
