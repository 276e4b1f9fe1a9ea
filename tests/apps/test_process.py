"""What a child says of its function is the word of a stranger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.apps.frames import BrokenError
from setsail.apps.process import About

ONE = {"name": "x", "dtype": "float64", "shape": ["N", 3]}
GOOD = {
    "signature": {"inputs": [ONE], "outputs": [ONE | {"name": "y"}]}, "defaults": ["y"], "arrays": True,
    "python": "3.12.1",
}  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


def told(body: Any) -> About:
    return About(json.dumps(body).encode())


def test_a_signature_is_read() -> None:
    about = told(GOOD)
    assert str(about.signature) == "(x:float64[N,3]) -> (y:float64[N,3])"
    assert (about.signature.defaults, about.python) == (("y",), "3.12.1")


@pytest.mark.parametrize(
    "changed",
    [
        {"signature": None}, {"defaults": []}, {"defaults": ["z"]}, {"signature": {"inputs": [], "outputs": [ONE]}},
        {"signature": {"inputs": [ONE, ONE], "outputs": [ONE]}}, {"arrays": True, "python": None, "defaults": None},
        *({"signature": {"inputs": [ONE | wrong], "outputs": GOOD["signature"]["outputs"]}} for wrong in (
            {"name": "x\n"}, {"name": ""}, {"name": 3}, {"name": "x" * 300}, {"dtype": "complex128"}, {"dtype": []},
            {"shape": [3]}, {"shape": []}, {"shape": ["N", -1]}, {"shape": ["N", 1.5]}, {"shape": ["N", 2**40]},
            {"shape": ["N", True]}, {"shape": ["N", None]}, {"shape": ["N"] + [1] * 9},
            {"shape": ["N", "\x1b[2J"]}, {"categories": [3]}, {"labels": 3},
        )),
    ],
)  # fmt: skip
def test_one_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BrokenError):
        told(GOOD | changed)


@given(body=anything, key=st.sampled_from(("signature", "defaults", "arrays", "python")))
def test_anything_is_a_signature_or_refused(body: Any, key: str) -> None:
    for sent in (body, GOOD | {key: body}, GOOD | {"signature": {"inputs": [ONE | {"shape": body}], "outputs": [ONE]}}):
        try:
            told(sent)
        except BrokenError:
            continue


def test_no_json_and_endless_nesting_are_refused() -> None:
    for text in (b"", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(BrokenError):
            About(text)
