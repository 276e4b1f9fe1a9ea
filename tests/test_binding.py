"""What a client sent, as arrays: every form a body has, and every way one can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.binding import _bind, bind
from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows, Tensor, Tensors
from setsail.shortcut import at_once
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES, NULL, Numbers

OUT = (TensorSpec.parse("y:float32[N]"),)


def model(*inputs: str, **more: Any) -> Signature:
    """A signature with these inputs; `more` are attributes of each."""
    read = map(TensorSpec.parse, inputs)
    return Signature(tuple(TensorSpec(s.name, s.dtype, s.shape, **more) for s in read), OUT, ("y",))


def refused(signature: Signature, body: Body) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        bind(signature, body)
    return caught.value


def tensors(name: str, data: Any, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> Tensors:
    return Tensors((Tensor(name, data, None if dtype is None else BY_NAME[dtype], shape),))


TABLE = model("input:float64[N,2]", columns=("age", "height"))
MIXED = model("age:float32[N]", "city:string[N]")
IMAGE = model("pixels:uint8[N,2,2]")


# -- rows ------------------------------------------------------------------------------------------------------------


def test_rows_of_a_table_as_lists_or_by_column_name() -> None:
    for body in (
        Rows([[1, 2.5], [3, 4]]),
        Rows([{"age": 1, "height": 2.5}, {"height": 4, "age": 3}]),
        Rows([{"input": [1, 2.5]}, {"input": [3, 4]}]),
    ):
        assert bind(TABLE, body)["input"].tolist() == [[1, 2.5], [3, 4]]


def test_rows_of_several_inputs_by_place_or_by_name() -> None:
    for body in (Rows([[42, "Rome"]]), Rows([{"city": "Rome", "age": 42}])):
        bound = bind(MIXED, body)
        assert bound["age"].dtype == np.float32
        assert {name: array.tolist() for name, array in bound.items()} == {"age": [42.0], "city": ["Rome"]}


def test_rows_of_one_column_may_each_be_a_list_of_one() -> None:
    for body in (Rows(["a", "b"]), Rows([["a"], ["b"]])):
        assert bind(model("text:string[N]"), body)["text"].tolist() == ["a", "b"]


def test_rows_of_several_inputs_with_tensors_must_be_named() -> None:
    both = model("a:float32[N,2]", "b:float32[N]")
    assert refused(both, Rows([[[1, 2], 3]])).code == "input.shape"
    assert bind(both, Rows([{"a": [1, 2], "b": 3}]))["a"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("signature", "rows", "code", "row"),
    [
        (TABLE, [], "input.empty", None),
        (TABLE, [[1, 2], [3]], "input.ragged", 1),
        (TABLE, [[1, 2], [3, "x"]], "input.dtype", 1),
        (TABLE, [[1, 2], [3, True]], "input.dtype", 1),
        (TABLE, [[1, 2], [3, None]], "input.null", 1),
        (TABLE, [[1, 2], [3, [4]]], "input.ragged", 1),
        (TABLE, [[1, 2], 3], "input.ragged", 1),
        (TABLE, [[1, 2, 3]], "input.shape", None),
        (TABLE, [{"age": 1, "height": 2}, [3, 4]], "input.ragged", 1),
        (TABLE, [{"age": 1, "height": 2}, {"age": 3}], "input.missing", 1),
        (TABLE, [{"age": 1, "height": 2}, {"age": 3, "height": 4, "weight": 5}], "input.unknown", 1),
        (TABLE, [{"age": 1}], "input.missing", None),
        (TABLE, [{"age": 1, "heigth": 2}], "input.unknown", None),
        (TABLE, [[1, 2], [3, float("nan")]], "input.nan", 1),
        (MIXED, [[1, "a"], [2]], "input.shape", 1),
        (MIXED, [[1, "a"], [2, 7]], "input.dtype", 1),
        (MIXED, [{"age": 1, "city": "a"}, {"age": 2, "city": None}], "input.null", 1),
        (MIXED, [{"age": 1}], "input.missing", None),
        (IMAGE, [[[1, 2], [3, 4]], [[1, 2], [3]]], "input.ragged", 1),
        (IMAGE, [[[1, 2], [3, 4]], [[1, 2], [3, 256]]], "input.range", 1),
        (IMAGE, [[[1, 2], [3, 4]], [[1, 2], [3, 1.0]]], "input.dtype", 1),
        (IMAGE, [[[1, 2], [3, 4]], [[1, 2], [3, {}]]], "input.dtype", 1),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(signature: Signature, rows: list[Any], code: str, row: int | None) -> None:
    fault = refused(signature, Rows(rows))
    assert (fault.code, fault.facts.get("row")) == (code, row)


def test_deep_nesting_is_refused_before_numpy_sees_it() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert refused(TABLE, Rows([deep])).code == "input.shape"


# -- columns ---------------------------------------------------------------------------------------------------------


def test_columns_by_name_and_the_bare_values_of_a_single_input() -> None:
    for columns in ({"age": [1, 3], "height": [2, 4]}, {"input": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]):
        assert bind(TABLE, Columns(columns))["input"].tolist() == [[1, 2], [3, 4]]


def test_a_column_may_be_n_by_1() -> None:
    assert bind(MIXED, Columns({"age": [[1], [2]], "city": ["a", "b"]}))["age"].tolist() == [1, 2]


def test_unknown_names_are_refused_unless_the_wire_ignores_them() -> None:
    columns = {"age": [1], "height": [2], "weight": [3]}
    assert refused(TABLE, Columns(columns)).code == "input.unknown"
    assert bind(TABLE, Columns(columns, ignore_unknown=True))["input"].tolist() == [[1, 2]]
    more = {"age": [1], "city": ["a"], "zip": [0]}
    assert refused(MIXED, Columns(more)).code == "input.unknown"
    assert list(bind(MIXED, Columns(more, ignore_unknown=True))) == ["age", "city"]


def test_columns_that_do_not_fit() -> None:
    assert refused(TABLE, Columns({"age": [1, 2], "height": [3]})).code == "input.length"
    assert refused(MIXED, Columns({"age": [1, 2], "city": ["a"]})).code == "input.length"
    assert refused(MIXED, Columns([1, 2])).code == "input.missing"
    assert refused(TABLE, Columns({"age": [1]})).code == "input.missing"
    assert refused(TABLE, Columns({"age": [], "height": []})).code == "input.empty"
    for nested in ([[]], [[3, 4]], [[[5]]]):
        assert refused(TABLE, Columns({"age": [1], "height": nested})).code == "input.shape"
    scalar = Tensors((Tensor("age", [1], None, ()), Tensor("height", [1], None, (1,))))
    assert refused(TABLE, scalar).code == "input.shape"


# -- tensors ---------------------------------------------------------------------------------------------------------


def test_a_tensor_may_be_flat_nested_or_an_array() -> None:
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.float32)):
        dtype = "float32" if isinstance(data, np.ndarray) else "int32"
        assert bind(TABLE, tensors("input", data, dtype, (2, 2)))["input"].tolist() == [[1, 2], [3, 4]]


def test_the_columns_of_a_table_may_be_a_tensor_each() -> None:
    two = Tensors((Tensor("height", [2, 4], BY_NAME["float64"], (2, 1)), Tensor("age", [1, 3], None, (2,))))
    assert bind(TABLE, two)["input"].tolist() == [[1, 2], [3, 4]]


def test_a_tensor_twice_is_refused() -> None:
    twice = Tensors((Tensor("age", [1]), Tensor("age", [2]), Tensor("city", ["a"])))
    assert refused(MIXED, twice).code == "input.unknown"


def test_nothing_narrows() -> None:
    fault = refused(MIXED, tensors("age", np.zeros(1), "float64", (1,)))
    assert (fault.code, fault.value, fault.expected) == ("input.dtype", "'FP64'", "FP32 or a type that widens to it")
    assert refused(IMAGE, tensors("pixels", [1, 2, 3, 4], "int8", (1, 2, 2))).code == "input.dtype"


def test_values_must_fill_the_shape() -> None:
    assert refused(TABLE, tensors("input", [1, 2, 3], "float64", (2, 2))).code == "input.shape"


def test_integers_go_into_floats_only_when_exact() -> None:
    exact, off = np.array([2**53], np.int64), np.array([2**53 + 1], np.int64)
    wide = model("x:float64[N]")
    assert bind(wide, tensors("x", exact, "int64", (1,)))["x"].tolist() == [2.0**53]
    assert refused(wide, tensors("x", off, "int64", (1,))).code == "input.range"


@pytest.mark.parametrize(("value", "dtype"), [(2**63, "uint64"), (-(2**63), "int64"), (70_000, "int32")])
def test_integers_that_would_become_infinite(value: int, dtype: str) -> None:
    """An infinity cast back may be the very integer it came from."""
    half = model("x:float16[N]")
    assert refused(half, tensors("x", np.array([value], dtype), dtype, (1,))).code == "input.range"


def test_int64_beyond_2_to_the_53_survives_json() -> None:
    assert bind(model("x:int64[N]"), Rows([2**63 - 1, -(2**63), 2**53 + 1]))["x"].tolist() == [
        2**63 - 1, -(2**63), 2**53 + 1,
    ]  # fmt: skip
    assert bind(model("x:uint64[N]"), Rows([2**64 - 1]))["x"].tolist() == [2**64 - 1]


# -- values ----------------------------------------------------------------------------------------------------------

INTEGERS = [d for d in DTYPES if d.kind in ("int", "uint")]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_the_edges_of_every_integer_dtype(dtype: Any) -> None:
    info = np.iinfo(dtype.numpy)
    signature = model(f"x:{dtype}[N]")
    assert bind(signature, Rows([int(info.min), int(info.max)]))["x"].tolist() == [info.min, info.max]
    for value in (int(info.min) - 1, int(info.max) + 1, 10**40):
        fault = refused(signature, Rows([0, value]))
        assert (fault.code, fault.facts["row"], fault.expected) == ("input.range", 1, f"{info.min} to {info.max}")


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 1e6), ("float32", 1e39), ("float64", 10**400)], ids=["half", "single", "double"]
)
def test_a_float_too_large_for_its_dtype(dtype: str, value: Any) -> None:
    signature = model(f"x:{dtype}[N]", nullable=True)
    for sent in (value, -value, int(value)):
        for rows in ([0.5, sent], [1, sent], [float("inf"), sent], [None, sent]):
            fault = refused(signature, Rows(rows))
            assert (fault.code, fault.facts["row"]) == ("input.range", 1)


def test_bool_is_no_number_and_a_number_is_no_bool() -> None:
    assert bind(model("x:bool[N]"), Rows([True, False]))["x"].tolist() == [True, False]
    for dtype, value in (("bool", 1), ("int64", True), ("float64", False), ("string", 1), ("int64", 1.0)):
        assert refused(model(f"x:{dtype}[N]"), Rows([value])).code == "input.dtype"


def test_a_text_among_numbers_is_never_parsed() -> None:
    assert refused(model("x:float64[N]"), Rows([1.0, "2"])).code == "input.dtype"


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", float("nan")), ("float64", float("nan")), ("string", NULL)]
)
def test_null_is_a_missing_value_where_the_model_had_some(dtype: str, expected: Any) -> None:
    value = "a" if dtype == "string" else 1.0
    bound = bind(model(f"x:{dtype}[N]", nullable=True), Rows([value, None]))["x"]
    assert bound[1] == expected or (np.isnan(bound[1]) and np.isnan(expected))
    fault = refused(model(f"x:{dtype}[N]"), Rows([value, None]))
    assert (fault.code, fault.facts["row"]) == ("input.null", 1)


def test_null_is_never_an_integer() -> None:
    assert refused(model("x:int64[N]", nullable=True), Rows([1, None])).code == "input.null"


def test_nan_and_infinity_need_a_nullable_input() -> None:
    assert np.isposinf(bind(model("x:float32[N]", nullable=True), Rows([float("inf")]))["x"][0])
    assert refused(model("x:float32[N]"), Rows([float("inf")])).code == "input.nan"


def test_text_may_come_as_bytes() -> None:
    signature = model("text:string[N]")
    assert bind(signature, Rows(["Ærø".encode(), "b"]))["text"].tolist() == ["Ærø", "b"]
    array = np.array([b"Ero", "Ærø".encode()], dtype=object)
    assert bind(signature, tensors("text", array, "string", (2,)))["text"].tolist() == ["Ero", "Ærø"]
    assert refused(signature, Rows([b"\xff"])).code == "input.dtype"


def test_a_closed_column_refuses_an_unknown_level() -> None:
    signature = model("city:string[N]", categories=("Oslo", "Rome"), closed=True)
    fault = refused(signature, Rows(["Rome", "Roma"]))
    assert (fault.code, fault.facts["row"]) == ("input.category", 1)


# -- cells -----------------------------------------------------------------------------------------------------------


def test_cells_are_parsed_by_each_inputs_dtype() -> None:
    signature = model("age:float32[N]", "city:string[N]", "member:bool[N]", "n:int64[N]", nullable=True)
    bound = bind(signature, Cells(("n", "city", "member", "age"), [("7", "", "TRUE", ""), ("-1", "a", "false", "1e3")]))
    assert np.isnan(bound["age"][0])
    assert bound["age"][1] == 1000
    assert {n: bound[n].tolist() for n in ("city", "member", "n")} == {
        "city": [NULL, "a"], "member": [True, False], "n": [7, -1],
    }  # fmt: skip


def test_an_empty_cell_is_a_text_where_text_cannot_be_missing() -> None:
    assert bind(model("a:string[N]"), Cells(("a",), [("",)]))["a"].tolist() == [""]


@pytest.mark.parametrize(
    ("header", "row", "code"),
    [
        (("age", "height"), ("1", "x"), "input.dtype"),
        (("age", "height"), ("1", ""), "input.null"),
        (("age", "height"), ("1",), "input.ragged"),
        (("age", "age"), ("1", "2"), "request.csv"),
        (("age", "weight"), ("1", "2"), "input.unknown"),
        (("age",), ("1",), "input.missing"),
    ],
)
def test_cells_that_do_not_fit(header: tuple[str, ...], row: tuple[str, ...], code: str) -> None:
    assert refused(TABLE, Cells(header, [row])).code == code


def test_an_input_that_is_no_column_cannot_come_as_cells() -> None:
    assert refused(IMAGE, Cells(("pixels",), [("1",)])).code == "input.shape"


# -- anything at all ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["age", "height", "city", "x"]), inner),
    max_leaves=8,
)


@given(
    signature=st.sampled_from([TABLE, MIXED, IMAGE, model("x:int8[N]"), model("x:string[N]", nullable=True)]),
    values=st.lists(JSON, max_size=4) | st.dictionaries(st.sampled_from(["age", "height", "city", "x", "input"]), JSON),
    form=st.sampled_from([Rows, Columns]),
)
def test_any_json_is_bound_or_refused_with_a_code(signature: Signature, values: Any, form: Any) -> None:
    if form is Rows and isinstance(values, dict):
        values = [values]
    try:
        bound = bind(signature, form(values))
    except SetsailError as fault:
        if not fault.code.startswith("input."):
            raise
        return
    assert list(bound) == [s.name for s in signature.inputs]
    for spec in signature.inputs:
        assert bound[spec.name].dtype == spec.dtype.numpy


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_float64_values_are_kept_to_the_bit(values: list[float]) -> None:
    assert bind(model("x:float64[N]"), Rows(values))["x"].tolist() == values


# -- the short way, held against the general one -----------------------------------------------------------------------

EDGES = [0, 1, -1, 127, 128, 255, 256, 2**24 + 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**40, 10**400,
         0.5, 0.1, -0.0, 65519.0, 65520.0, 3.4028235e38, 3.4028236e38, 1.7976931348623157e308, 1e-320,
         float("nan"), float("inf"), True, None, "1", b"1234", {}, [1]]  # fmt: skip
NUMBER = st.sampled_from(EDGES) | st.integers(-300, 300) | st.floats(width=32) | st.floats()
SOLE = [model(f"x:{d}[{shape}]", nullable=n) for d in DTYPES for shape in ("N", "N,2", "N,2,1") for n in (False, True)]
SOLE += [model("x:float32[N,2]", columns=("input", "b")), model("data:float64[N,2]", columns=("a", "b"))]


@st.composite
def one_input_bodies(draw: Any, signature: Signature) -> Body:
    """Mostly rows of the right form, now and then not, as every form of body."""
    (spec,) = signature.inputs
    kind = draw(st.sampled_from(["plain", "edges", "near"]))
    few = st.integers(0, 5) if spec.dtype.kind in ("int", "uint") else st.floats(-4, 4, width=16) | st.integers(-4, 4)
    value = few if kind == "plain" else NUMBER
    rows = draw(st.integers(0, 3))
    shape = [rows, *(d for d in spec.shape[1:] if isinstance(d, int))]
    if kind == "near":
        shape = draw(st.lists(st.integers(0, 3), max_size=4))
    data: Any = draw(st.lists(value, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    flat = data
    for size in reversed(shape[1:]):
        data = [data[i : i + size] for i in range(0, len(data), size or 1)]
    form = draw(st.sampled_from(["rows", "bare", "named", "word", "flat tensor", "tensor", "array"]))
    if form == "word":
        return Columns({draw(st.sampled_from(["input", "x", "data"])): data}, loose=True)
    if form in ("rows", "bare", "named"):
        return Rows(data) if form == "rows" else Columns(data if form == "bare" else {"x": data})
    dtype = draw(st.sampled_from([spec.dtype] * 4 + list(DTYPES)))
    if form == "array":
        with np.errstate(all="ignore"):
            array = np.array(draw(st.lists(st.integers(0, 100), min_size=len(flat), max_size=len(flat)))).astype(
                dtype.numpy
            )
        return Tensors((Tensor("x", array, dtype, tuple(shape)),))
    return Tensors((Tensor("x", flat if form == "flat tensor" else data, dtype, tuple(shape)),))


def outcome(way: Any, signature: Signature, body: Body) -> Any:
    try:
        return {n: (a.dtype, a.shape, a.tobytes() if a.dtype != object else a.tolist()) for n, a in
                way(signature, body).items()}  # fmt: skip
    except SetsailError as fault:
        return fault.to_json()


@settings(max_examples=400)
@given(st.data())
def test_the_short_way_agrees_with_the_general_one(data: Any) -> None:
    signature = data.draw(st.sampled_from(SOLE))
    body = data.draw(one_input_bodies(signature))
    assert outcome(bind, signature, body) == outcome(_bind, signature, body)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.size and d.name != "bool"], ids=str)
def test_the_short_way_is_taken_by_ordinary_rows(dtype: Any) -> None:
    sole = model(f"x:{dtype}[N,2]").sole
    assert sole is not None
    array = np.array([[1, 2], [3, 4]], dtype.numpy)
    numbers = Numbers.of(np.array([[1, 2], [3, 4]]), lambda: None)
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]], array, numbers, numbers.reshape(-1)):
        made = at_once(sole, Tensors((Tensor("x", data, dtype, (2, 2)),)))
        assert made is not None
        assert (made.dtype, made.tolist()) == (dtype.numpy, [[1, 2], [3, 4]])
    word = Columns({"input": [[1, 2], [3, 4]]}, loose=True)
    for body in (
        Rows([[1, 2], [3, 4]]),
        Columns([[1, 2], [3, 4]]),
        Columns({"x": word.columns["input"]}),
        word,
        Rows(numbers),
    ):
        assert at_once(sole, body) is not None


@settings(max_examples=300)
@given(st.data())
def test_packed_numbers_mean_what_the_list_means(data: Any) -> None:
    """Numbers that a parser packed, with and without the text they came from."""
    signature = data.draw(st.sampled_from([*SOLE, TABLE, MIXED, IMAGE]))
    value = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
    if data.draw(st.booleans()):
        value |= st.floats(allow_nan=False, allow_infinity=False)
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    flat = data.draw(st.lists(value, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    listed: Any = flat
    for size in reversed(shape[1:]):
        listed = [listed[i : i + size] for i in range(0, len(listed), size)]
    whole = all(type(v) is int for v in flat)
    packed = Numbers.of(np.array(flat, np.int64 if whole else np.float64).reshape(shape), lambda: listed)
    name = data.draw(st.sampled_from([s.name for s in signature.inputs] + ["age"]))
    dtype = data.draw(st.sampled_from([signature.inputs[0].dtype, *DTYPES]))
    for make in (
        Rows, Columns, lambda v: Columns({name: v}), lambda v: Columns({name: v}, ignore_unknown=True),
        lambda v: Tensors((Tensor(name, v, dtype, tuple(shape)),)), lambda v: Tensors((Tensor(name, v),)),
    ):  # fmt: skip
        assert outcome(bind, signature, make(packed)) == outcome(bind, signature, make(listed))


def test_numbers_joined_from_several_requests() -> None:
    joined = np.concatenate([Numbers.of(np.array([[1, 2]]), list), Numbers.of(np.array([[3, 4]]), list)])
    assert isinstance(joined, Numbers)
    assert bind(TABLE, Rows(joined))["input"].tolist() == [[1, 2], [3, 4]]
    halves = np.concatenate([Numbers.of(np.array([1.5]), list), Numbers.of(np.array([2.0]), list)])
    assert refused(model("x:int8[N]"), Rows(halves)).code == "input.dtype"


# -- frames: rows, columns and cells that may have more than the model, and are named once -----------------------------

PLAIN = model("input:float64[N,2]")
FRAMES = [
    lambda names, rows: Rows(rows, names),
    lambda names, rows: Rows(Numbers.of(np.array(rows, np.float64), lambda: rows), names),
    lambda names, rows: Cells(names, [list(map(str, row)) for row in rows], ignore_unknown=True),
    lambda names, rows: Tensors(
        tuple(Tensor(n, np.array(v, np.float64)) for n, v in zip(names, zip(*rows, strict=True), strict=True)), True
    ),
]
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=["rows", "numbers", "cells", "tensors"])


@every_frame
@pytest.mark.parametrize(
    ("signature", "names", "expected"),
    [
        (TABLE, ("age", "height"), [1.0, 2.0]),
        (TABLE, ("height", "age"), [2.0, 1.0]),
        (TABLE, ("shoe", "height", "age"), [3.0, 2.0]),
        (PLAIN, ("a", "b"), [1.0, 2.0]),  # its columns have no names: they are meant in their order
    ],
)
def test_a_frame_is_matched_by_name(frame: Any, signature: Signature, names: Any, expected: list[float]) -> None:
    rows = [[1.0, 2.0, 3.0][: len(names)]] * 2
    assert bind(signature, frame(names, rows))["input"].tolist() == [expected] * 2


@every_frame
@pytest.mark.parametrize(
    ("signature", "names"), [(TABLE, ("age", "shoe")), (PLAIN, ("a", "b", "c")), (MIXED, ("age", "town"))]
)
def test_a_frame_that_lacks_a_column(frame: Any, signature: Signature, names: tuple[str, ...]) -> None:
    assert refused(signature, frame(names, [[1.0] * len(names)])).code == "input.missing"


def test_a_row_of_a_frame_has_a_value_for_every_name() -> None:
    for rows in ([[1.0]], [[1.0, 2.0], [1.0, 2.0, 3.0]], [1.0, 2.0], Numbers.of(np.ones((2, 3)), list)):
        assert refused(TABLE, Rows(rows, ("height", "age"))).code == "input.ragged"
    assert refused(TABLE, Rows([], ("age", "height"))).code == "input.empty"


def test_texts_that_mean_null() -> None:
    signature = model("city:string[N]", "age:float64[N]", nullable=True)
    cells = Cells(("city", "age"), [["NA", "NA"], ["", ""], ["Rome", "1"]], nulls=frozenset(("NA",)))
    bound = bind(signature, cells)
    assert bound["city"].tolist() == [NULL, NULL, "Rome"]
    np.testing.assert_array_equal(bound["age"], [np.nan, np.nan, 1.0])
    assert bind(model("city:string[N]"), Cells(("city",), [["NA"]], nulls=frozenset(("NA",))))["city"] == ["NA"]


def test_a_text_that_is_not_a_number_is_missing() -> None:
    assert bind(model("t:string[N]", nullable=True), Rows([float("nan"), "a"]))["t"].tolist() == [NULL, "a"]
    assert refused(model("t:string[N]"), Rows([float("nan"), "a"])).code == "input.null"
    assert refused(model("t:string[N]", nullable=True), Rows([1.5, "a"])).code == "input.dtype"
