"""Which tokenizers the browser is trusted with."""

from __future__ import annotations

import json
from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers")

import token_cases  # noqa: E402

from setsail.targets.browser.tokenizers import unlike  # noqa: E402

KNOWN = dict(token_cases.tokenizers())


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_held_against_the_original_is_taken(name: str) -> None:
    assert unlike(KNOWN[name].to_str().encode(), 2) == ""


def changed(**parts: Any) -> bytes:
    file = json.loads(KNOWN["pairs of characters"].to_str())
    model = parts.pop("model", {})
    return json.dumps(file | parts | {"model": file["model"] | model}).encode()


@pytest.mark.parametrize(("parts", "named"), [
    ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "a model of the kind Unigram"),
    ({"model": {"type": "WordLevel"}}, "a model of the kind WordLevel"),
    ({"model": {"fuse_unk": True}}, "fuse_unk"),
    ({"model": {"dropout": 0.1}}, "dropout"),
    ({"model": {"byte_fallback": True}}, "byte_fallback"),
    ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
    ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}, "a normalizer of the kind Precompiled"),
    ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}]}}, "Nmt"),
    ({"pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext"}}, "MergedWithNext"),
    ({"pre_tokenizer": {"type": "Split", "pattern": {}, "behavior": "Removed", "invert": True}}, "inverted"),
    ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}, "Metaspace"),
    ({"added_tokens": [{"content": "cat", "single_word": True}]}, "'cat'"),
])  # fmt: skip
def test_what_is_split_otherwise_is_named(parts: dict[str, Any], named: str) -> None:
    assert named in unlike(changed(**parts))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"model": 3}'])
def test_what_is_no_tokenizer_is_named(raw: bytes) -> None:
    assert unlike(raw) == "no form that is known"
