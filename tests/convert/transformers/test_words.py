"""Tokenizers as steps: token by token what transformers itself makes of a text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("torch")

import hugging

from setsail.convert.transformers import words
from setsail.errors import SetsailError
from setsail.runtime.steps import prepare

INPUTS = ("input_ids", "attention_mask", "token_type_ids", "labels")
KINDS: dict[str, Any] = {
    "word pieces": hugging.word_pieces,
    "bytes": lambda: hugging.byte_level(model_max_length=22),
    "bytes, any length": hugging.byte_level,
    "left": lambda: hugging.word_pieces(padding_side="left", truncation_side="left"),
    "prepared": hugging.word_pieces,
}


def made(name: str) -> words.Words:
    found = words.words(KINDS[name](), INPUTS, None)
    return replace(found, strip=True, lowercase=True) if name == "prepared" else found


@pytest.mark.parametrize("name", KINDS)
def test_the_step_makes_the_tokens_of_transformers(name: str) -> None:
    found = made(name)
    rows = words.drawn(found, 30, seed=3)
    assert len(rows) > 45
    words.check(found, rows.tolist(), None)
    for columns in ([rows], [rows, rows[::-1]]):
        names = ["text", "text_pair"][: len(columns)]
        ready = prepare(found.steps(names), {words.FILE: found.file()})
        ours = ready(dict(zip(names, columns, strict=True)))
        theirs = found.encode(*[column.tolist() for column in columns])
        assert list(theirs) == list(found.names)
        for part, tensor in theirs.items():
            np.testing.assert_array_equal(ours[part], tensor.numpy())


def test_what_a_model_does_not_take_is_not_made() -> None:
    assert words.words(hugging.word_pieces(), ("input_ids", "attention_mask"), None).names == INPUTS[:2]


def test_the_shorter_of_two_lengths_holds() -> None:
    assert words.words(hugging.word_pieces(), INPUTS, 99).length == 24
    assert words.words(hugging.word_pieces(), INPUTS, 9).length == 9
    assert words.words(hugging.byte_level(), INPUTS, None).length is None


def test_a_text_is_longer_than_is_read() -> None:
    found = made("word pieces")
    rows = words.drawn(found, 5, seed=0)
    (text,) = words.long(found, rows, 600)
    assert len(found.own(text)["input_ids"]) > 24
    assert found.encode([text])["input_ids"].shape == (1, 24)


class Slow:
    """A tokenizer that is Python code."""

    pad_token_id = 0


def padless() -> Any:
    tokenizer = hugging.word_pieces()
    tokenizer.pad_token = None
    return tokenizer


@pytest.mark.parametrize(("tokenizer", "field"), [(Slow, "tokenizer"), (padless, "pad_token")])
def test_code_is_no_step_and_padding_is_needed(tokenizer: Any, field: str) -> None:
    with pytest.raises(SetsailError) as caught:
        words.words(tokenizer(), INPUTS, None)
    assert (caught.value.code, caught.value.field) == ("convert.unsupported", field)


def test_a_tokenizer_that_does_more_than_its_file_says() -> None:
    found = made("word pieces")

    class Shouting:
        def __getattr__(self, name: str) -> Any:
            return getattr(found.own, name)

        def __call__(self, texts: list[str], *more: Any, **options: Any) -> Any:
            return found.own([text + " cat" for text in texts], *more, **options)

    with pytest.raises(SetsailError) as caught:
        words.check(replace(found, own=Shouting()), ["a dog"], None)
    assert caught.value.code == "convert.unsupported"
