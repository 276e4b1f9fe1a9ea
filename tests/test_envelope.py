"""What a loose body means to models of different shapes: the table of docs/decisions/0015-loose-bodies.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.merging import portion
from setsail.messages import Cells, Columns, Tensor, Tensors
from setsail.protocols.multipart import Part
from setsail.protocols.payload import form, json_body, json_value, read
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

OUT = TensorSpec("y", BY_NAME["float32"], ("N",))


def model(*inputs: str, columns: tuple[str, ...] = ()) -> Signature:
    read = [TensorSpec.parse(text) for text in inputs]
    return Signature(tuple(TensorSpec(s.name, s.dtype, s.shape, columns) for s in read), (OUT,), ("y",))


TABLE = model("input:float64[N,3]", columns=("a", "b", "c"))
MATRIX = model("x:float32[N,3]")
COLUMN = model("speed:float64[N]")
TEXT = model("review:string[N]")
MIXED = model("age:float64[N]", "city:string[N]")
IMAGE = model("pixels:float32[N,2,2]")
LOOSE = ("input", "data", "features", "instances")


def bound(signature: Signature, value: Any) -> Any:
    return {name: array.tolist() for name, array in bind(signature, json_value(value)).items()}


def code_of(signature: Signature, body: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        bind(signature, body)
    return caught.value.code


@pytest.mark.parametrize("name", LOOSE)
@pytest.mark.parametrize(
    ("signature", "value", "arrays"),
    [
        (TABLE, [1, 2, 3], {"input": [[1, 2, 3]]}),
        (TABLE, [[1, 2, 3], [4, 5, 6]], {"input": [[1, 2, 3], [4, 5, 6]]}),
        (TABLE, [{"a": 1, "b": 2, "c": 3}], {"input": [[1, 2, 3]]}),
        (TABLE, {"a": [1, 4], "b": [2, 5], "c": [3, 6]}, {"input": [[1, 2, 3], [4, 5, 6]]}),
        (TABLE, {"c": 3, "b": 2, "a": 1}, {"input": [[1, 2, 3]]}),
        (MATRIX, [1, 2, 3], {"x": [[1, 2, 3]]}),
        (COLUMN, [1, 2, 3], {"speed": [1, 2, 3]}),
        (COLUMN, 7, {"speed": [7]}),
        (COLUMN, [[1], [2]], {"speed": [1, 2]}),
        (TEXT, "fine", {"review": ["fine"]}),
        (TEXT, ["fine", "bad"], {"review": ["fine", "bad"]}),
        (MIXED, [42, "Rome"], {"age": [42], "city": ["Rome"]}),
        (MIXED, [[42, "Rome"], [7, "Oslo"]], {"age": [42, 7], "city": ["Rome", "Oslo"]}),
        (MIXED, {"age": 42, "city": "Rome"}, {"age": [42], "city": ["Rome"]}),
        (IMAGE, [[[1, 2], [3, 4]]], {"pixels": [[[1, 2], [3, 4]]]}),
    ],
)
def test_a_wrapped_body(signature: Signature, name: str, value: Any, arrays: Any) -> None:
    assert bound(signature, {name: value}) == arrays


def test_a_name_of_the_model_is_never_a_wrapping() -> None:
    data = model("data:float64[N]")
    assert bound(data, {"data": [1, 2]}) == {"data": [1, 2]}
    assert bound(data, {"data": 1}) == {"data": [1]}
    assert bound(model("input:float64[N,2]"), {"input": [1, 2]}) == {"input": [[1, 2]]}
    assert bound(model("x:float64[N,3]", columns=("data", "b", "c")), [[1, 2, 3]]) == {"x": [[1, 2, 3]]}
    column = model("t:float64[N,1]", columns=("data",))
    assert bound(column, {"data": [1, 2]}) == {"t": [[1], [2]]}


def test_what_is_wrong_inside_is_told_as_ever() -> None:
    assert code_of(TABLE, json_value({"data": [1, 2]})) == "input.shape"
    assert code_of(TABLE, json_value({"data": [[1, 2, 3], [4]]})) == "input.ragged"
    assert code_of(TABLE, json_value({"data": {"z": 1}})) == "input.unknown"
    assert code_of(COLUMN, json_value({"data": ["x"]})) == "input.dtype"
    assert code_of(COLUMN, json_value({"data": []})) == "input.empty"
    assert code_of(COLUMN, json_value({"height": [1]})) == "input.unknown"  # no word for a body


def test_long_lists_mean_the_same() -> None:
    flat = b'{"features": [' + b", ".join([b"1.5"] * 2000) + b"]}"
    assert bind(COLUMN, json_body(flat))["speed"].shape == (2000,)
    assert bind(model("x:float32[N,2000]"), json_body(flat))["x"].shape == (1, 2000)
    rows = b'{"features": [' + b", ".join([b"[1.5, 2, 3]"] * 500) + b"]}"
    assert bind(MATRIX, json_body(rows))["x"].shape == (500, 3)


# -- forms, cells and bytes --------------------------------------------------------------------------------------------


def test_form_fields() -> None:
    kind = "application/x-www-form-urlencoded"
    assert bind(TABLE, read(b"a=1&b=2.5&c=3", kind))["input"].tolist() == [[1, 2.5, 3]]
    assert bind(TEXT, read(b"data=fine+film", kind))["review"].tolist() == ["fine film"]
    assert bind(COLUMN, read(b"input=3.5", kind))["speed"].tolist() == [3.5]
    assert bind(TABLE, read(b"data=[1,2,3]", kind))["input"].tolist() == [[1, 2, 3]]
    assert code_of(MIXED, read(b"data=1", kind)) == "input.unknown"


def test_cells_without_a_header_are_in_order() -> None:
    rows = [["1", "2", "3"]]
    assert bind(TABLE, Cells(None, rows))["input"].tolist() == [[1, 2, 3]]
    assert bind(MATRIX, Cells(None, rows))["x"].tolist() == [[1, 2, 3]]
    assert bind(MIXED, Cells(None, [["42", "Rome"]]))["city"].tolist() == ["Rome"]
    assert bind(TABLE, Cells(None, [["c", "a", " b"], ["3", "1", "2"]]))["input"].tolist() == [[1, 2, 3]]
    assert code_of(TABLE, Cells(None, [["1", "2"]])) == "input.ragged"


def test_bytes_are_a_text() -> None:
    assert bind(TEXT, read(b"fine", "application/octet-stream"))["review"].tolist() == ["fine"]
    assert bind(TEXT, form([Part("file", b"fine", "a.txt")]))["review"].tolist() == ["fine"]
    for signature in (TABLE, MIXED):
        assert code_of(signature, Columns(b"fine", loose=True)) == "request.media_type"


def test_tensors_without_names_are_in_order() -> None:
    def tensor(name: str, values: Any, dtype: str) -> Tensor:
        array = np.array(values, BY_NAME[dtype].numpy)
        return Tensor(name, array, BY_NAME[dtype], array.shape)

    two = Tensors((tensor("", [1.0], "float64"), tensor("", ["Rome"], "string")), loose=True)
    assert bind(MIXED, two)["city"].tolist() == ["Rome"]
    member = model("member:bool[N]")
    assert bind(member, Tensors((tensor("", [0, 1], "uint8"),), loose=True))["member"].tolist() == [False, True]
    assert code_of(member, Tensors((tensor("", [2], "uint8"),), loose=True)) == "input.range"
    assert code_of(member, Tensors((tensor("member", [1], "uint8"),))) == "input.dtype"
    three = Tensors((*two.tensors, tensor("", [1.0], "float64")), loose=True)
    assert code_of(MIXED, three) == "input.unknown"


def test_what_might_be_one_row_is_never_joined_with_another_request() -> None:
    """Two flat lists, one after the other, would be one row of a model twice as wide."""
    assert portion(json_value({"data": [1, 2]})) is None
    assert portion(Cells(None, [["a"]])) is None
    assert portion(Cells(None, [["1"]])) == portion(Cells(None, [["2"]]))
    assert portion(Columns(b"fine", loose=True)) is None
    nested = portion(json_value({"data": [[1, 2]]}))
    assert nested is not None
    assert nested.rows == 1
    assert nested != portion(Columns({"data": [[1, 2]]}))
