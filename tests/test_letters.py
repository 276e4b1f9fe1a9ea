"""Requests and replies as one value, and back."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.letters import Field, Letter, Reply

TEXT = st.text(st.characters(codec="utf-8"), max_size=9)
FIELDS = st.lists(st.builds(Field, TEXT, st.binary(max_size=50), TEXT), max_size=4).map(tuple)


@given(FIELDS, st.dictionaries(TEXT, TEXT, max_size=3))
def test_a_letter_is_what_was_sealed(fields: tuple[Field, ...], headers: dict[str, str]) -> None:
    assert Letter.opened(Letter(fields, headers).sealed()) == Letter(fields, headers)


def test_plain_bytes_and_texts_are_the_body() -> None:
    assert Letter.opened(b"\x00\xff") == Letter((Field("body", b"\x00\xff"),))
    assert Letter.opened("{}") == Letter((Field("body", b"{}"),))


@given(st.integers(0, 80), st.binary(max_size=8))
def test_a_broken_letter_is_refused_and_never_read_beyond_its_end(at: int, instead: bytes) -> None:
    whole = Letter((Field("body", b"12345678", "text/plain"),), {"a": "b"}).sealed()
    broken = whole[: max(20, at)] + instead
    with suppress(ValueError):
        assert sum(len(part.data) for part in Letter.opened(broken).fields) <= len(broken)
    with pytest.raises(ValueError, match="ends early"):
        Letter.opened(whole[:-1])


@given(
    st.binary(max_size=50), st.dictionaries(st.text("abc-", min_size=1), TEXT, max_size=3), st.integers(100, 599), TEXT
)
def test_a_reply_is_two_texts(body: bytes, headers: dict[str, str], status: int, reason: str) -> None:
    reply = Reply(body, headers, status, reason.strip())
    output, told = reply.texts()
    assert Reply.of(output, told) == reply
    assert all(isinstance(text, str) for text in json.loads(told).values())


@pytest.mark.parametrize("headers", ["[]", "{", '{"a": 1}', '{":status": "9"}', '{":status": "x"}'])
def test_headers_that_are_none(headers: str) -> None:
    with pytest.raises(ValueError):
        Reply.of("", headers)
