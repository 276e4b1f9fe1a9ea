"""Tokenizers that split a text in the browser as they do here.

A `tokenizer.json` is a tree of kinds. The browser reads it with Hugging Face's own JavaScript library, which is another
implementation than the one in Rust that packed the model: for the kinds listed, both are held against each other in
tests/targets/test_browser_run.py. A kind or an option that is not listed is refused: a text that is split
otherwise is a wrong answer without an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["unlike"]

# Unigram is left out: where two ways to split a text are equally likely, the libraries choose differently.
_MODELS: Final = frozenset({"WordPiece", "BPE"})
_NORMALIZERS: Final = frozenset(
    {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend",
     "Sequence"}
)  # fmt: skip
_PRE_TOKENIZERS: Final = frozenset(
    {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit", "Digits", "Split", "Sequence"}
)
_POST_PROCESSORS: Final = frozenset(
    {"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence"}
)
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "normalizer": _NORMALIZERS, "pre_tokenizer": _PRE_TOKENIZERS, "post_processor": _POST_PROCESSORS,
}  # fmt: skip
# Options of models that split otherwise, or that no test has held against the original.
_OPTIONS: Final = ("dropout", "fuse_unk", "ignore_merges", "byte_fallback", "continuing_subword_prefix",
                   "end_of_word_suffix")  # fmt: skip
_NESTED: Final = ("normalizers", "pretokenizers", "processors")


def unlike(raw: bytes, texts: int = 1) -> str:
    """What in a tokenizer.json the browser would do otherwise; nothing where it agrees.

    Args:
        texts: 2 where pairs of texts are split together.
    """
    try:
        file = json.loads(raw)
        model = file["model"]
        kind = model.get("type") or _guessed(model)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no form that is known"
    if kind not in _MODELS:
        return f"a model of the kind {kind}"
    for option in _OPTIONS if kind != "WordPiece" else ():
        if model.get(option):
            return f"a model {kind} with the option {option}"
    for name, known in _PARTS.items():
        for part in _parts(file.get(name)):
            if part.get("type") not in known:
                return f"a {name.replace('_', '-')} of the kind {part.get('type')}"
            if told := _odd(part):
                return told
    return _added(file.get("added_tokens") or ())


def _guessed(model: Mapping[str, Any]) -> str:
    """Files of old have no type."""
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece" if "continuing_subword_prefix" in model else "WordLevel"


def _parts(part: Any) -> Iterator[Mapping[str, Any]]:
    if part is None:
        return
    yield part
    for key in _NESTED:
        for inner in part.get(key) or ():
            yield from _parts(inner)


def _odd(part: Mapping[str, Any]) -> str:
    """An option with which a kind is done otherwise."""
    kind = part["type"]
    if kind == "Metaspace" and (part.get("prepend_scheme", "always") != "always" or not part.get("split", True)):
        return "a pre-tokenizer Metaspace that does not put a space before every word"
    if kind == "Split" and part.get("invert"):
        return "a pre-tokenizer Split that is inverted"
    if kind == "Split" and part.get("behavior") not in ("Removed", "Isolated"):
        return f"a pre-tokenizer Split that is {part.get('behavior')}"
    return ""


def _added(tokens: Any) -> str:
    for token in tokens:
        if token.get("single_word"):
            return f"the added token {token.get('content')!r}, which is only a word of its own"
    return ""
