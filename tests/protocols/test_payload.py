"""A body by its content type, without a model; what loose bodies mean to one is `tests/test_envelope.py`."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.messages import Cells, Columns, Digits, Rows
from setsail.protocols import packed, payload
from setsail.protocols.multipart import Part

NPY, FORM = "application/x-npy", "application/x-www-form-urlencoded"


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def plainly(body: Any) -> Any:
    """Numbers that are not read yet, read."""
    return body.again() if isinstance(body, Digits) else body


def read(raw: bytes | memoryview, kind: str) -> Any:
    return plainly(payload.read(raw, kind))


def code_of(raw: bytes, kind: str, **options: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        payload.read(raw, kind, **options)
    return caught.value.code


@pytest.mark.parametrize(
    ("raw", "kind", "body"),
    [
        (b"[[1, 2]]", "application/json", Rows([[1, 2]])),
        (b'{"a": [1], "b": [2]}', "application/json; charset=utf-8", Columns({"a": [1], "b": [2]})),
        (b'{"a": 1, "b": 2}', "", Rows([{"a": 1, "b": 2}])),
        (b'{"a": 1}', FORM, Rows([{"a": 1}])),
        (b"3.5", "text/plain", Rows([3.5])),
        (b'{"data": [1]}', "", Columns({"data": [1]}, loose=True)),
        (b'{"features": {"a": 1}}', "", Columns({"features": {"a": 1}}, loose=True)),
        (b"a,b\n1,2\n", "text/csv", Cells(("a", "b"), [["1", "2"]])),
        (b'1\n[2]\n\n{"a": 3}\n', "application/jsonlines", Rows([1, [2], {"a": 3}])),
        (b"any text", "application/octet-stream", Columns(b"any text", loose=True)),
        (b"a=1&b=x+y", FORM, Cells(("a", "b"), [("1", "x y")])),
        (b"a=1&a=2&b=3&b=4", FORM, Cells(("a", "b"), [("1", "3"), ("2", "4")])),
        (b"data=%5B%5B1%5D%5D", FORM, Columns({"data": [[1]]}, loose=True)),
        (b"data=good", FORM, Cells(("data",), [("good",)], loose=True)),
    ],
)
def test_bodies(raw: bytes, kind: str, body: Any) -> None:
    assert read(raw, kind) == body
    assert read(memoryview(raw), kind) == body


def test_a_csv_may_come_without_a_header() -> None:
    assert payload.read(b"1,2\n3,4\n", "text/csv", header=False) == Cells(None, [["1", "2"], ["3", "4"]])
    assert code_of(b"", "text/csv", header=False) == code_of(b"\n", "text/csv") == "request.csv"


@pytest.mark.parametrize(
    ("raw", "kind", "code"),
    [
        (b"{}", "application/xml", "request.media_type"),
        (b"a,b\n1", "", "request.json"),
        (b"1\n{", "application/x-ndjson", "request.json"),
        (b"null", "application/json", "request.form"),
        (b"a=1&a=2&b=3", FORM, "request.form"),
        (b"a=1&&=2", FORM, "request.form"),
        (b"\x93NUMPY", NPY, "request.binary"),
        (b"PK\x03\x04", "application/octet-stream", "request.binary"),
    ],
)
def test_bodies_that_are_not_what_their_type_says(raw: bytes, kind: str, code: str) -> None:
    assert code_of(raw, kind) == code


def test_numpy_files_are_numbers_as_json_has_them() -> None:
    found = payload.read(saved(np.array([[1.5, 2]], np.float32)), NPY)
    assert isinstance(found, Digits)
    rows = found.again()
    assert isinstance(rows, Rows)
    assert rows.rows.listed() == [[1.5, 2.0]]
    assert rows.rows.dtype == np.float64


# -- files in forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "body"),
    [
        (Part("file", b"a\n1\n", "rows.csv"), Cells(("a",), [["1"]])),
        (Part("file", b"a\n1\n", "upload", "text/csv"), Cells(("a",), [["1"]])),
        (Part("data", b"[[1]]", "rows.json", "application/octet-stream"), Rows([[1]])),
        (Part("data", b"fine film", "review.txt", "text/plain"), Columns(b"fine film", loose=True)),
        (Part("image", b"\xff\xd8", "cat.jpg", "image/jpeg"), Columns(b"\xff\xd8", loose=True)),
    ],
)
def test_one_file_is_the_body(part: Part, body: Any) -> None:
    assert plainly(payload.form([part])) == body


def test_a_part_for_each_input() -> None:
    parts = [
        Part("a", saved(np.array([1, 2])), "a.npy"),
        Part("b", b'["x", "y"]', None, "application/json"),
        Part("c", b"text"),
        Part("d", b"bytes", "d.bin"),
    ]
    body = payload.form(parts)
    assert isinstance(body, Columns)
    assert {name: list(values) for name, values in body.columns.items()} == {
        "a": [1, 2], "b": ["x", "y"], "c": ["text"], "d": [b"bytes"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Part("a", b"1\n", "a.csv"), Part("b", b"2", "b.json")],
        [Part("a", b"[1]", "a.json"), Part("a", b"[2]", "b.json")],
        [Part("a", b"\xff")],
    ],
    ids=["empty", "a table beside a file", "a name twice", "no UTF-8"],
)
def test_forms_that_mean_nothing(parts: list[Part]) -> None:
    with pytest.raises(SetsailError) as caught:
        payload.form(parts)
    assert caught.value.code == "request.form"


# -- laws --------------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), min_size=1, max_size=5))
def test_form_fields_come_back(fields: dict[str, str]) -> None:
    raw = urlencode(fields).encode()
    if len(fields) > 1:
        body = payload.read(raw, FORM)
        assert isinstance(body, Cells)
        assert dict(zip(body.header or (), body.rows[0], strict=True)) == fields


@pytest.mark.parametrize("name", ["input", "other"])
def test_a_long_list_is_as_loose_as_a_short_one(name: str) -> None:
    value = {name: [[float(i), 1.5] for i in range(600)]}
    raw = json.dumps(value).encode()
    assert len(raw) > packed.LONG
    long, short = payload.read(raw, ""), payload.json_value(value)
    assert isinstance(long, Columns)
    assert isinstance(short, Columns)
    assert long.loose == short.loose == (name == "input")
    assert long.columns[name].listed() == short.columns[name]
