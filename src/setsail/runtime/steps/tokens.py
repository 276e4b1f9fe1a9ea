"""The step from texts to a transformer's token ids, by a `tokenizer.json` and the library that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from tokenizers import Encoding, Tokenizer

from setsail.errors import SetsailError
from setsail.runtime.steps import Apply, Files, UnfitError, misused
from setsail.tensors import NULL, Array

__all__ = ["CHARACTERS", "tokenize"]

CHARACTERS: Final = 100_000  # of one text, unless its step says otherwise: fifty pages, a second's work at worst
_LONGEST: Final = 1_000_000  # tokens that an artifact may have rows filled up to
# of `makes`: what an encoding has, and what a padded place gets by which option
_PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "ids": ("ids", "pad_id"), "mask": ("attention_mask", ""), "types": ("type_ids", "pad_type"),
}  # fmt: skip


def tokenize(options: Mapping[str, Any], files: Files) -> Apply:
    """Texts, or pairs of texts, as int64 `[N, tokens]` for each of `makes`, with the tokens a model wants around them.

    Rows are as long as the longest, or `pad_to` where that is longer. What the file itself says of truncation and
    padding does not count.
    """
    tokenizer = _read(options["file"], bytes(files[options["file"]]))
    limit, least = options.get("max_characters", CHARACTERS), options.get("pad_to", 1)
    if least > _LONGEST:
        raise SetsailError("model.failed", "step 'text.tokenize' makes rows that are too long", field="steps",
                           value=least, expected=f"pad_to of at most {_LONGEST}")  # fmt: skip
    longest = options.get("max_length")
    if longest is not None:
        tokenizer.enable_truncation(longest, direction=options.get("truncate_side", "right"))
    parts = [(_PARTS[name][0], options.get(_PARTS[name][1], 0)) for name in options["makes"]]
    left = options.get("pad_side", "right") == "left"

    def encoded(texts: Sequence[str], row: int) -> Encoding:
        for place, text in enumerate(texts):
            fault = _unfit(text, row, limit)
            if fault is not None:
                fault.place = place
                raise fault
        try:
            encoding = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
        except Exception as fault:  # half a surrogate, say
            raise UnfitError("input.text", row, f"cannot be split into tokens ({str(fault)[:80]})") from fault
        if not encoding.ids:
            raise UnfitError("input.text", row, "has no tokens", expected="a text that is not empty",
                             todo="send a text that is not empty")  # fmt: skip
        if longest is not None and len(encoding) > longest:  # the library gives up without a word
            raise misused(
                "step 'text.tokenize' leaves no room between its special tokens", longest, "a larger max_length"
            )
        return encoding

    def apply(arrays: Sequence[Array]) -> Sequence[Array]:
        shape = arrays[0].shape
        rows = zip(*(array.ravel().tolist() for array in arrays), strict=True)
        encodings = [encoded(texts, row) for row, texts in enumerate(rows)]
        length = max(least, max((len(encoding) for encoding in encodings), default=0))
        return [_padded(encodings, name, fill, length, left).reshape(*shape, length) for name, fill in parts]

    return apply


def _read(name: str, raw: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except BaseException as fault:  # the library's panics are no Exceptions
        if isinstance(fault, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
            raise
        raise SetsailError("model.failed", f"the tokenizer {name!r} cannot be read", field="steps",
                           value=str(fault)[:80], expected="a tokenizer.json of Hugging Face") from fault  # fmt: skip
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _unfit(text: Any, row: int, limit: int) -> UnfitError | None:
    if not isinstance(text, str) or text == NULL:
        return UnfitError("input.text", row, "is missing", expected="a text", todo="send a text")
    if len(text) > limit:
        return UnfitError("input.text", row, "is too long", value=len(text), expected=f"at most {limit} characters")
    return None


def _padded(encodings: Sequence[Encoding], name: str, fill: int, length: int, left: bool) -> Array:
    made = np.full((len(encodings), length), fill, dtype=np.int64)
    place: Callable[[int], slice] = (lambda n: slice(length - n, None)) if left else (lambda n: slice(0, n))
    for row, encoding in enumerate(encodings):
        made[row, place(len(encoding))] = getattr(encoding, name)
    return made
