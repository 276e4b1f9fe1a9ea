"""The fast way to read a request against protobuf's: the same request, or None."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Tensors
from setsail.protocols import binary
from setsail.protocols.grpc import inference
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.templates import Templates, Typed, named
from setsail.tensors import DTYPES, Array

REQUEST, PARAMETER = message("inference.ModelInferRequest"), message("inference.InferParameter")
NAMES = st.sampled_from(["x", "input", "é", "", "a" * 140])


@st.composite
def tensors(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """An input and its raw bytes."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    array: Array
    if dtype.kind == "string":
        values = draw(st.lists(st.binary(max_size=4), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        array = np.empty(len(values), object)
        array[:] = values
    else:
        array = np.frombuffer(draw(st.binary(min_size=216, max_size=216)), np.uint8)[: int(np.prod(shape)) * dtype.size]
    raw = binary.pack(array)
    return {"name": draw(NAMES), "datatype": dtype.oip, "shape": shape}, raw


@st.composite
def messages(draw: st.DrawFn) -> Any:
    chosen = draw(st.lists(tensors(), max_size=3))
    return REQUEST(
        model_name=draw(NAMES), model_version=draw(st.sampled_from(["", "1", "12"])), id=draw(NAMES),
        inputs=[item for item, _ in chosen], raw_input_contents=[raw for _, raw in chosen],
        outputs=[{"name": name} for name in draw(st.lists(NAMES, max_size=2))],
        parameters=dict.fromkeys(draw(st.sets(st.sampled_from(["a", "priority"]))), PARAMETER(int64_param=3)),
    )  # fmt: skip


def alike(left: Request, right: Request) -> None:
    assert (left.model, left.outputs, left.id, left.parameters) == (
        right.model, right.outputs, right.id, right.parameters
    )  # fmt: skip
    assert isinstance(left.body, Tensors)
    assert isinstance(right.body, Tensors)
    for ours, theirs in zip(left.body.tensors, right.body.tensors, strict=True):
        assert (ours.name, ours.dtype, ours.shape) == (theirs.name, theirs.dtype, theirs.shape)
        assert ours.data.dtype == theirs.data.dtype
        assert ours.data.shape == theirs.data.shape
        assert ours.data.flags.aligned
        assert ours.data.tobytes() == theirs.data.tobytes() if ours.data.dtype != object else True
        assert ours.data.tolist() == theirs.data.tolist() or ours.data.dtype.kind == "f"


def outcome(read: Callable[[bytes], Request | None], data: bytes) -> Request | str | None:
    try:
        return read(data)
    except SetsailError as fault:
        return str(fault)


@settings(max_examples=80, deadline=None)
@given(messages(), NAMES, st.booleans())
def test_a_message_with_a_known_head_reads_as_protobuf_reads_it(asked: Any, name: str, view: bool) -> None:
    templates, data = Templates(), asked.SerializeToString()
    whole = inference.request(data)
    templates.learn(data, whole)
    asked.id = name
    again = asked.SerializeToString()
    found = templates.request(memoryview(again) if view else again)
    if not asked.raw_input_contents:
        assert found is None
        return
    assert found is not None
    alike(found, inference.request(again))


@settings(max_examples=200, deadline=None)
@given(messages(), st.data())
def test_whatever_is_changed_it_is_never_read_otherwise(asked: Any, draw: st.DataObject) -> None:
    """Bytes are replaced, cut, put in and doubled in a message whose head is known."""
    templates, data = Templates(), asked.SerializeToString()
    templates.learn(data, inference.request(data))
    at = draw.draw(st.integers(0, max(0, len(data) - 1)))
    until = draw.draw(st.integers(at, min(len(data), at + 8)))
    changed = draw.draw(
        st.sampled_from(
            [data[:at] + data[until:], data[:until] + data[at:], data + data[at:until], data[at:] + data[:at]]
        )
        | st.binary(min_size=1, max_size=3).map(lambda new: data[:at] + new + data[until:])
    )
    found, truth = outcome(templates.request, changed), outcome(inference.request, changed)
    if isinstance(found, Request):
        assert isinstance(truth, Request), "read here, refused by protobuf"
        alike(found, truth)
    elif found is not None:
        assert found == truth, "refused in other words"


ONE = {"name": "x", "datatype": "FP32", "shape": [1, 2]}


def known(**fields: Any) -> tuple[Templates, Any]:
    asked = REQUEST(model_name="m", inputs=[ONE], raw_input_contents=[bytes(8)], **fields)
    templates, data = Templates(), asked.SerializeToString()
    templates.learn(data, inference.request(data))
    return templates, asked


def test_it_is_used() -> None:
    """The tests above would pass if nothing were ever found."""
    templates, asked = known()
    asked.raw_input_contents[0] = np.array([1.5, 2.5], np.float32).tobytes()
    found = templates.request(asked.SerializeToString())
    assert found is not None
    assert isinstance(found.body, Tensors)
    assert found.body.tensors[0].data.tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize(
    "change",
    [
        {"model_name": "n"},
        {"model_version": "2"},
        {"outputs": [{"name": "y"}]},
        {"parameters": {"a": PARAMETER(bool_param=True)}},
    ],
)
def test_another_head_is_another_request(change: dict[str, Any]) -> None:
    templates, asked = known()
    asked.MergeFrom(REQUEST(**change))
    assert templates.request(asked.SerializeToString()) is None


@pytest.mark.parametrize("raw", [[bytes(7)], [bytes(8), bytes(8)], []])
def test_other_sizes_are_left_to_protobuf(raw: list[bytes]) -> None:
    templates, asked = known()
    del asked.raw_input_contents[:]
    asked.raw_input_contents.extend(raw)
    assert templates.request(asked.SerializeToString()) is None


def test_an_id_that_is_no_text_is_left_to_protobuf() -> None:
    templates, asked = known()
    data = asked.SerializeToString()
    assert templates.request(data[:3] + b"\x1a\x01\xff" + data[3:]) is None
    assert templates.request(data[:3] + b"\x1a\x01a\x1a\x01b" + data[3:]) is None
    assert templates.request(data[:3] + b"\x1a\x01a" + data[3:]) is not None


def test_fields_in_another_order_are_left_to_protobuf() -> None:
    templates, asked = known()
    data = asked.SerializeToString()
    moved = data[3:] + data[:3]  # the model's name last
    assert inference.request(moved).model.name == "m"
    assert templates.request(moved) is None


def test_the_memory_is_bounded() -> None:
    templates, asked = known()
    for number in range(3000):
        asked.model_name = f"m{number}"
        data = asked.SerializeToString()
        templates.learn(data, inference.request(data))
    assert len(templates._known) <= 1024
    asked.model_name = "m" * 5000
    data = asked.SerializeToString()
    templates.learn(data, inference.request(data))
    assert templates.request(data) is None
    assert sum(map(sys.getsizeof, templates._known)) < 1 << 20


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"model_name": "m"}, None),
        ({"model_name": "m", "inputs": [ONE]}, ModelRef("m")),
        ({"model_name": "é", "model_version": "12", "inputs": [ONE]}, ModelRef("é", 12)),
        ({"model_name": "m", "model_version": "x", "inputs": [ONE]}, None),
        ({"model_name": "m", "model_version": "1" * 19, "inputs": [ONE]}, ModelRef("m")),
        ({"model_name": "m" * 128, "inputs": [ONE]}, None),
        ({"inputs": [ONE]}, None),
    ],
)
def test_which_model_a_message_names(fields: dict[str, Any], model: ModelRef | None) -> None:
    data = REQUEST(**fields).SerializeToString()
    assert named(data) == named(memoryview(data)) == model


