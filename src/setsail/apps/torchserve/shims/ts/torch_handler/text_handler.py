"""`TextHandler`: needs torchtext, which is no longer made; it is here so that who derives from it hears why."""

from __future__ import annotations

from typing import Any

from .base_handler import BaseHandler

__all__ = ["TextHandler"]


class TextHandler(BaseHandler):
    def initialize(self, context: Any) -> None:
        raise RuntimeError("TextHandler needs torchtext and source_vocab.pt, which are not read here: derive from "
                           "BaseHandler and tokenise with the package of your choice")  # fmt: skip
