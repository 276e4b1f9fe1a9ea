"""Arrays as JSON: the fewest digits that read back as the same value of their own dtype."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from setsail.errors import SetsailError
from setsail.protocols.values import BARE, STRICT, array_json, parse, parse_first, records_json, texts
from setsail.tensors import DTYPES, NULL

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
NUMBERS = st.sampled_from([d.numpy for d in DTYPES if d.size]).flatmap(lambda d: hnp.arrays(d, SHAPES))


@given(NUMBERS)
def test_any_numbers_read_back_as_the_same_values(array: Any) -> None:
    back = np.array(json.loads(array_json(array)), dtype=array.dtype).reshape(array.shape)
    np.testing.assert_array_equal(back, array)


@given(NUMBERS)
def test_the_strict_form_is_json_for_the_strictest_parser(array: Any) -> None:
    orjson.loads(array_json(array, STRICT))


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[:, ::-1][:, ::-1], lambda a: a.T.copy().T])
def test_memory_layout_does_not_matter(layout: Any) -> None:
    array = layout(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert array_json(array) == b"[[0.0,1.0,2.0],[3.0,4.0,5.0]]"


def test_tokens_stand_where_the_numbers_stood() -> None:
    array = np.array([[np.nan, 1], [-np.inf, np.inf]])
    assert array_json(array, BARE) == b"[[NaN,1.0],[-Infinity,Infinity]]"
    assert array_json(array, STRICT) == b'[[null,1.0],["-Infinity","Infinity"]]'
    assert array_json(np.array(np.nan)) == b"NaN"


def test_text() -> None:
    array = np.array([["null", NULL], [b"bytes", 'a"b']], dtype=object)
    assert array_json(array) == b'[["null",null],["bytes","a\\"b"]]'
    assert texts(np.array(["a", "b"])) == ["a", "b"]


def test_records() -> None:
    columns = {"p": np.float32([[0.1, np.nan], [1, 2]]), "n": np.array([1, 2]), "t": np.array(["a", NULL], object)}
    assert records_json(columns) == b'[{"p":[0.1,NaN],"n":1,"t":"a"},{"p":[1.0,2.0],"n":2,"t":null}]'


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_whatever_python_writes_is_read(value: Any) -> None:
    assert repr(parse(json.dumps(value).encode())) == repr(value)


BAD = ["", " ", "{", "[1,]", "nan", "[NaN", "[NaN,1e999]", '"NaN', r'["NaN","\uD800"]', r'["\ud800"]']


@pytest.mark.parametrize("text", [*BAD, "NaN" + "[" * 100_000, "[NaN," + "9" * 5000 + "]"])
def test_what_is_not_json_says_where(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        parse(text.encode())
    assert caught.value.code == "request.json"


@pytest.mark.parametrize("tail", [b"", b"  \n", b"}", b" {", b"\xc3\xa9", b"\0", b" NaN"])
@pytest.mark.parametrize("head", [b'{"a":[1,2.5]}', b" [NaN, -Infinity]", '"hé"'.encode()])
def test_what_follows_the_first_document_may_be_left_unread(head: bytes, tail: bytes) -> None:
    assert repr(parse_first(head + tail)) == repr(parse(head))


@pytest.mark.parametrize("body", [b"", b"{", b"x {}", b"[1e999] x", b"\xff{}", b"[" * 100_000, b'{"a":1} \xff'])
def test_where_there_is_no_first_document(body: bytes) -> None:
    with pytest.raises(SetsailError) as caught:
        parse_first(body)
    assert caught.value.code == "request.json"