@given(st.binary(max_size=12))
def test_bytes_that_name_nothing(data: bytes) -> None:
    named(data)
    named(b"\x0a" + data)


# -- typed contents ----------------------------------------------------------------------------------------------------


def typed(array: Array, **more: Any) -> bytes:
    field, kind = ("fp32_contents", "FP32") if array.dtype == np.float32 else ("fp64_contents", "FP64")
    item = {"name": "x", "datatype": kind, "shape": array.shape, "contents": {field: array.ravel().tolist()}}
    data: bytes = REQUEST(model_name="m", inputs=[item], **more).SerializeToString()
    return data


def learnt(data: bytes) -> Typed:
    made = Typed()
    made.learn(data, inference.request(data))
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_floats_in_typed_contents_are_read_at_once(dtype: Any) -> None:
    made = learnt(typed(np.ones((3, 2), dtype), outputs=[{"name": "y"}]))
    other = typed(np.arange(6, dtype=dtype).reshape(3, 2), outputs=[{"name": "y"}])
    for data in (other, memoryview(other)):
        found = made.request(data)
        assert found is not None
        alike(found, inference.request(other))


def test_more_values_than_the_shape_says_stay_so_many() -> None:
    item = {"name": "x", "datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [1, 2, 3]}}
    data = REQUEST(model_name="m", inputs=[item]).SerializeToString()
    found = learnt(data).request(data)
    assert found is not None
    alike(found, inference.request(data))


def test_what_is_no_array_in_typed_contents_is_not_learnt() -> None:
    whole = {"name": "x", "datatype": "INT64", "shape": [2], "contents": {"int64_contents": [1, 2]}}
    texts = {"name": "x", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"abcd"]}}
    for data in (
        typed(np.ones(2, np.float32), id="a"),
        REQUEST(model_name="m", inputs=[whole]).SerializeToString(),
        REQUEST(model_name="m", inputs=[texts]).SerializeToString(),
        REQUEST(model_name="m").SerializeToString(),
    ):
        assert learnt(data).request(data) is None


@given(st.data())
def test_a_changed_byte_of_a_typed_message_never_gives_another_answer(data: st.DataObject) -> None:
    sent = bytearray(typed(np.arange(6, dtype=np.float32).reshape(3, 2), outputs=[{"name": "y"}]))
    made = learnt(bytes(sent))
    sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    found = made.request(bytes(sent))
    if found is not None:
        alike(found, inference.request(bytes(sent)))
