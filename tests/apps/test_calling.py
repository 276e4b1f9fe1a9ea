"""Arrays go in, calls are made, and what comes back is held against the hints."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest

from setsail.apps.calling import Function, WrongAnswerError
from setsail.tensors import NULL


def run(function: Any, **inputs: Any) -> dict[str, Any]:
    return Function(function).run({name: np.array(value) for name, value in inputs.items()})


def test_single_values_are_called_once_a_row_with_pythons_own_types() -> None:
    seen = []

    def f(n: int, x: float, word: str, flag: bool) -> str:
        seen.append((n, x, word, flag))
        return word * n

    answers = run(f, n=[1, 2], x=[0.5, 1.5], word=np.array(["a", "b"], dtype=object), flag=[True, False])
    assert answers["output"].tolist() == ["a", "bb"]
    assert answers["output"].dtype == object
    assert seen == [(1, 0.5, "a", True), (2, 1.5, "b", False)]
    assert [type(v) for v in seen[0]] == [int, float, str, bool]


def test_arrays_are_called_once_with_all_rows() -> None:
    shapes = []

    def f(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return x.sum(axis=1)

    assert run(f, x=[[1.0, 2.0], [3.0, 4.0]])["output"].tolist() == [3.0, 7.0]
    assert shapes == [(2, 2)]


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Polar(TypedDict):
    r: float
    side: Literal["left", "right"]


def test_records_in_and_out() -> None:
    def polar(point: Point) -> Polar:
        return {"r": (point.x**2 + point.y**2) ** 0.5, "side": "left" if point.x < 0 else "right"}

    answers = run(polar, x=[3.0, -3.0], y=[4.0, 4.0])
    assert answers["r"].tolist() == [5.0, 5.0]
    assert answers["side"].tolist() == ["right", "left"]

    def mirrored(point: Point) -> Point:
        return Point(-point.x, point.y)

    assert run(mirrored, x=[1.0], y=[2.0])["x"].tolist() == [-1.0]


def test_lists_tuples_numpy_scalars_and_keywords() -> None:
    def stats(values: list[float], *, power: np.float32) -> tuple[float, list[float]]:
        assert type(power) is np.float32
        return sum(values), [v**power for v in values]

    answers = run(stats, values=[[1.0, 2.0], [3.0, 4.0]], power=np.array([1, 2], dtype=np.float32))
    assert answers["output_0"].tolist() == [3.0, 7.0]
    assert answers["output_1"].tolist() == [[1.0, 2.0], [9.0, 16.0]]


def test_missing_values_are_none() -> None:
    def known(x: float | None, word: str | None) -> str | None:
        return None if x is None else word

    texts = np.array(["a", NULL], dtype=object)
    assert run(known, x=[np.nan, 1.0], word=texts)["output"].tolist() == [NULL, NULL]
    assert run(known, x=[2.0, 1.0], word=texts)["output"].tolist() == ["a", NULL]


def test_an_array_may_be_rounded_to_its_hint_and_widened() -> None:
    def f(x: np.ndarray) -> Annotated[np.ndarray, "float32[N,2]"]:
        return x

    assert run(f, x=[[0.1, 1e300]])["output"].dtype == np.float32

    def whole(x: np.ndarray) -> np.ndarray:
        return np.arange(len(x))

    assert run(whole, x=[[0.1]])["output"].dtype == np.float64


def giving(value: Any, hint: Any, rows: int = 2, given: Any = float) -> Any:
    def f(x: Any) -> Any:
        return value

    f.__annotations__ = {"x": given, "return": hint}
    inputs: Any = np.zeros(rows) if given is float else np.zeros((rows, 1))
    return Function(f).run({"x": inputs})


Three = Annotated[np.ndarray, "float64[N,3]"]


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        ("a", float, "its hint says float64"),
        (True, float, "bool True"),
        (1.5, int, "its hint says int64"),
        (2**70, int, "int64"),
        (300, np.uint8, "uint8"),
        (None, float, "NoneType"),
        (1, str, "string"),
        ("\ud800", str, "not Unicode"),
        ("c", Literal["a", "b"], "one of a, b"),
        ((1.0,), tuple[float, float], "a tuple of 2"),
        ({"r": 1.0}, Polar, "KeyError"),
        (3.0, Point, "AttributeError"),
        ([[1.0], [2.0, 3.0]], list[list[float]], "inhomogeneous"),
        (["a", 1], list[str], "texts"),
        (1.0, list[float], "float64[]"),
    ],
)
def test_what_the_hint_does_not_say_is_the_functions_fault(value: Any, hint: Any, said: str) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        giving(value, hint)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        (np.zeros((2, 2)), Three, 'float64[2,2], and its hint says float64[N,3]'),
        (np.zeros(3), np.ndarray, "3 rows, and 2 were asked for"),
        (np.zeros(2, dtype=complex), np.ndarray, "complex128"),
        (np.array([0.5, 1.0]), Annotated[np.ndarray, "int64[N]"], "float64, and its hint says int64"),
        (np.array([-1, 1]), Annotated[np.ndarray, "uint8[N]"], "cannot hold"),
        (np.float64(1.0), np.ndarray, "float64[]"),
    ],
)  # fmt: skip
def test_an_array_that_the_hint_does_not_say(value: Any, hint: Any, said: str) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        giving(value, hint, given=np.ndarray)
    assert said in str(caught.value)


def test_rows_of_different_lengths_do_not_make_a_tensor() -> None:
    def f(x: float) -> list[float]:
        return [x] * int(x)

    with pytest.raises(WrongAnswerError, match="from row to row"):
        run(f, x=[1.0, 2.0])
    assert run(f, x=[2.0, 2.0])["output"].shape == (2, 2)
