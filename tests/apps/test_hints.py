"""Type hints become a signature, or a refusal that says which hint would do."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from setsail.apps.calling import Function
from setsail.errors import SetsailError


def hinted(result: Any, **given: Any) -> Any:
    """A function with these hints."""

    def function(**inputs: Any) -> Any: ...

    text = f"def function({', '.join(given)}): ..."
    names: dict[str, Any] = {}
    exec(text, names)
    names["function"].__annotations__ = given | ({} if result is ... else {"return": result})
    return names["function"]


def signature(result: Any, **given: Any) -> str:
    return str(Function(hinted(result, **given)).signature)


Table = np.ndarray[tuple[int, Literal[4]], np.dtype[np.float32]]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (float, "x:float64[N]"),
        (int, "x:int64[N]"),
        (bool, "x:bool[N]"),
        (str, "x:string[N]"),
        (np.float32, "x:float32[N]"),
        (np.uint8, "x:uint8[N]"),
        (np.bool_, "x:bool[N]"),
        (list[float], "x:float64[N,x_1]"),
        (Sequence[int], "x:int64[N,x_1]"),
        (list[list[str]], "x:string[N,x_1,x_2]"),
        (Annotated[float, "float32"], "x:float32[N]"),
        (Annotated[list[float], "float32[3]"], "x:float32[N,3]"),
        (Annotated[list[float], "float32[*]"], "x:float32[N,x_0]"),
    ],
)
def test_values_of_a_row(hint: Any, text: str) -> None:
    assert signature(float, x=hint) == f"({text}) -> (output:float64[N])"


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (np.ndarray, "x:float64[N,x_1]"),
        (NDArray[Any], "x:float64[N,x_1]"),
        (NDArray[np.float32], "x:float32[N,x_1]"),
        (NDArray[np.str_], "x:string[N,x_1]"),
        (np.ndarray[tuple[int], np.dtype[np.int64]], "x:int64[N]"),
        (Table, "x:float32[N,4]"),
        (Annotated[np.ndarray, "float32[N,4]"], "x:float32[N,4]"),
        (Annotated[np.ndarray, "uint8[*,*,*,3]"], "x:uint8[N,x_1,x_2,3]"),
        (Annotated[np.ndarray, "float32[N,k]"], "x:float32[N,k]"),
    ],
)
def test_arrays_of_all_rows(hint: Any, text: str) -> None:
    assert signature(np.ndarray, x=hint) == f"({text}) -> (output:float64[N])"


@dataclasses.dataclass
class House:
    rooms: int
    area: float
    town: str | None


class Price(TypedDict):
    price: float
    kind: Literal["cheap", "dear"]


class Pair(NamedTuple):
    low: float
    high: float


def test_records_are_many_inputs_and_many_outputs() -> None:
    made = Function(hinted(Price, house=House)).signature
    assert str(made) == "(rooms:int64[N], area:float64[N], town:string[N]) -> (price:float64[N], kind:string[N])"
    assert [spec.nullable for spec in made.inputs] == [False, False, True]
    assert made.output("kind").labels == ("cheap", "dear")
    assert made.defaults == ("price", "kind")
    assert signature(Pair, x=float).endswith("(low:float64[N], high:float64[N])")
    assert signature(tuple[str, float], x=float).endswith("(output_0:string[N], output_1:float64[N])")


def test_choices_are_the_only_texts_and_none_is_a_missing_value() -> None:
    spec = Function(hinted(float, x=Literal["a", "b"])).signature.input("x")
    assert (spec.categories, spec.closed) == (("a", "b"), True)
    assert Function(hinted(float, x=float | None)).signature.input("x").nullable
    assert Function(hinted(np.ndarray, x=Annotated[np.ndarray, "float64[N,2]?"])).signature.input("x").nullable


def test_a_parameter_with_a_default_is_no_input() -> None:
    def scaled(x: float, factor: float = 2.0) -> float:
        return x * factor

    assert str(Function(scaled).signature) == "(x:float64[N]) -> (output:float64[N])"


def code(function: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        Function(function)
    assert caught.value.code == "app.hints"
    return caught.value


@pytest.mark.parametrize(
    ("result", "given", "field"),
    [
        (float, {"x": complex}, "x"),
        (float, {"x": dict[str, float]}, "x"),
        (float, {"x": float | str}, "x"),
        (float, {"x": int | None}, "x"),
        (float, {"x": Literal[1, 2]}, "x"),
        (float, {"x": list[np.ndarray]}, "x"),
        (float, {"x": NDArray[np.complex128]}, "x"),
        (float, {"x": Annotated[float, "string"]}, "x"),
        (float, {"x": Annotated[float, "float32[4]"]}, "x"),
        (float, {"x": Annotated[list[float], "float32[2,2]"]}, "x"),
        (float, {"x": Annotated[float, "float12"]}, "x"),
        (None, {"x": float}, "output"),
        (..., {"x": float}, "the result"),
        (float, {}, "the parameters"),
        (float, {"x": np.ndarray, "k": int}, "the parameters"),
        (float, {"x": np.ndarray}, "output"),
        (np.ndarray, {"x": Annotated[np.ndarray, "float32[4,4]"]}, "x"),
        (Pair, {"low": float, "pair": Pair}, "low"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(result: Any, given: dict[str, Any], field: str) -> None:
    fault = code(hinted(result, **given))
    assert fault.field == field
    assert fault.expected


async def later(x: float) -> float:
    return x


def stream(x: float) -> Iterator[float]:
    yield x


async def later_stream(x: float) -> AsyncIterator[float]:
    yield x


def bare(x) -> float:  # type: ignore[no-untyped-def]
    return 1.0


def many(*x: float) -> float:
    return 1.0


def unknown(x: NoSuchThing) -> float:  # type: ignore[name-defined]  # noqa: F821
    return 1.0


class Callable:
    def __call__(self, x: float) -> float:
        return x


def test_ways_of_calling_that_are_not_a_plain_function() -> None:
    assert "async" in code(later).what
    assert "generator" in code(stream).what
    assert "generator" in code(later_stream).what
    assert "class" in code(House).what
    assert code(bare).field == "x"
    assert code(many).field == "*x: 'float'"
    assert "NoSuchThing" in str(code(unknown))
    assert str(Function(Callable()).signature) == "(x:float64[N]) -> (output:float64[N])"
