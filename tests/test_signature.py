"""A signature: read from text, checked against arrays, kept as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import DTYPES, NULL


def spec(text: str, **more: Any) -> TensorSpec:
    read = TensorSpec.parse(text)
    return TensorSpec(read.name, read.dtype, read.shape, **more)


TABLE = Signature(
    (spec("input:float32[N,2]", columns=("age", "height")),), (spec("prediction:float32[N]"),), ("prediction",)
)
MIXED = Signature(
    (spec("age:float64[N]", nullable=True), spec("city:string[N]", categories=("Oslo", "Rome"), closed=True)),
    (spec("label:int64[N]"), spec("probabilities:float32[N,2]", labels=("no", "yes"))),
    ("label",),
)


def refused(signature: Signature, **tensors: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        signature.check(tensors)
    return caught.value


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("x:float32[*,10]", ("N", 10)),
        ("x:float32[-1,3,?,W]", ("N", 3, "d2", "W")),
        (" x : int64 [ 2 , 3 ] ", (2, 3)),
        ("x:bool", ()),
        ("x:bool[]", ()),
    ],
)
def test_an_input_text_is_read(text: str, shape: tuple[Any, ...]) -> None:
    read = TensorSpec.parse(text)
    assert (read.name, read.shape) == ("x", shape)


@pytest.mark.parametrize("text", ["", "x", "x:complex64[*]", "x:float32[*", ":float32[*]", "x:float32[*][*]"])
def test_a_text_that_is_no_input_is_refused(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        TensorSpec.parse(text)
    assert caught.value.code == "convert.input"
    assert "name:dtype[dims]" in str(caught.value)


@given(
    name=st.from_regex(r"[A-Za-z_][A-Za-z0-9_./ -]{0,20}[A-Za-z0-9]", fullmatch=True),
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.one_of(st.integers(0, 10**6), st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True))),
)
def test_text_and_back(name: str, dtype: Any, shape: list[Any]) -> None:
    there = TensorSpec(name, dtype, tuple(shape))
    assert TensorSpec.parse(str(there)) == there


def test_json_and_back() -> None:
    for signature in (TABLE, MIXED):
        assert Signature.from_json(signature.to_json(), signature.defaults) == signature
    assert MIXED.to_json()["inputs"][1] == {
        "name": "city", "dtype": "string", "shape": ["N"], "categories": ["Oslo", "Rome"], "closed": True,
    }  # fmt: skip


def test_free_dimensions_are_minus_one_to_other_protocols() -> None:
    assert TensorSpec.parse("x:float32[*,3,H]").oip_shape() == [-1, 3, -1]


def test_what_a_signature_knows_of_itself() -> None:
    assert TABLE.table is TABLE.inputs[0]
    assert MIXED.table is None
    assert TABLE.batched
    assert not Signature((spec("x:float32[N,2]"),), (spec("y:float32[2]"),), ("y",)).batched
    assert not Signature((spec("x:float32[N]"), spec("y:float32[M]")), (spec("z:float32[N]"),), ("z",)).batched
    assert str(TABLE) == "(input:float32[N,2]) -> (prediction:float32[N])"


# -- the check -------------------------------------------------------------------------------------------------------


def test_arrays_come_back_in_the_signatures_order() -> None:
    checked = MIXED.check({"city": texts("Rome"), "age": np.array([np.nan])})
    assert list(checked) == ["age", "city"]


def test_names() -> None:
    fault = refused(MIXED, age=np.zeros(1))
    assert (fault.code, fault.field, fault.expected) == ("input.missing", "city", "city:string[N]")
    fault = refused(TABLE, inptu=np.zeros((1, 2), np.float32))
    assert (fault.code, fault.field, fault.expected) == ("input.unknown", "inptu", "'input'")
    with pytest.raises(SetsailError) as caught:
        MIXED.output("probability")
    assert caught.value.code == "output.unknown"
    assert caught.value.expected == "one of 'label', 'probabilities'"


def test_dtype() -> None:
    fault = refused(TABLE, input=np.zeros((1, 2)))
    assert (fault.code, fault.value, fault.expected) == ("input.dtype", "'float64'", "float32")


def test_shape() -> None:
    fault = refused(TABLE, input=np.zeros((4, 3), np.float32))
    assert (fault.code, fault.value, fault.expected) == ("input.shape", "[4, 3]", "input:float32[N,2]")
    assert refused(TABLE, input=np.zeros(2, np.float32)).code == "input.shape"


def test_sizes_of_one_symbol_agree() -> None:
    fault = refused(MIXED, age=np.zeros(2), city=texts("Rome"))
    assert (fault.code, fault.field, fault.expected) == ("input.length", "city", "2 (both are 'N')")


@pytest.mark.parametrize("shape", [(0, 2), (0,)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    assert refused(TABLE, input=np.zeros(shape, np.float32)).code == "input.empty"


def test_an_empty_inner_dimension_is_empty_too() -> None:
    free = Signature((spec("x:float32[N,W]"),), (spec("y:float32[N]"),), ("y",))
    assert refused(free, x=np.zeros((2, 0), np.float32)).code == "input.empty"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number(value: float) -> None:
    rows = np.zeros((3, 2), np.float32)
    rows[2, 1] = value
    fault = refused(TABLE, input=rows)
    assert (fault.code, fault.facts["row"]) == ("input.nan", 2)
    assert "column 'height'" in fault.what


def test_null_and_unknown_category() -> None:
    fault = refused(MIXED, age=np.zeros(2), city=texts("Rome", NULL))
    assert (fault.code, fault.facts["row"]) == ("input.null", 1)
    fault = refused(MIXED, age=np.zeros(2), city=texts("Rome", "Roma"))
    assert (fault.code, fault.facts["row"], fault.value, fault.expected) == (
        "input.category", 1, "'Roma'", "one of 'Oslo', 'Rome'",
    )  # fmt: skip


def test_a_nullable_closed_column_takes_null() -> None:
    column = spec("city:string[N]", categories=("Oslo",), closed=True, nullable=True)
    signature = Signature((column,), (spec("y:float32[N]"),), ("y",))
    assert list(signature.check({"city": texts(NULL, "Oslo")})["city"]) == [NULL, "Oslo"]
