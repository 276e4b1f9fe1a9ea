"""ModelInfer's messages: both encodings of tensors, what is refused, and what a stream's faults look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Tensors
from setsail.protocols.grpc import inference
from setsail.protocols.grpc.pool import message
from setsail.tensors import DTYPES, DType

Message = dict[str, Any]
REQUEST, PARAMETER = message("inference.ModelInferRequest"), message("inference.InferParameter")
RAW = {
    "bool": b"\x01\x00", "string": b"\x02\x00\x00\x00ab\x00\x00\x00\x00",
    **{d.name: np.array([1, 2], d.numpy).tobytes() for d in DTYPES if d.kind not in ("bool", "string")},
}  # fmt: skip
TYPED: dict[str, Message] = {
    "BOOL": {"bool_contents": [True, False]},
    "UINT8": {"uint_contents": [0, 255]},
    "UINT16": {"uint_contents": [0, 65535]},
    "UINT32": {"uint_contents": [0, 2**32 - 1]},
    "UINT64": {"uint64_contents": [0, 2**64 - 1]},
    "INT8": {"int_contents": [-128, 127]},
    "INT16": {"int_contents": [-(2**15), 2**15 - 1]},
    "INT32": {"int_contents": [-(2**31), 2**31 - 1]},
    "INT64": {"int64_contents": [-(2**63), 2**53 + 1]},
    "FP32": {"fp32_contents": [0.5, float("inf")]},
    "FP64": {"fp64_contents": [0.1, float("nan")]},
    "BYTES": {"bytes_contents": [b"a", b"\xff\x00"]},
}


def read(**fields: Any) -> Any:
    return inference.request(REQUEST(**fields).SerializeToString())


def one(datatype: str = "FP32", *, shape: tuple[int, ...] = (1, 2), **fields: Any) -> Message:
    return {"name": "x", "datatype": datatype, "shape": shape, **fields}


def values(request: Any) -> list[Any]:
    assert isinstance(request.body, Tensors)
    return [tensor.data for tensor in request.body.tensors]


def refused(code: str, **fields: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        read(**fields)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_raw_bytes_of_every_datatype(dtype: DType) -> None:
    request = read(model_name="m", inputs=[one(dtype.oip)], raw_input_contents=[RAW[dtype.name]])
    (array,) = values(request)
    assert array.shape == (1, 2)
    assert array.dtype == dtype.numpy
    expected = {"bool": [True, False], "string": [b"ab", b""]}.get(dtype.name, [1, 2])
    assert array.ravel().tolist() == expected


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_of_every_datatype_that_has_them(datatype: str) -> None:
    contents = TYPED[datatype]
    (tensor,) = read(model_name="m", inputs=[one(datatype, contents=contents)]).body.tensors
    assert tensor.dtype.oip == datatype
    assert tensor.shape == (1, 2)
    assert tensor.data.dtype == tensor.dtype.numpy
    (sent,) = contents.values()
    assert np.array_equal(tensor.data, np.array(sent, tensor.data.dtype), equal_nan=datatype.startswith("FP"))


def test_what_else_a_request_says() -> None:
    request = read(
        model_name="m", model_version="3", id="seven", inputs=[one()], raw_input_contents=[bytes(8)],
        outputs=[{"name": "b"}, {"name": "a"}],
        parameters={
            "priority": PARAMETER(uint64_param=2**63), "timeout": PARAMETER(int64_param=-1),
            "note": PARAMETER(string_param="é"), "ratio": PARAMETER(double_param=0.5),
            "yes": PARAMETER(bool_param=True), "nothing": PARAMETER(),
        },
    )  # fmt: skip
    assert request.model == ModelRef("m", 3)
    assert (request.id, request.outputs) == ("seven", ("b", "a"))
    assert request.parameters == {"priority": 2**63, "timeout": -1, "note": "é", "ratio": 0.5, "yes": True}


def test_raw_and_typed_are_not_mixed() -> None:
    inputs = [one(), one(contents={"fp32_contents": [1, 2]})]
    fault = refused("request.form", model_name="m", inputs=inputs, raw_input_contents=[bytes(8), bytes(8)])
    assert "raw_input_contents" in str(fault)


@pytest.mark.parametrize("count", [1, 3])
def test_raw_contents_are_one_an_input(count: int) -> None:
    refused("request.binary", model_name="m", inputs=[one(), one()], raw_input_contents=[bytes(8)] * count)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_raw_contents_of_the_wrong_size(size: int) -> None:
    refused("request.binary", model_name="m", inputs=[one()], raw_input_contents=[bytes(size)])


@pytest.mark.parametrize("raw", [b"\x01", b"\x05\x00\x00\x00ab", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"])
def test_raw_texts_that_do_not_add_up(raw: bytes) -> None:
    refused("request.binary", model_name="m", inputs=[one("BYTES")], raw_input_contents=[raw])


def test_values_in_the_wrong_field() -> None:
    fault = refused("request.form", model_name="m", inputs=[one("FP32", contents={"fp64_contents": [1, 2]})])
    assert fault.expected == "fp32_contents"


def test_values_in_two_fields() -> None:
    contents = {"fp32_contents": [1, 2], "int_contents": [1, 2]}
    refused("request.form", model_name="m", inputs=[one("FP32", contents=contents)])


def test_half_precision_has_no_typed_contents() -> None:
    fault = refused("request.form", model_name="m", inputs=[one("FP16", contents={"fp32_contents": [1, 2]})])
    assert fault.expected == "raw_input_contents"
    refused("request.form", model_name="m", inputs=[one("FP16")])


def test_bfloat16_is_the_float32_it_stands_for() -> None:
    raw = (np.array([[0.5, -3.0]], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    (tensor,) = read(model_name="m", inputs=[one("BF16")], raw_input_contents=[raw]).body.tensors
    assert (tensor.dtype.name, tensor.shape, tensor.data.tolist()) == ("float32", (1, 2), [[0.5, -3.0]])
    refused("request.binary", model_name="m", inputs=[one("BF16")], raw_input_contents=[bytes(8)])


def test_a_head_with_bfloat16_is_not_remembered() -> None:
    """Bytes of another size would be read as the float32 that it became."""
    asked = REQUEST(model_name="bf", inputs=[one("BF16")], raw_input_contents=[bytes(4)])
    inference.model_infer(asked.SerializeToString())
    asked.raw_input_contents[0] = bytes(8)
    with pytest.raises(SetsailError) as caught:
        inference.model_infer(asked.SerializeToString())
    assert caught.value.code == "request.binary"


def test_bfloat16_without_its_bytes_is_refused_with_advice() -> None:
    assert "FP32" in refused("input.dtype", model_name="m", inputs=[one("BF16")]).todo


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 128), ("INT16", -(2**15) - 1)])
def test_small_integers_are_checked(datatype: str, value: int) -> None:
    fault = refused("input.range", model_name="m", inputs=[one(datatype, contents={"int_contents": [0, value]})])
    assert fault.value == str(value)
    refused("input.range", model_name="m", inputs=[one("UINT8", contents={"uint_contents": [256]})])


@pytest.mark.parametrize("shape", [(-1, 2), (2**40, 2**40), (1,) * 33])
def test_shapes_that_no_tensor_has(shape: tuple[int, ...]) -> None:
    refused("input.shape", model_name="m", inputs=[one(shape=shape)], raw_input_contents=[b""])


@pytest.mark.parametrize("version", ["0", "x", "-1", "9" * 30])
def test_versions_that_do_not_exist(version: str) -> None:
    refused("model.version", model_name="m", model_version=version, inputs=[one()], raw_input_contents=[bytes(8)])


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_offset"])
def test_shared_memory_is_refused(key: str) -> None:
    parameters = {key: PARAMETER(string_param="r")}
    assert key in str(refused("request.unsupported", model_name="m", inputs=[one(parameters=parameters)]))
    refused(
        "request.unsupported", model_name="m", inputs=[one()], raw_input_contents=[bytes(8)],
        outputs=[{"name": "y", "parameters": parameters}],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sequence_id", PARAMETER(int64_param=5)),
        ("sequence_id", PARAMETER(string_param="a")),
        ("sequence_end", PARAMETER(bool_param=1)),
    ],
)
def test_sequences_are_refused(key: str, value: Message) -> None:
    fault = refused("request.unsupported", model_name="m", inputs=[one()], parameters={key: value})
    assert fault.field == f"parameters.{key}"


def test_content_types_are_read() -> None:
    kinds = {"content_type": PARAMETER(string_param="base64")}
    contents = {"bytes_contents": [b"YQ==", b""]}
    request = read(model_name="m", inputs=[one("BYTES", contents=contents, parameters=kinds)])
    assert values(request)[0].tolist() == [b"a", b""]
    kinds = {"content_type": PARAMETER(string_param="datetime")}
    refused("request.unsupported", model_name="m", inputs=[one("BYTES", contents=contents, parameters=kinds)])
    refused("request.unsupported", model_name="m", inputs=[one()], raw_input_contents=[bytes(8)],
            outputs=[{"name": "y", "parameters": kinds}])  # fmt: skip


@pytest.mark.parametrize("value", [PARAMETER(string_param="2"), PARAMETER(int64_param=-1), PARAMETER(bool_param=True)])
def test_classes_are_a_number(value: Any) -> None:
    outputs = [{"name": "y", "parameters": {"classification": value}}]
    refused("request.form", model_name="m", inputs=[one()], raw_input_contents=[bytes(8)], outputs=outputs)


def test_no_sequence_is_no_sequence() -> None:
    none = {"sequence_id": PARAMETER(int64_param=0), "sequence_start": PARAMETER(bool_param=False)}
    assert read(model_name="m", inputs=[one()], raw_input_contents=[bytes(8)], parameters=none).parameters == {
        "sequence_id": 0, "sequence_start": False,
    }  # fmt: skip


def test_reserved_parameters() -> None:
    refused("request.form", model_name="m", inputs=[one()], parameters={"triton_other": PARAMETER(bool_param=True)})
    allowed = {"triton_enable_empty_final_response": PARAMETER(bool_param=True)}
    assert read(model_name="m", inputs=[one()], raw_input_contents=[bytes(8)], parameters=allowed).parameters


def test_what_is_no_message() -> None:
    for decode in (inference.model_infer, inference.stream_infer):
        with pytest.raises(SetsailError) as caught:
            decode(b"\xff\xff\xff")
        assert caught.value.code == "request.malformed"


@pytest.mark.parametrize("data", [REQUEST(model_name="m", id="7").SerializeToString(), b"\xff\xff"])
def test_a_fault_in_a_stream_says_whose_it_is(data: bytes) -> None:
    fault = SetsailError("input.missing", "input 'x' is missing")
    answer = message("inference.ModelStreamInferResponse").FromString(inference.stream_fault(fault, data))
    assert answer.error_message == str(fault)
    named = ("m", "7") if data[0] != 0xFF else ("", "")
    assert (answer.infer_response.model_name, answer.infer_response.id) == named
    assert answer.infer_response.parameters["triton_final_response"].bool_param
