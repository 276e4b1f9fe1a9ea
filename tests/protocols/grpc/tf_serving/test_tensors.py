"""TensorProto of either encoding, against arrays."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from setsail.errors import SetsailError
from setsail.protocols.grpc.answers import varint
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving.tensors import FIELDS, tensor
from setsail.tensors import BY_NAME, DTYPES, Array, DType

PROTO = message("tensorflow.TensorProto")
HALF, BFLOAT16 = 19, 14


def proto(number: int, shape: Any, **values: Any) -> Any:
    return PROTO(dtype=number, tensor_shape={"dim": [{"size": size} for size in shape]}, **values)


def code_of(sent: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        tensor("x", sent)
    return caught.value.code


def values(dtype: DType) -> st.SearchStrategy[Array]:
    shapes = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)
    if dtype.kind == "string":
        return arrays.arrays(object, shapes, elements=st.binary(max_size=200))
    return arrays.arrays(dtype.numpy, shapes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_encodings_of_every_dtype(dtype: DType) -> None:
    @given(values(dtype))
    def check(array: Array) -> None:
        flat = array.ravel()
        texts = dtype.kind == "string"
        content = b"".join([*(varint(len(v)) for v in flat), *flat]) if texts else array.tobytes()
        bits = flat.view(np.uint16) if dtype.name == "float16" else flat
        for sent in (
            proto(dtype.tf_number, array.shape, tensor_content=content),
            proto(dtype.tf_number, array.shape, **{FIELDS[dtype.name]: bits.tolist()}),
            proto(dtype.tf_number + 100, array.shape, tensor_content=content),
        ):
            found = tensor("x", sent)
            assert (found.dtype, found.shape, found.data.dtype) == (dtype, array.shape, dtype.numpy)
            np.testing.assert_array_equal(found.data, array)

    check()


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    typed = tensor("x", proto(BFLOAT16, [2], half_val=[0x3FC0, 0xC000]))
    content = tensor("x", proto(BFLOAT16, [2], tensor_content=struct.pack("<HH", 0x3FC0, 0xC000)))
    for found in (typed, content):
        assert (found.dtype, found.data.tolist()) == (BY_NAME["float32"], [1.5, -2.0])


def test_fewer_values_than_places() -> None:
    assert tensor("x", proto(1, [2, 3], float_val=[7])).data.tolist() == [[7, 7, 7], [7, 7, 7]]
    assert tensor("x", proto(3, [4], int_val=[1, 2])).data.tolist() == [1, 2, 2, 2]
    assert tensor("x", proto(9, [2])).data.tolist() == [0, 0]
    assert tensor("x", proto(7, [2], string_val=[b"a"])).data.tolist() == [b"a", b"a"]
    assert tensor("x", proto(HALF, [2], half_val=[0x3C00])).data.tolist() == [1.0, 1.0]
    assert tensor("x", proto(1, [], float_val=[2])).data.shape == ()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (proto(8, [1], scomplex_val=[1, 2]), "input.dtype"),
        (proto(0, [1]), "input.dtype"),
        (proto(77, [1]), "input.dtype"),
        (PROTO(dtype=1, tensor_shape={"unknown_rank": True}, float_val=[1]), "input.shape"),
        (proto(1, [-1], float_val=[1]), "input.shape"),
        (proto(1, [1 << 39], float_val=[1]), "request.binary"),
        (proto(1, [1 << 62, 1 << 62], float_val=[1]), "input.shape"),
        (proto(1, [1], float_val=[1, 2]), "request.binary"),
        (proto(1, [1], tensor_content=b"123"), "request.binary"),
        (proto(6, [1], int_val=[128]), "input.range"),
        (proto(7, [2], tensor_content=b"\x01"), "request.binary"),
        (proto(7, [1], tensor_content=b"\x05ab"), "request.binary"),
        (proto(7, [1], tensor_content=b"\x01abc"), "request.binary"),
        (proto(7, [1 << 39], tensor_content=b"\x01a"), "request.binary"),
    ],
)
def test_refusals(sent: Any, code: str) -> None:
    assert code_of(sent) == code


@given(st.binary(max_size=40), st.integers(0, 4))
def test_no_text_is_a_surprise(content: bytes, count: int) -> None:
    try:
        found = tensor("x", proto(7, [count], tensor_content=content or b"\0"))
        assert found.data.shape == (count,)
    except SetsailError as fault:
        assert fault.code == "request.binary"  # noqa: PT017 (either is right)
