"""Triton's classification extension: its texts to the letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.http import HttpReply
from setsail.protocols.open_inference.classification import classified, count
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

Ask = Callable[..., HttpReply]


def answer(array: Any, dtype: str = "float32", shape: tuple[Any, ...] = ("N", 3), labels: Any = ()) -> Response:
    spec = TensorSpec("y", BY_NAME[dtype], shape, labels=labels)
    signature = Signature((TensorSpec("x", BY_NAME["float32"], ("N", 2)),), (spec,), ("y",))
    return Response("m", 1, {"y": np.array(array, BY_NAME[dtype].numpy)}, ("y",), signature)


def test_the_largest_come_first_with_six_decimals_index_and_label() -> None:
    found = classified(answer([[0.1, 0.7, 0.2], [1e-9, 3, 12345.678]], labels=("a", "b", "c")), "y", 2)
    assert found.tolist() == [["0.700000:1:b", "0.200000:2:c"], ["12345.677734:2:c", "3.000000:1:b"]]


def test_no_more_come_than_there_are() -> None:
    assert classified(answer([[1, 2, 3]]), "y", 99).shape == (1, 3)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("int64", [[-5, 2**62, 0]], ["4611686018427387904:1", "0:2", "-5:0"]),
        ("uint8", [[0, 255, 7]], ["255:1", "7:2", "0:0"]),
        ("float64", [[float("nan"), float("inf"), float("-inf")]], ["inf:1", "-inf:2", "nan:0"]),
        ("float16", [[0.5, 0.25, 1]], ["1.000000:2", "0.500000:0", "0.250000:1"]),
        ("float32", [[2, 2, 1]], ["2.000000:0", "2.000000:1", "1.000000:2"]),
    ],
)
def test_values_of_other_kinds(dtype: str, values: Any, expected: list[str]) -> None:
    assert classified(answer(values, dtype), "y", 3)[0].tolist() == expected


def test_a_row_is_flat() -> None:
    found = classified(answer([[[1, 2], [4, 3]]], shape=("N", 2, 2)), "y", 2)
    assert found.tolist() == [["4.000000:2", "3.000000:3"]]


def test_one_value_a_row_has_one_class() -> None:
    assert classified(answer([7, 8], shape=("N",)), "y", 5).tolist() == [["7.000000:0"], ["8.000000:0"]]


def test_without_a_batch_the_answer_has_one_axis() -> None:
    assert classified(answer([1, 3, 2], shape=(3,)), "y", 2).tolist() == ["3.000000:1", "2.000000:2"]


def test_text_has_no_classes(ask: Ask) -> None:
    item = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [9, 2, 3, 4]}
    body: dict[str, Any] = {"inputs": [item], "outputs": [{"name": "label", "parameters": {"classification": 1}}]}
    reply = ask("POST", "/v2/models/iris/infer", body)
    assert (reply.status, dict(reply.headers)["x-setsail-error"]) == (400, "request.form")


@pytest.mark.parametrize("asked", ["2", True, -1, 1.5, None])
def test_what_is_no_number_of_classes(asked: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        count("y", {"classification": asked})
    assert caught.value.code == "request.form"
    assert count("y", {"classification": 0}) == count("y", {}) == 0


@pytest.mark.parametrize("binary", [False, True])
def test_over_the_wire(ask: Ask, binary: bool) -> None:
    item = {"name": "input", "shape": [2, 4], "datatype": "FP64", "data": [9, 2, 3, 4, 0, 0, 9, 0]}
    wanted = {"name": "probabilities", "parameters": {"classification": 2, "binary_data": binary}}
    reply = ask("POST", "/v2/models/iris/infer", {"inputs": [item], "outputs": [wanted]})
    length = int(dict(reply.headers).get("Inference-Header-Content-Length", len(reply.body)))
    (output,) = json.loads(reply.body[:length])["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    first = b"0.996621:0:setosa"
    if binary:
        assert reply.body[length:].startswith(len(first).to_bytes(4, "little") + first)
    else:
        assert output["data"][0] == first.decode()
