"""Hugging Face transformers: a local directory, or a live pipeline or model.

`directory:convert` takes a directory; `setsail.convert.transformers:convert` takes what is live. The model's own
tokenizer or image processor becomes steps (`setsail/steps.py`), so that a model takes texts and pictures.
"""

from __future__ import annotations

import importlib
from typing import Any

from setsail.convert.conversion import Conversion, Intent

__all__ = ["convert"]


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a live pipeline or model; see `live.convert`."""
    converted: Conversion = importlib.import_module("setsail.convert.transformers.live").convert(model, intent)
    return converted
