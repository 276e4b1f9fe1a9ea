"""Java's properties, as its documentation has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.server.foreign.properties import expanded, parsed


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("# a comment\n! another\n\n   \nkey=value", {"key": "value"}),
        ("Truth = Beauty\n Truth2:Beauty\nTruth3      :Beauty", dict.fromkeys(("Truth", "Truth2", "Truth3"), "Beauty")),
        ("cheeses", {"cheeses": ""}),
        ("key value of it", {"key": "value of it"}),
        ("url=http://0.0.0.0:8080", {"url": "http://0.0.0.0:8080"}),
        ("fruits   apple, banana, \\\n         cherry", {"fruits": "apple, banana, cherry"}),
        ("models={\\\r\n  \"noop\": {\\\r\n  }}\r\nnext=1", {"models": '{"noop": {}}', "next": "1"}),
        ("a\\ b\\:c=d\\=\\u00e9\\t.", {"a b:c": "d=é\t."}),
        ("path=C:\\\\models\\\\", {"path": "C:\\models\\"}),
        ("twice=1\ntwice=2", {"twice": "2"}),
        ("last=1\\", {"last": "1"}),
        ("a=1\\\n# no comment here", {"a": "1# no comment here"}),
    ],
)  # fmt: skip
def test_lines(text: str, pairs: dict[str, str]) -> None:
    assert parsed(text) == pairs


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_escaped_comes_back(pairs: dict[str, str]) -> None:
    def escaped(text: str) -> str:
        return "".join(c if c.isalnum() and c.isascii() else f"\\u{n:04x}" for c in text for n in utf16(c))

    def utf16(c: str) -> list[int]:
        return [ord(c)]

    small = {k: v for k, v in pairs.items() if max(map(ord, k + v), default=0) < 0x10000}
    text = "\n".join(f"{escaped(key)}={escaped(value)}" for key, value in small.items())
    assert parsed(text) == small


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(isinstance(value, str) for value in parsed(text).values())


def test_variables_of_the_environment() -> None:
    values = {"model_store": "$$HOME$$/store", "plain": "$HOME $$"}
    assert expanded(values, {"HOME": "/me"}) == {"model_store": "/me/store", "plain": "$HOME $$"}
    with pytest.raises(KeyError):
        expanded({"a": "$$GONE$$"}, {})
