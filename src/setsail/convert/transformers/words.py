"""A tokenizer of transformers as a step, and texts to try it with.

The step's file is what transformers made of the directory's tokenizer (it changes some when it loads them), written
by the `tokenizers` library. It is held against transformers' own answer on the texts of the probes, token by token.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer

from setsail.errors import SetsailError
from setsail.steps import Step
from setsail.tensors import Array

__all__ = ["FILE", "Words", "accepted", "check", "drawn", "long", "words"]

FILE: Final = "tokenizer.json"
_ENDLESS: Final = 1 << 24  # transformers writes 1e30 where a tokenizer has no length of its own
_PARTS: Final = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "types"}
_TEXTS: Final = (
    "A plain sentence.", "THE SAME IN CAPITALS!", "naïve café, Größe, Łódź, e\u0301", "日本語のテキスト 中文",
    "Привет, мир", "مرحبا", "नमस्ते", "👍🏽 emoji 👩‍👩‍👧 end", "  spaces   and\ttabs\nlines ", "1,234.56 % of 7e-3",
    "http://example.org/?q=1&r=2", "don't-stop (really); \"quotes\" … — –", "a", "?", "\u200bzero\u00a0width\ufeff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ﬁne ½ Ⅷ ＡＢＣ", "[CLS] <s> </s> [SEP] <mask>", "", " ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """The tokenizer of a model.

    Attributes:
        own: transformers' tokenizer, which the source's answers come from.
        names: the model's inputs, in order: keys of _PARTS.
        length: how many tokens are read; None for any number.
        lowercase, strip: what is done to a text before (sentence-transformers does so).
    """

    own: Any
    names: tuple[str, ...]
    length: int | None
    lowercase: bool = False
    strip: bool = False

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        """As transformers does it: rows as long as the longest."""
        sides = [self.prepared(side) for side in (texts, pairs) if side is not None]
        found = self.own(*sides, padding=True, truncation=self.length is not None, max_length=self.length,
                         return_tensors="pt")  # fmt: skip
        return {name: found[name] for name in self.names}

    def prepared(self, texts: Sequence[str]) -> list[str]:
        stripped = [text.strip() if self.strip else text for text in texts]
        return [text.lower() for text in stripped] if self.lowercase else stripped

    def steps(self, inputs: Sequence[str]) -> tuple[Step, ...]:
        options: dict[str, Any] = {"file": FILE, "makes": [_PARTS[name] for name in self.names]}
        if self.length is not None:
            options["max_length"] = self.length
        if self.own.pad_token_id:
            options["pad_id"] = int(self.own.pad_token_id)
        if self.own.pad_token_type_id:
            options["pad_type"] = int(self.own.pad_token_type_id)
        for side in ("padding", "truncation"):
            if getattr(self.own, f"{side}_side") == "left":
                options[{"padding": "pad_side", "truncation": "truncate_side"}[side]] = "left"
        asked = {name: True for name in ("strip", "lowercase") if getattr(self, name)}
        first = (Step("text.normalize", tuple(inputs), (), asked),) if asked else ()
        return (*first, Step("text.tokenize", tuple(inputs), self.names, options))

    def file(self) -> bytes:
        """`tokenizer.json`, without truncation and padding, which the step's options say."""
        copy = Tokenizer.from_str(self.own.backend_tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        return bytes(copy.to_str().encode())

    def note(self) -> str:
        limit = "of any length" if self.length is None else f"cut after {self.length} tokens"
        lower = "lower-cased, then " if self.lowercase else ""
        return f"texts are {lower}split into tokens by the directory's tokenizer ({type(self.own).__name__}), {limit}"


def words(tokenizer: Any, accepted: Sequence[str], length: int | None) -> Words:
    """A tokenizer for a model that takes the inputs `accepted`.

    Args:
        length: what the model or the directory says; the tokenizer's own limit holds where it is less.

    Raises:
        SetsailError: `convert.unsupported` for a tokenizer that is code and not data, or has nothing to pad with.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise SetsailError("convert.unsupported", f"{type(tokenizer).__name__} is a tokenizer made of Python code",
                           field="tokenizer", expected="one of the tokenizers library (tokenizer.json)",
                           todo="save it as a fast tokenizer (AutoTokenizer … use_fast=True), with save_pretrained",
        )  # fmt: skip
    if tokenizer.pad_token_id is None:
        raise SetsailError("convert.unsupported", "the tokenizer has no padding token", field="pad_token",
                           expected="one, for texts of different length", todo="set tokenizer.pad_token and save it",
        )  # fmt: skip
    if getattr(tokenizer, "split_special_tokens", False):
        raise SetsailError("convert.unsupported", "the tokenizer splits special tokens", field="split_special_tokens",
                           value=True, expected="false")  # fmt: skip
    names = tuple(name for name in _PARTS if name in tokenizer.model_input_names and name in accepted)
    own = tokenizer.model_max_length
    limits = [int(n) for n in (own if own and own < _ENDLESS else None, length) if n]
    return Words(tokenizer, names, min(limits) if limits else None)


def check(words: Words, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    """Hold the step's file against transformers. Raises `convert.unsupported` where they split a text differently."""
    copy = Tokenizer.from_buffer(words.file())
    if words.length is not None:
        copy.enable_truncation(words.length, direction=words.own.truncation_side)
    for row, text in enumerate(texts):
        pair = None if pairs is None else pairs[row]
        expected = words.encode([text], None if pair is None else [pair])["input_ids"][0].tolist()
        sides = words.prepared([side for side in (text, pair) if side is not None])
        if copy.encode(sides[0], sides[1] if pair is not None else None).ids != expected:
            raise SetsailError("convert.unsupported", "the tokenizer does more than its tokenizer.json says",
                               field="tokenizer", value=text, expected="the same tokens from both",
                               todo="export the model to ONNX and send token ids")  # fmt: skip


def drawn(words: Words, rows: int, seed: int) -> Array:
    """Texts that are nobody's: pieces of the vocabulary, and what is hard: accents, emoji, no text at all."""
    rng = np.random.default_rng(seed)
    special = set(words.own.all_special_ids)
    known = [i for i in range(len(words.own)) if i not in special]
    picked = [words.own.decode(rng.choice(known, size=int(rng.integers(1, 24))).tolist()) for _ in range(rows)]
    texts = [text for text in (*_TEXTS, *picked) if _tokens(words, text)]
    made: Array = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made


def long(words: Words, texts: Array, most: int) -> Array:
    """One text of more tokens than are read, or of about `most`."""
    wanted = min(words.length or most, most)
    joined = " ".join(texts.tolist())
    text = joined
    while _tokens(words, text, whole=True) <= wanted + 2 and len(text) < 1 << 20:
        text += " " + joined
    made: Array = np.empty(1, dtype=object)
    made[0] = text
    return made


def _tokens(words: Words, text: str, *, whole: bool = False) -> int:
    return len(words.own(text, truncation=not whole and words.length is not None, verbose=False,
                         max_length=None if whole else words.length)["input_ids"])  # fmt: skip


def accepted(model: Any) -> Mapping[str, None]:
    """The inputs a model's forward takes."""
    return dict.fromkeys(inspect.signature(model.forward).parameters)
