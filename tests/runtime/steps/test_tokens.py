"""Token ids are those of transformers' own tokenizer, whatever the text; other files and texts are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.runtime.steps import column, prepare
from setsail.steps import Step

tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers")
CORPUS = ["the cat sat on the mat", "a dog is not a cat", "Straße, naïve café!", "numbers 1234 and 56.7", "日本語 text"]


def trained(kind: str) -> Any:
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if kind == "word pieces":
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
        made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    elif kind == "byte pairs":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
        made.train_from_iterator(CORPUS, trainer)
        made.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    else:
        made = tokenizers.Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="[UNK]")
        made.train_from_iterator(CORPUS, trainer)
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return made


KINDS = ("word pieces", "byte pairs", "unigram")
MADE = {kind: trained(kind) for kind in KINDS}
MAKES = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "types"}


def tokens(raw: bytes, *texts: list[str], **options: Any) -> dict[str, np.ndarray]:
    names = tuple(f"text{i}" for i in range(len(texts)))
    step = Step("text.tokenize", names, tuple(MAKES), {"file": "t.json", "makes": list(MAKES.values())} | options)
    apply = prepare([step], {"t.json": raw})
    return apply(dict(zip(names, map(column, texts), strict=True)))


@pytest.fixture(scope="module", params=KINDS)
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' AutoTokenizer of a folder with a `tokenizer.json`, and the file."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=MADE[request.param], pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    return transformers.AutoTokenizer.from_pretrained(folder), (Path(folder) / "tokenizer.json").read_bytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(CORPUS), min_size=1, max_size=4))
def test_as_transformers_whatever_the_text(judge: Any, texts: list[str]) -> None:
    source, raw = judge
    expected = source(texts, padding=True, truncation=True, max_length=12, return_token_type_ids=True)
    found = tokens(raw, texts, max_length=12, pad_id=source.pad_token_id)
    for name in MAKES:
        np.testing.assert_array_equal(found[name], np.array(expected[name]), err_msg=name)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from(CORPUS) | st.text("ab .", max_size=30)] * 2), min_size=1, max_size=3))
def test_pairs_as_transformers(judge: Any, pairs: list[tuple[str, str]]) -> None:
    source, raw = judge
    first, second = map(list, zip(*pairs, strict=True))
    expected = source(first, second, padding="max_length", truncation=True, max_length=16, return_token_type_ids=True)
    found = tokens(raw, first, second, max_length=16, pad_to=16, pad_id=source.pad_token_id)
    for name in MAKES:
        np.testing.assert_array_equal(found[name], np.array(expected[name]), err_msg=name)


def test_rows_are_as_long_as_the_longest() -> None:
    raw = MADE["word pieces"].to_str().encode()
    assert tokens(raw, ["cat", "the cat sat"])["input_ids"].shape == (2, 5)
    assert tokens(raw, ["cat", "the cat sat"], pad_to=4)["input_ids"].shape == (2, 5)
    assert tokens(raw, ["cat"], pad_to=4)["attention_mask"].tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("raw", [b"", b"{}", b"not json", b"\xff\xfe", b'{"model":{"type":"BPE"}}', b"[" * 5000])
def test_a_file_that_is_no_tokenizer_fails_when_the_model_is_loaded(raw: bytes) -> None:
    with pytest.raises(SetsailError) as caught:
        tokens(raw, ["a"])
    assert caught.value.code == "model.failed"
    assert "'t.json'" in caught.value.message


def test_a_length_that_leaves_no_room_between_special_tokens_is_told() -> None:
    raw = MADE["word pieces"].to_str().encode()
    with pytest.raises(SetsailError) as caught:
        tokens(raw, ["the cat"], ["a dog"], max_length=2)
    assert caught.value.code == "model.run"


def test_half_a_surrogate_is_no_text() -> None:
    with pytest.raises(SetsailError) as caught:
        tokens(MADE["word pieces"].to_str().encode(), ["fine", "\ud83d"])
    assert (caught.value.code, caught.value.facts["row"]) == ("input.text", 1)


def test_a_long_text_is_refused_before_it_is_split() -> None:
    with pytest.raises(SetsailError) as caught:
        tokens(MADE["word pieces"].to_str().encode(), ["cat", "cat " * 300_000])
    assert (caught.value.code, caught.value.value) == ("input.text", "1200000")
    assert "step text.tokenize: input 'text0', row 1, is too long" in caught.value.message


def test_a_row_of_billions_of_tokens_is_refused_when_the_model_is_loaded() -> None:
    with pytest.raises(SetsailError) as caught:
        tokens(MADE["word pieces"].to_str().encode(), ["cat"], pad_to=(1 << 31) - 1)
    assert caught.value.code == "model.failed"
