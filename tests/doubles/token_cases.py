"""Tokenizers of every kind that the browser is trusted with, trained here, and what the library in Rust makes of texts.

Cases are of the form of tests/steps: an implementation elsewhere must give the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["TEXTS", "cases", "tokenizers"]

CORPUS = (
    "The cat sat on the mat, and the dog ran away.", "A good film; a bad film? Great acting!", "don't can't we'll it's",
    "Weather today is nice: 25 degrees, no rain.",
    "naïve cafés in Łódź, Größe, Ærøskøbing", "Привет, мир! Как дела?",
    "今天天气很好", "東京は大きい", "안녕하세요 세계",
    "مرحبا بالعالم", "हिन्दी भाषा", "ο δρόμος μας, σοφός Οδυσσέας", "emoji 👍🏽 and 👨‍👩‍👧 here",
    "1,234.56 + 7e-3 = x_1",
)  # fmt: skip
TEXTS = (
    *CORPUS, "", " ", "a", "  two  spaces ",
    "tab\tand\nline\r\nends\u00a0and\u2003more\u200bzero", "UPPER lower MiXeD",
    "ÉÀÜ é à ü e\u0301 a\u0300", "ﬁ ligature ① ½ ² ㎏ Ａ",
    "İstanbul ıssız ẞ ß ς Σ ΑΣ", "ΟΔΥΣΣΕΑΣ ΣΟΦΟΣ, ΜΑΣ Σ", "x" * 120, "a.b.c--d__e  f",
    "I'm you're they'd I'LL", "[CLS] special [SEP] inside", "<s> and </s>", "http://a.b/c?d=e&f=1#g", "100% of $5 & €6",
    "\u0645\u064f\u062d\u0645\u062f", "क्षि ज्ञ", "ไทย ภาษา",
    "नमस्ते", "a\u200db", "\ufeffbom", "\u00ad soft", "(((deep)))",
    "word’s “quoted” – dash…", "٣٤٥ ४५६ ⅷ", "𝒳 𝟘 🇩🇪", "\x07bell\x00nul", "snake_case camelCase", "_under_ __init__",
)  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def _template(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )


def _word_pieces(normalizer: Any, splitter: Any) -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizer, splitter
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL,
                                                               show_progress=False))  # fmt: skip
    _template(made)
    return made


def _bpe(normalizer: Any, splitter: Any, *, byte_level: bool = False, **options: Any) -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token=None if byte_level else "[UNK]", **options))
    if normalizer is not None:
        made.normalizer = normalizer
    made.pre_tokenizer = splitter
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False))  # fmt: skip
    if byte_level:
        made.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


GPT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizers() -> Iterator[tuple[str, Tokenizer]]:
    n, p = normalizers, pre_tokenizers
    yield "BERT, lower case", _word_pieces(n.BertNormalizer(lowercase=True), p.BertPreTokenizer())
    yield "BERT, cased", _word_pieces(n.BertNormalizer(lowercase=False), p.BertPreTokenizer())
    kept = n.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False)
    yield "BERT, cased without accents", _word_pieces(kept, p.BertPreTokenizer())
    yield "word pieces on words", _word_pieces(n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()]), p.Whitespace())
    yield "word pieces on white space and digits", _word_pieces(
        n.Strip(), p.Sequence([p.WhitespaceSplit(), p.Digits(individual_digits=True)]))  # fmt: skip
    yield "bytes, GPT-2", _bpe(None, p.ByteLevel(add_prefix_space=False), byte_level=True)
    yield "bytes, with a space before", _bpe(n.NFC(), p.ByteLevel(add_prefix_space=True), byte_level=True)
    parts = p.Sequence([p.Split(Regex(GPT), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)])
    yield "bytes, GPT-4's pattern", _bpe(None, parts, byte_level=True)
    yield "pairs of characters", _bpe(n.NFKC(), p.Whitespace())
    yield "pairs of characters, decomposed", _bpe(n.NFKD(), p.WhitespaceSplit())
    yield "pairs of characters, without words", _bpe(n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), p.Metaspace())
    made = _word_pieces(n.BertNormalizer(lowercase=True), p.BertPreTokenizer())
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "BERT, as it was written of old", made
    made = _word_pieces(n.BertNormalizer(lowercase=True), p.BertPreTokenizer())
    made.add_tokens(
        [AddedToken("camel", normalized=True), AddedToken("<name>", lstrip=True, rstrip=True, normalized=False)]
    )
    yield "words added", made


def cases(tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """One a text, and pairs at several lengths."""
    file = {"tokenizer.json": tokenizer.to_str()}
    several = [("a cat sat", "on the mat today"), ("The dog ran away.", "a"), ("good", "naïve cafés in Łódź")]
    asked = [((text,), {}) for text in TEXTS] + [((TEXTS[0],), {"max_length": n}) for n in (3, 6)]
    asked += [(pair, {"max_length": n} if n else {}) for pair in several for n in (0, 5, 6, 7, 9)]
    for texts, options in asked:
        tokenizer.no_truncation()
        if options:
            tokenizer.enable_truncation(options["max_length"])
        encoding = tokenizer.encode(*texts)
        inputs = [{"dtype": "string", "shape": [1], "data": [text]} for text in texts]
        case: dict[str, Any] = {"what": repr(texts), "options": {"file": "tokenizer.json", "makes": ["ids", "types"],
                                **options}, "inputs": inputs, "files": file}  # fmt: skip
        if not encoding.ids:
            yield case | {"fault": {"code": "input.text", "row": 0}}
            continue
        told = [{"dtype": "int64", "shape": [1, len(encoding.ids)], "data": data}
                for data in (encoding.ids, encoding.type_ids)]  # fmt: skip
        yield case | {"outputs": told, "tolerance": {"absolute": 0, "relative": 0}}
