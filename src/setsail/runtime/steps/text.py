"""Steps on texts.

Nothing here asks the machine's locale: `str.lower` and `unicodedata` follow the Unicode tables of Python, which are
what scikit-learn used in training.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from setsail.runtime.steps import Apply, Files, each_input
from setsail.tensors import NULL, Array

__all__ = ["normalize"]


def normalize(options: Mapping[str, Any], _: Files) -> Apply:
    """Take off white space around, lower-case, take off accents, in that order. Missing texts stay so.

    The last two are as scikit-learn's text vectorisers do them; the first as `str.strip`.
    """
    lower = bool(options.get("lowercase", False))
    around = str.strip if options.get("strip") else str
    strip = _ACCENTS[options.get("strip_accents")]

    def one(texts: Array) -> Array:
        changed = np.empty(texts.shape, dtype=object)
        changed.ravel()[:] = [
            text if text == NULL else strip(around(text).lower() if lower else around(text))
            for text in texts.ravel().tolist()
        ]
        return changed

    return each_input(one)


def _unicode(text: str) -> str:
    """Every character without its combining marks ("é" to "e"), as `strip_accents_unicode`."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _ascii(text: str) -> str:
    """Only what has an ASCII form, as `strip_accents_ascii`."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


_ACCENTS: Final[Mapping[str | None, Callable[[str], str]]] = {None: str, "unicode": _unicode, "ascii": _ascii}
