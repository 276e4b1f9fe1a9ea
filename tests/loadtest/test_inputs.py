"""The rows that are sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.loadtest.inputs import Inputs, cut, from_file, made_up
from setsail.signature import Signature, TensorSpec
from setsail.tensors import DTYPES, NULL

OUT = (TensorSpec.parse("y:float32[N]"),)


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs, OUT, ("y",))


shapes = st.lists(st.sampled_from([1, 2, 3, "a", "b"]), max_size=2)


@given(st.lists(st.tuples(st.sampled_from(DTYPES), shapes, st.booleans()), min_size=1, max_size=3))
def test_made_up_rows_are_what_the_model_takes(rows: list) -> None:
    specs = [
        TensorSpec(f"i{n}", d, (("N", *shape) if batch else tuple(shape))) for n, (d, shape, batch) in enumerate(rows)
    ]
    contract = signature(*specs)
    found = made_up(contract)
    contract.check(found.arrays)
    for spec in specs:
        assert found.arrays[spec.name].dtype == spec.dtype.numpy
    assert found.count in (0, 64)
    if all(batch for _, _, batch in rows):
        assert found.count == 64
    for piece in cut(found, 3, 4):
        contract.check(piece)


def test_known_categories_are_used() -> None:
    text = TensorSpec("city", DTYPES[-1], ("N",), categories=("Rome", "Oslo", NULL), closed=True)
    number = TensorSpec("zip", DTYPES[8], ("N",), categories=("7", "11"), closed=True)
    found = made_up(signature(text, number))
    assert set(found.arrays["city"].tolist()) == {"Rome", "Oslo"}
    assert set(found.arrays["zip"].tolist()) == {7, 11}


@given(st.integers(1, 30), st.integers(1, 50), st.integers(1, 10))
def test_pieces_have_their_size_and_use_the_rows_in_order(count: int, size: int, most: int) -> None:
    rows = np.arange(count)
    pieces = cut(Inputs({"x": rows}, count, ""), size, most)
    assert 1 <= len(pieces) <= most
    assert all(len(piece["x"]) == size for piece in pieces)
    sent = np.concatenate([piece["x"] for piece in pieces])
    assert np.array_equal(sent, np.resize(rows, len(sent)))


def test_without_a_batch_dimension_there_is_one_piece() -> None:
    found = made_up(signature(TensorSpec.parse("image:float32[2,2]")))
    assert cut(found, 128, 64) == [found.arrays]


def test_rows_with_something_missing_are_left_out_unless_all_are(tmp_path: Path) -> None:
    contract = signature(TensorSpec("x", DTYPES[10], ("N", 2), nullable=True))
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n,4\n5,6\n")
    found = from_file(contract, file)  # the header is the columns: metadata of a server does not name them
    assert found.arrays["x"].tolist() == [[1, 2], [5, 6]]
    assert (found.count, found.origin) == (2, "rows.csv")
    file.write_text("a,b\n1,\n,4\n")
    assert from_file(contract, file).count == 2


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("rows.csv", "a\n", "input.empty"),
        ("rows.csv", "q\n1\n", "input.unknown"),
        ("rows.xls", "", "rows.format"),
        ("no.csv", None, "rows.missing"),
    ],
)
def test_rows_that_cannot_be_sent(tmp_path: Path, name: str, text: str | None, code: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SetsailError) as caught:
        from_file(signature(TensorSpec.parse("a:float32[N]")), tmp_path / name)
    assert caught.value.code == code
