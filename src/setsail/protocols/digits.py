"""Small JSON bodies that are one flat list of numbers in always the same words, told apart without being read.

A client's requests differ in the numbers only. What stands around the list is remembered with what it says, so such a
body is cut in three and looked up; the numbers are read later, those of a whole batch at once (`messages.Digits`).
What is remembered was read by the wire's general way with an empty list in the numbers' place, and nothing that has
numbers, texts or an id of its own elsewhere is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from setsail.messages import Body, Digits, Form

__all__ = ["Memo"]

_NUMBERS: Final = b"0123456789.,-+eE \n\r\t"  # all that a list of numbers is made of, but for what may be missing
_LONGEST: Final = 512  # bytes around a list
_KEPT: Final = 1024


class Memo:
    """The surroundings one wire has seen. When there are too many, all are forgotten.

    Args:
        mark: stands before the list.
        bracket: the first of these after the mark opens the list; empty where the mark ends with it.
        learn: the form that a body has whose list is empty, if it had so many numbers; None for a body whose numbers
            do not go to one input, or that asks for anything more.
        read: the body the general way.
    """

    __slots__ = ("_bracket", "_known", "_learn", "_mark", "_read")

    def __init__(
        self, mark: bytes, bracket: bytes, learn: Callable[[bytes, int], Form | None], read: Callable[[bytes], Body]
    ) -> None:
        self._mark, self._bracket, self._learn, self._read = mark, bracket, learn, read
        self._known: dict[tuple[bytes, bytes, int], Form] = {}

    def find(self, raw: bytes) -> Digits | None:
        """The body, if it is one of those."""
        start = raw.find(self._bracket, raw.find(self._mark) + len(self._mark)) + len(self._bracket)
        end = raw.find(b"]", start)
        text = raw[start:end]
        if end < 0 or text.strip(_NUMBERS):
            return None
        key = (raw[:start], raw[end:], text.count(b","))
        form = self._known.get(key)
        if form is None:
            form = self._new(key)
            if form is None:
                return None
        return Digits(text, form, raw, self._read)

    def _new(self, key: tuple[bytes, bytes, int]) -> Form | None:
        before, after, commas = key
        # Without a backslash the mark is a token of JSON, not part of a text.
        if len(before) + len(after) > _LONGEST or b"\\" in before or self._mark not in before or b"[" in after:
            return None
        form = self._learn(before + after, commas + 1)
        if form is not None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = form
        return form
