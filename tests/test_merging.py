"""Joining bodies may never change what a request means: held against binding each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.merging import merge, portion
from setsail.messages import Body, Cells, Columns, Rows, Tensor, Tensors
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

FLOAT, INT = BY_NAME["float32"], BY_NAME["int64"]
TABLE = Signature((TensorSpec("x", FLOAT, ("N", 2)),), (TensorSpec("y", FLOAT, ("N",)),), ("y",))
PAIR = Signature(
    (TensorSpec("a", FLOAT, ("N",)), TensorSpec("b", INT, ("N",))), (TensorSpec("y", FLOAT, ("N",)),), ("y",)
)


def rows_of(body: Body) -> int | None:
    found = portion(body)
    return None if found is None else found.rows


def test_rows_of_two_clients_become_one_table() -> None:
    first, second = Rows([[1.0, 2.0]]), Rows([[3.0, 4.0], [5.0, 6.0]])
    assert portion(first)[0] == portion(second)[0]  # type: ignore[index]
    assert bind(TABLE, merge([first, second]))["x"].tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    "body",
    [
        Rows([]),
        Tensors((Tensor("x", [1.0, 2.0, 3.0], FLOAT, (1, 2)),)),  # three values for a shape of two
        Tensors((Tensor("x", [[1.0, 2.0]], FLOAT, (2, 2)),)),
        Tensors((Tensor("x", np.zeros(3, np.float32), FLOAT, (1, 2)),)),
        Tensors((Tensor("a", [1.0], FLOAT, (1,)), Tensor("b", [1, 2], INT, (2,)))),  # inputs that differ in rows
        Tensors((Tensor("a", [1.0], FLOAT, ()),)),
        Tensors(()),
        Columns({"a": [1.0], "b": [1, 2]}),
        Columns({"a": 1.0}),
        Columns({}),
        Cells(("a",), []),
    ],
)
def test_a_body_whose_rows_are_in_doubt_is_bound_alone(body: Body) -> None:
    assert portion(body) is None


def test_values_that_do_not_fit_cannot_be_lent_to_a_neighbour() -> None:
    """Three values and five are eight, enough for two rows of four: but no client sent two rows."""
    three = Tensors((Tensor("x", [1, 2, 3], FLOAT, (1, 4)),))
    five = Tensors((Tensor("x", [4, 5, 6, 7, 8], FLOAT, (1, 4)),))
    assert rows_of(three) is rows_of(five) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Rows([[1.0, 2.0]]), Rows([{"p": 1.0, "q": 2.0}])),
        (Rows([[1.0, 2.0]]), Rows([[1.0, 2.0, 3.0]])),
        (Tensors((Tensor("x", [1, 2], FLOAT, (1, 2)),)), Tensors((Tensor("x", [1, 2], INT, (1, 2)),))),
        (Tensors((Tensor("x", [1, 2], FLOAT, (1, 2)),)), Tensors((Tensor("x", [[1, 2]], FLOAT, (1, 2)),))),
        (Tensors((Tensor("x", [1, 2], FLOAT, (1, 2)),)), Tensors((Tensor("x", [1, 2], FLOAT, (2, 1)),))),
        (Columns({"a": [1]}), Columns({"a": [1]}, ignore_unknown=True)),
        (Columns({"a": [1]}), Columns({"b": [1]})),
        (Columns([1]), Columns({"": [1]})),
        (Cells(("a",), [["1"]]), Cells(("b",), [["1"]])),
    ],
)
def test_bodies_of_different_forms_are_never_joined(one: Body, other: Body) -> None:
    assert portion(one)[0] != portion(other)[0]  # type: ignore[index]


# -- any bodies: joined, they mean what each means alone --------------------------------------------------------------

number = st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-1000, 1000), st.none(), st.just("7"), st.booleans())
ragged = st.lists(st.lists(number, min_size=1, max_size=3), min_size=0, max_size=3)
flat = st.lists(number, min_size=0, max_size=6)
shape = st.lists(st.integers(0, 3), min_size=0, max_size=2).map(tuple)


def tensors(name: str) -> st.SearchStrategy[Tensor]:
    lists = st.builds(Tensor, st.just(name), st.one_of(ragged, flat), st.sampled_from([FLOAT, INT]), shape)
    arrays = shape.map(lambda s: Tensor(name, np.arange(int(np.prod(s)), dtype=np.float32), FLOAT, s))
    return st.one_of(lists, arrays)


body_of_pair = st.one_of(
    ragged.map(Rows),
    st.lists(st.fixed_dictionaries({"a": number, "b": number}), max_size=3).map(Rows),
    st.fixed_dictionaries({"a": flat, "b": flat}).map(Columns),
    st.tuples(tensors("a"), tensors("b")).map(Tensors),
)
body_of_table = st.one_of(ragged.map(Rows), ragged.map(Columns), st.tuples(tensors("x")).map(Tensors))


def alone(signature: Signature, body: Body) -> dict[str, Any] | str:
    try:
        return {name: array.tolist() for name, array in bind(signature, body).items()}
    except SetsailError as fault:
        return fault.code


@pytest.mark.parametrize(("signature", "body"), [(TABLE, body_of_table), (PAIR, body_of_pair)], ids=["table", "pair"])
def test_a_joined_body_binds_to_the_rows_of_its_parts_or_is_refused(
    signature: Signature, body: st.SearchStrategy[Body]
) -> None:
    @given(st.lists(body, min_size=2, max_size=4))
    def check(bodies: list[Body]) -> None:
        groups: dict[Any, list[Body]] = {}
        for one in bodies:
            part = portion(one)
            if part is not None:
                groups.setdefault(part.key, []).append(one)
        for group in groups.values():
            joined = alone(signature, merge(group))
            if isinstance(joined, str):
                continue  # whoever merges binds each alone then
            parts = [alone(signature, one) for one in group]
            assert not any(isinstance(part, str) for part in parts), "a fault was hidden by a neighbour"
            sizes = [portion(one).rows for one in group]  # type: ignore[union-attr]
            for name, values in joined.items():
                assert values == [row for part in parts for row in part[name]]  # type: ignore[index]
                assert len(values) == sum(sizes)
                assert [len(part[name]) for part in parts] == sizes  # type: ignore[index]

    check()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Rows([[1, 2]], ("a", "b")), Rows([[1, 2]], ("b", "a"))),
        (Rows([[1, 2]], ("a", "b")), Rows([[1, 2]])),
        (Cells(("a",), [["1"]], ignore_unknown=True), Cells(("a",), [["1"]])),
        (Cells(("a",), [["NA"]], nulls=frozenset(("NA",))), Cells(("a",), [["NA"]])),
        (Tensors((Tensor("a", [1]),), True), Tensors((Tensor("a", [1]),))),
    ],
)
def test_frames_are_joined_with_their_like_only(one: Body, other: Body) -> None:
    first, second = portion(one), portion(other)
    assert first is not None
    assert second is not None
    assert first.key != second.key
    merged = merge([one, one])
    for name in ("names", "ignore_unknown", "nulls", "header"):
        assert getattr(merged, name, None) == getattr(one, name, None)
