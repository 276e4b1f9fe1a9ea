"""Steps in Python: what happens to inputs before the program sees them (`setsail/steps.py` has the schemas).

One function a kind, listed in a table. Nothing here asks the machine's locale: `str.lower` and `unicodedata` follow the
Unicode tables of Python, which are what scikit-learn used in training.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from setsail.steps import Step
from setsail.tensors import Array

__all__ = ["apply"]


def apply(steps: Sequence[Step], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs with all steps done, in order. The arrays given are never changed.

    Args:
        inputs: checked inputs by name, as `binding.bind` returns them; a step names one of them.
    """
    done = dict(inputs)
    for step in steps:
        done[step.input] = _KINDS[step.kind](done[step.input], step.options)
    return done


def _normalize(texts: Array, options: Mapping[str, Any]) -> Array:
    """Lower-case, then strip accents, as scikit-learn's text vectorisers do (in that order)."""
    lower = bool(options.get("lowercase", False))
    strip = _ACCENTS[options.get("strip_accents")]
    changed = np.empty(texts.shape, dtype=object)
    changed.ravel()[:] = [strip(text.lower() if lower else text) for text in texts.ravel().tolist()]
    return changed


def _unicode(text: str) -> str:
    """Every character without its combining marks ("é" to "e"), as `strip_accents_unicode`."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _ascii(text: str) -> str:
    """Only what has an ASCII form, as `strip_accents_ascii`."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


_ACCENTS: Final[Mapping[str | None, Callable[[str], str]]] = {None: str, "unicode": _unicode, "ascii": _ascii}
_KINDS: Final[Mapping[str, Callable[[Array, Mapping[str, Any]], Array]]] = {"text.normalize": _normalize}
