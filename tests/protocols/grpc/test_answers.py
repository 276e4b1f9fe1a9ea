"""Answers written by hand against protobuf's: a client reads the same message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.messages import Response
from setsail.protocols import binary
from setsail.protocols.grpc import answers
from setsail.protocols.grpc.answers import Answer, varint
from setsail.protocols.grpc.pool import message
from setsail.shares import Run, Share
from setsail.signature import Signature
from setsail.tensors import DTYPES, NULL, Array, dtype_of

INFER, STREAM = message("inference.ModelInferResponse"), message("inference.ModelStreamInferResponse")
NO_SIGNATURE = Signature((), (), ())


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 3) | st.just(200), max_size=2)))
    count = int(np.prod(shape))
    if dtype.kind == "string":
        array = np.empty(count, object)
        array[:] = [draw(st.sampled_from(["a", "é", "", NULL])) for _ in range(min(count, 5))] + ["b"] * max(
            0, count - 5
        )
        return array.reshape(shape)
    made: Array = np.arange(count).astype(dtype.numpy).reshape(shape)
    return draw(st.sampled_from([made, made.T, made.astype(made.dtype.newbyteorder(">"))]))


def by_protobuf(response: Response, name: str, wanted: tuple[str, ...] | None) -> Any:
    names = tuple(dict.fromkeys(wanted or response.outputs))
    described = []
    for output in names:
        dtype = dtype_of(response.outputs[output])
        assert dtype is not None
        described.append({"name": output, "datatype": dtype.oip, "shape": response.outputs[output].shape})
    return INFER(
        model_name=response.model, model_version=str(response.version), id=name, outputs=described,
        raw_output_contents=[binary.pack(response.outputs[output]) for output in names],
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["label", "probabilities", "é"]), arrays(), min_size=1),
    st.text(max_size=5), st.integers(1, 2**62), st.booleans(), st.booleans(),
)  # fmt: skip
def test_it_reads_as_one_that_protobuf_wrote(
    outputs: dict[str, Array], name: str, version: int, some: bool, stream: bool
) -> None:
    response = Response("model", version, outputs, (), NO_SIGNATURE)
    wanted = tuple(reversed(outputs))[:2] * 2 if some else None
    expected = by_protobuf(response, name, wanted)
    for _ in range(2):  # the second time from memory
        told = Answer(name, wanted, stream).encode(response)
        if stream:
            expected.parameters["triton_final_response"].bool_param = True
            assert STREAM.FromString(told) == STREAM(infer_response=expected)
        else:
            assert INFER.FromString(told) == expected


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["label", "probabilities", "é"]), arrays(), min_size=1), st.integers(0, 2))
def test_rows_of_a_shared_run_are_written_as_each_by_itself(outputs: dict[str, Array], named: int) -> None:
    rows = min((len(array) for array in outputs.values() if array.ndim), default=0)
    shared = {name: array[:rows] for name, array in outputs.items() if array.ndim}
    plain = Answer("", (None, tuple(shared), tuple(reversed(shared)))[named], False)
    for index in range(rows):
        own = {name: array[index : index + 1] for name, array in shared.items()}
        told = plain.encode(Response("model", 1, Share(Run(shared), index), (), NO_SIGNATURE))
        assert told == plain.encode(Response("model", 1, own, (), NO_SIGNATURE))


def test_labels_are_remembered_but_not_without_end() -> None:
    def told(label: str) -> bytes:
        response = Response("m", 1, {"y": np.array([label], object)}, ("y",), NO_SIGNATURE)
        return bytes(INFER.FromString(Answer("", None, False).encode(response)).raw_output_contents[0])

    for label in ["a", "é", "", NULL, "x" * 65, "a", *map(str, range(3000))]:
        assert told(label) == binary.pack(np.array([label], object))
    assert 0 < len(answers._LABELS) <= 1024
    assert "x" * 65 not in answers._LABELS


def test_one_frame_for_each_shape() -> None:
    """Two batches of different size, then the first again."""
    for rows in (1, 3, 1):
        response = Response("m", 1, {"y": np.ones((rows, 2), np.float32)}, ("y",), NO_SIGNATURE)
        answer = INFER.FromString(Answer("", None, False).encode(response))
        assert list(answer.outputs[0].shape) == [rows, 2]
        assert len(answer.raw_output_contents[0]) == rows * 8


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**63 - 1])
def test_numbers_are_written_as_protobuf_writes_them(value: int) -> None:
    written = message("inference.StatisticDuration")(count=value).SerializeToString()
    assert written == (b"\x08" + varint(value) if value else b"")
