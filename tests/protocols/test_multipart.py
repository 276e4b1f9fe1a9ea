"""Forms to parts: what HTTP libraries write comes back, and everything else is `request.form`."""

from __future__ import annotations

import logging

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.multipart import Part, parts, urlencoded

KIND = "multipart/form-data; boundary=XX"
HEAD = b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


def prepared(**options: object) -> tuple[bytes, str]:
    """What `requests` would send."""
    request = requests.Request("POST", "http://h/", **options).prepare()  # type: ignore[arg-type]
    assert isinstance(request.body, bytes)
    return request.body, request.headers["content-type"]


def refused(raw: bytes, kind: str = KIND) -> str:
    with pytest.raises(SetsailError) as caught:
        parts(raw, kind)
    assert caught.value.code == "request.form"
    return str(caught.value)


def test_what_requests_writes() -> None:
    raw, kind = prepared(
        data={"age": "42", "city": "Málaga"},
        files={"rows": ("rows.csv", b"a,b\r\n1,2\r\n", "text/csv; charset=utf-8"), "raw": ("x", b"--XX\r\n\r\n\x00")},
    )
    assert parts(raw, kind) == (
        Part("age", b"42"), Part("city", "Málaga".encode()),
        Part("rows", b"a,b\r\n1,2\r\n", "rows.csv", "text/csv"), Part("raw", b"--XX\r\n\r\n\x00", "x"),
    )  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text("ab c", min_size=1, max_size=8), st.binary(max_size=60)), min_size=1, max_size=5))
def test_any_bytes_come_back(fields: list[tuple[str, bytes]]) -> None:
    raw, kind = prepared(files=[(name, ("f", data)) for name, data in fields])
    assert [(part.name, part.data) for part in parts(raw, kind)] == fields


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "ends before its last boundary"),
        (HEAD + b"1", "ends before its last boundary"),
        (HEAD + b"1\r\n--XX", "ends before its last boundary"),
        (b"hello", "no multipart form"),
        (b"--XX\r\n\r\n1\r\n--XX--", "has no name"),
        (b"--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--", "has no name"),
        (b'--XX\r\nContent-Disposition: form-data; name=""\r\n\r\n1\r\n--XX--', "no name, or one that is too long"),
        (b"--XX\r\nContent-Disposition: form-data; name=" + b"n" * 300 + b"\r\n\r\n1\r\n--XX--", "too long"),
        (b"--XX\r\n" + b"x: 1\r\n" * 9 + b"\r\n1\r\n--XX--", "header count"),
        (b"--XX\r\nx: " + b"1" * 5000 + b"\r\n\r\n1\r\n--XX--", "header size"),
        (b"\r\n".join([HEAD + b"1"] * 1001) + b"\r\n--XX--", "too many parts"),
    ],
)
def test_what_is_refused(raw: bytes, told: str) -> None:
    assert told in refused(raw)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 300])  # fmt: skip  # noqa: E501
def test_a_boundary_is_needed(kind: str) -> None:
    refused(HEAD + b"1\r\n--XX--", kind)


def test_faults_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        refused(b"hello")
    assert caplog.records == []


def test_urlencoded_fields() -> None:
    assert urlencoded(b"a=1&b=%C3%A9&a=") == (Part("a", b"1"), Part("b", "é".encode()), Part("a", b""))
    for raw in (b"a", b"a=%ff", b"\xff=1", b"=1", b"&".join([b"a=1"] * 1001)):
        with pytest.raises(SetsailError) as caught:
            urlencoded(raw)
        assert caught.value.code == "request.form"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_nothing_else_is_ever_raised(raw: bytes) -> None:
    for case in (raw, HEAD + raw, HEAD + raw + b"\r\n--XX--"):
        code = ""
        try:
            parts(case, KIND)
        except SetsailError as fault:
            code = fault.code
        assert code in ("", "request.form")
