"""Answers written by hand against protobuf's, byte for byte where there is one output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from setsail.messages import Response
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving.answers import Answer
from setsail.protocols.grpc.tf_serving.tensors import FIELDS, tensor
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES, NULL, Array, DType

PREDICTED = message("tensorflow.serving.PredictResponse")


def response(**outputs: Array) -> Response:
    specs = tuple(
        TensorSpec(n, BY_NAME["string" if a.dtype == object else a.dtype.name], ()) for n, a in outputs.items()
    )
    return Response("m", 300, outputs, tuple(outputs), Signature((), specs, tuple(outputs)))


def protobufs(answer: Response, signature: str, names: tuple[str, ...]) -> Any:
    made = PREDICTED(model_spec={"name": "m", "version": {"value": 300}, "signature_name": signature})
    for name in names:
        array = answer.outputs[name]
        dtype = answer.signature.output(name).dtype
        told = made.outputs[name]
        told.dtype = dtype.tf_number
        told.tensor_shape.SetInParent()
        for size in array.shape:
            told.tensor_shape.dim.add(size=size)
        flat = array.ravel()
        values = flat.view(np.uint16) if dtype.name == "float16" else flat
        getattr(told, FIELDS[dtype.name]).extend([v.encode() if isinstance(v, str) else v for v in values.tolist()])
    return made


def arrays_of(dtype: DType) -> st.SearchStrategy[Array]:
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20)
    if dtype.kind == "string":
        return arrays.arrays(
            object,
            shapes,
            elements=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NULL), max_size=80),
        )
    if dtype.kind in ("int", "uint"):
        small = arrays.arrays(dtype.numpy, shapes, elements=st.integers(0, 127))
        return small | arrays.arrays(dtype.numpy, shapes)
    return arrays.arrays(dtype.numpy, shapes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_by_the_byte(dtype: DType) -> None:
    @given(arrays_of(dtype))
    def check(array: Array) -> None:
        answer = response(y=array)
        for _ in range(2):  # the second time, its fixed parts are known
            told = Answer("s", None).encode(answer)
            assert PREDICTED.FromString(told).SerializeToString(deterministic=True) == protobufs(
                answer, "s", ("y",)
            ).SerializeToString(deterministic=True)
        back = tensor("y", PREDICTED.FromString(told).outputs["y"])
        if dtype.kind != "string":
            np.testing.assert_array_equal(back.data, array)

    check()


def test_the_filter_chooses_and_the_defaults_are_the_rest() -> None:
    answer = response(a=np.float32([1]), b=np.array(["x"], object), c=np.int64([300]))
    told = PREDICTED.FromString(Answer("serving_default", ("c", "a")).encode(answer))
    assert told == protobufs(answer, "serving_default", ("c", "a"))
    told = PREDICTED.FromString(Answer("serving_default", None).encode(answer))
    assert told == protobufs(answer, "serving_default", ("a", "b", "c"))
    assert (told.model_spec.name, told.model_spec.version.value) == ("m", 300)


def test_a_missing_text_is_empty_and_other_orders_of_memory_do_not_matter() -> None:
    array = np.array([[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]], np.float32)
    told = PREDICTED.FromString(Answer("s", None).encode(response(y=array.T, t=np.array([NULL, "a"], object))))
    assert list(told.outputs["y"].float_val) == array.T.ravel().tolist()
    assert list(told.outputs["t"].string_val) == [b"", b"a"]
    swapped = PREDICTED.FromString(Answer("s", None).encode(response(y=array.astype(">f4"))))
    assert list(swapped.outputs["y"].float_val) == array.ravel().tolist()


def test_no_number_of_different_answers_is_kept() -> None:
    from setsail.protocols.grpc.tf_serving import answers

    for number in range(1100):
        Answer(f"s{number}", None).encode(response(y=np.array([f"t{number}"], object)))
    assert len(answers._FRAMES) <= 1024
    assert len(answers._TEXTS) <= 1024


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i8"])
@pytest.mark.parametrize("values", [range(300), range(-5, 295), range(127), [127] * 300, [128] * 300, [300] * 3, [-1]])
def test_integers_that_are_a_byte_each_and_those_that_are_not(dtype: str, values: Any) -> None:
    array = np.array(values).astype(dtype)
    answer = response(y=array.astype(array.dtype.newbyteorder("=")))
    told = PREDICTED.FromString(Answer("s", None).encode(response(y=array) if dtype == ">i8" else answer))
    assert told == protobufs(answer, "s", ("y",))
