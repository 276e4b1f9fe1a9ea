"""Bodies told apart without being read mean what the wire's general way reads in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.merging import merge, portion
from setsail.messages import Digits, Form, Portion, Request, Rows
from setsail.protocols import payload
from setsail.protocols.digits import Memo
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

WIRES = {
    "/v2/models/m/infer": '{{"inputs":[{{"name":"x","shape":[1,{n}],"datatype":"FP32","data":[{text}]}}]}}',
    "/v1/models/m:predict": '{{"instances":[[{text}]]}}',
    "/predict/m": "[[{text}]]",
    "/predict": '{{"x": [[{text}]]}}',
    "/predict/m/versions/1": '{{"input":[[{text}]]}}',
}


def signature(dtype: str = "float32", width: int = 3) -> Signature:
    spec = TensorSpec("x", BY_NAME[dtype], ("N", width))
    return Signature((spec,), (TensorSpec("y", BY_NAME["float32"], ("N", 1)),), ("y",))


def body(path: str, raw: str) -> Any:
    ask = DATA.route(HttpRequest("POST", path, headers={"content-type": "application/json"}, body=raw.encode())).ask
    assert isinstance(ask, Request)
    return ask.body


def outcome(path: str, raw: str, sig: Signature) -> Any:
    """What a request comes to: its array's bytes, or the fault's code and field."""
    try:
        (array,) = bind(sig, body(path, raw)).values()
    except SetsailError as fault:
        return fault.code, fault.facts.get("field")
    return array.dtype, array.shape, array.tolist() if array.dtype.kind == "O" else array.tobytes()


def padded(raw: str) -> str:
    """The same document in words that nothing is remembered for."""
    return raw.replace("[", "[ \t\n" + " " * 2100, 1)


@pytest.mark.parametrize("path", WIRES)
def test_a_body_of_numbers_is_not_read_before_it_is_bound(path: str) -> None:
    found = body(path, WIRES[path].format(n=3, text="1, 2.5,-3e1"))
    assert isinstance(found, Digits)
    assert found.form.shape == (1, 3)
    assert bind(signature(), found)["x"].tolist() == [[1.0, 2.5, -30.0]]


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str), st.floats().map(json.dumps),
    st.sampled_from(["1.0", "-0", "1e3", "1e400", "01", "1.", ".5", "+1", "", "null", "true", '"1"', "1 2"]),
)  # fmt: skip


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "uint64", "bool", "string"])
@given(values=st.lists(NUMBERS, max_size=5))
@example(values=["1", "2", "3"])
@example(values=["1", "", "3"])
def test_it_comes_to_what_the_general_way_comes_to(path: str, dtype: str, values: list[str]) -> None:
    raw = WIRES[path].format(n=len(values), text=",".join(values))
    if dtype != "float32":
        raw = raw.replace("FP32", BY_NAME[dtype].oip)
    assert outcome(path, raw, signature(dtype)) == outcome(path, padded(raw), signature(dtype))


@pytest.mark.parametrize(
    "raw",
    [
        "[[1,2],[3,4]]", "[[[1,2]]]", "[1,2]", "[[1,null]]", '[["a"]]', 
        '{"x":[[1,2]],"y":1}', '{"y":{"x":[[1,2]]}}', "[[1,2]",
        "[[NaN]]", "[[true]]",
    ],
)  # fmt: skip
def test_what_is_not_one_row_of_numbers_is_read_at_once(raw: str) -> None:
    assert payload._MEMO.find(raw.encode()) is None


@pytest.mark.parametrize(
    "raw",
    [
        '{"id":"a","inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}',
        '{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}],"outputs":[{"name":"y"}]}',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1]}]}',
        '{"inputs":[{"name":"x","shape":[0,1],"datatype":"FP32","data":[]}]}',
        '{"inputs":[{"name":"x","data":[1],"shape":[1,1],"datatype":"FP32"}]}',
        '{"inputs":[{"name":"data","shape":[1],"datatype":"FP32","data":[1]},{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}',
    ],
)
def test_what_asks_for_more_is_read_at_once(raw: str) -> None:
    assert not isinstance(body("/v2/models/m/infer", raw), Digits)


def test_a_name_that_looks_like_the_key_is_no_key() -> None:
    raw = '{"inputs":[{"name":"data","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
    found = body("/v2/models/m/infer", raw)
    assert not isinstance(found, Digits)
    assert found.tensors[0].shape == (1, 2)


# -- several -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WIRES)
@given(rows=st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=9))
def test_joined_they_are_the_rows_in_order(path: str, rows: list[list[float]]) -> None:
    bodies = [body(path, WIRES[path].format(n=3, text=json.dumps(row)[1:-1])) for row in rows]
    portions = [portion(one) for one in bodies]
    assert set(portions) == {Portion(portions[0].key, 1)} if portions[0] else False
    assert bind(signature(), merge(bodies))["x"].tolist() == np.array(rows, np.float32).tolist()


@pytest.mark.parametrize("texts", [("1,2,", "3"), ("1,,2", "1,2,3"), (",1,2", "3,4,5"), ("1,2,3,", "4,5,6")])
def test_texts_that_only_together_are_enough_numbers_are_nobodys_rows(texts: tuple[str, ...]) -> None:
    """However the commas fall, a joined text is read only where every part is whole rows."""
    bodies = [body("/predict/m", f"[[{text}]]") for text in texts]
    assert all(isinstance(one, Digits) for one in bodies)
    if portion(bodies[0]) == portion(bodies[1]):
        with pytest.raises(SetsailError):
            bind(signature(width=bodies[0].form.shape[1]), merge(bodies))
    with pytest.raises(SetsailError) as caught:
        bind(signature(), bodies[0])
    assert caught.value.code == "request.json"


# -- the memo ----------------------------------------------------------------------------------------------------------


def test_surroundings_are_learnt_once_and_forgotten_when_there_are_too_many() -> None:
    asked = []

    def learn(raw: bytes, count: int) -> Form | None:
        asked.append(raw)
        return Form((1, count))

    memo = Memo(b"[[", b"", learn, lambda raw: Rows([]))
    for _ in range(3):
        assert memo.find(b"[[1,2]]") is not None
    assert asked == [b"[[]]"]
    for space in range(1100):
        memo.find(b" " * (space % 400) + b"[[" + b"1," * (space // 400) + b"1]]")
    assert memo.find(b"[[1,2]]") is not None
    assert len(asked) > 1000


def test_long_surroundings_are_not_kept() -> None:
    memo = Memo(b"[[", b"", lambda raw, count: Form((1, count)), lambda raw: Rows([]))
    assert memo.find(b" " * 2100 + b"[[1]]") is None
