"""Parquet bodies: the dtypes of their columns count."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import pytest
from fakehouse import gallery

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.protocols import parquet
from setsail.protocols.parquet import tensors
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL

pyarrow = pytest.importorskip("pyarrow")
PEOPLE = gallery().models["people"].signature


def file(**columns: Any) -> bytes:
    made = BytesIO()
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), made)
    return made.getvalue()


def people(**columns: Any) -> bytes:
    given = {"age": [1.5, 2.0], "city": ["Rome", None], "children": [1, 2], "member": [True, False]}
    return file(**(given | columns))


def test_columns_become_inputs_and_others_are_ignored() -> None:
    bound = bind(PEOPLE, tensors(people(__index_level_0__=[5, 6])))
    assert {name: array.tolist() for name, array in bound.items()} == {
        "age": [1.5, 2.0], "city": ["Rome", NULL], "children": [1, 2], "member": [True, False],
    }  # fmt: skip


@pytest.mark.parametrize(
    "columns",
    [
        {"age": pyarrow.array([1, 2], pyarrow.int64())},
        {"age": pyarrow.array([1.0, 2.0], pyarrow.float32())},
        {"children": pyarrow.array([1, 2], pyarrow.int8())},
        {"city": pyarrow.array(["Rome", "Oslo"]).dictionary_encode()},
        {"city": pyarrow.array(["Rome", "Oslo"], pyarrow.large_string())},
    ],
    ids=lambda case: ",".join(case) if isinstance(case, dict) else str(case),
)
def test_a_dtype_may_widen(columns: Any) -> None:
    assert bind(PEOPLE, tensors(people(**columns)))["age"].shape == (2,)


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"children": [1.0, 2.0]}, "input.dtype"),
        ({"children": [1, None]}, "input.dtype"),  # an integer column with a null is one of doubles, as in pandas
        ({"age": ["1", "2"]}, "input.dtype"),
        ({"age": pyarrow.array([2**53 + 1, 2])}, "input.range"),
        ({"member": [1, 0]}, "input.dtype"),
        ({"member": [True, None]}, "input.null"),
        ({"age": pyarrow.array([1, 2], pyarrow.date32())}, "input.dtype"),
        ({"city": [["Rome"], ["Oslo", "Rome"]]}, "input.ragged"),
    ],
    ids=lambda case: ",".join(case) if isinstance(case, dict) else str(case),
)
def test_a_dtype_never_narrows(columns: Any, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        bind(PEOPLE, tensors(people(**columns)))
    assert caught.value.code == code


def test_lists_are_tensors() -> None:
    signature = Signature((TensorSpec.parse("x:float32[N,2]"),), (), ())
    bound = bind(signature, tensors(file(x=[[1.0, 2.0], [3.0, 4.0]])))
    assert bound["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", people()[:-9]])
def test_what_is_no_parquet_file(raw: bytes) -> None:
    with pytest.raises(SetsailError) as caught:
        tensors(raw)
    assert caught.value.code == "request.binary"


def test_without_pyarrow_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SetsailError) as caught:
        tensors(b"")
    assert caught.value.code == "dependency.missing"
    assert "setsail[parquet]" in str(caught.value)


def test_a_file_that_says_a_lot_with_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = people(age=[1.0] * 2)
    monkeypatch.setattr(parquet, "CELLS", 7)
    with pytest.raises(SetsailError) as caught:
        tensors(raw)
    assert caught.value.code == "request.too_large"
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "LARGEST", 7)
    with pytest.raises(SetsailError) as caught:
        tensors(raw)
    assert caught.value.code == "request.too_large"


def test_a_text_that_comes_often_is_there_once() -> None:
    (column,) = tensors(file(city=["x" * 10_000] * 5000)).tensors
    assert len({id(text) for text in column.data}) <= 8
