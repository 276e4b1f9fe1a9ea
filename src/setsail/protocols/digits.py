"""Small bodies that are numbers in always the same words, told apart without being read.

A client's requests differ in the numbers only. What stands around them is remembered with what it says, so such a body
is cut and looked up; the numbers are read later, those of a whole batch at once (`messages.Digits`). What is remembered
was read by the wire's general way with nothing in the numbers' place, and nothing that has numbers, texts or an id of
its own elsewhere is remembered.

`Memo` has bodies with one list of numbers, `Fields` those with one number in every field, `Lines` tables of one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import Any, Final

from setsail.messages import Body, Digits, Form, Portion

__all__ = ["CELLS", "COLUMNS", "RECORDS", "Fields", "Kept", "Lines", "Memo", "one_line", "one_row"]

_NUMBERS: Final = b"0123456789.,-+eE \n\r\t"  # all that a list of numbers is made of, but for what may be missing
_LONGEST: Final = 2048  # bytes around numbers
_KEPT: Final = 1024
_REFUSED: Final = 128


def one_row(count: int, *key: Hashable, **what: Any) -> Form:
    """The form of one row.

    Args:
        count: of its numbers.
        key: what else the general way makes of the body: it is joined with its like alone.
        what: other attributes of the form.
    """
    return Form((1, count), portion=Portion((Digits, count, *key), 1), **what)


class Kept:
    """What was learnt, by key, and what there was nothing to learn of. When there is too much, all is forgotten."""

    __slots__ = ("_known", "_none")

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}
        self._none: set[Hashable] = set()

    def get(self, key: Hashable, learn: Callable[[], Any]) -> Any:
        found = self._known.get(key)
        if found is not None or key in self._none:
            return found
        found = learn()
        if found is not None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = found
            return found
        if len(self._none) >= _REFUSED:
            self._none.clear()
        self._none.add(key)
        return None


class Memo:
    """The surroundings that one wire has seen of lists of numbers.

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


# -- fields ------------------------------------------------------------------------------------------------------------

_NUMBER: Final = rb"(-?[0-9][0-9.eE+-]*)"
COLUMNS: Final = re.compile(rb"\[\s*" + _NUMBER + rb"\s*\]"), b"[]"  # of JSON: `{"a": [1], "b": [2]}`
RECORDS: Final = re.compile(rb":\s*" + _NUMBER + rb"\s*(?=[,}])"), b":[]"  # `{"a": 1, "b": 2}`
CELLS: Final = re.compile(rb"=([0-9.eE-]+)(?=&|\Z)"), b"="  # of an URL-encoded form: `a=1&b=2`
_NOTHING: Final = re.compile(rb"\[\s*\]")
_MINUS: Final = re.compile(rb"-0(?![0-9.eE])")


class Fields:
    """The words that one wire has seen around fields of one number each.

    Args:
        holes: how numbers stand in the body, and what stands there instead of them where the words are learnt: an empty
            list of JSON, or no text.
        learn: as Memo's.
        read: as Memo's.
        texts: numbers are texts, of which -0 is a negative zero; JSON's is an integer.
    """

    __slots__ = ("_empty", "_holes", "_kept", "_learn", "_read", "_texts")

    def __init__(
        self, holes: tuple[re.Pattern[bytes], bytes], learn: Callable[[bytes, int], Form | None],
        read: Callable[[bytes], Body], *, texts: bool = False,
    ) -> None:  # fmt: skip
        (self._holes, self._empty), self._learn, self._read, self._texts = holes, learn, read, texts
        self._kept = Kept()

    def find(self, raw: bytes) -> Digits | None:
        """The body, if it is one of those."""
        parts = self._holes.split(raw)  # words and numbers in turn
        if len(parts) == 1:
            return None
        words = tuple(parts[::2])
        form = self._kept.get(words, lambda: self._new(words))
        if form is None:
            return None
        text = b",".join(parts[1::2])
        if self._texts and b"-0" in text and _MINUS.search(text):
            return None
        return Digits(text, form, raw, self._read)

    def _new(self, words: tuple[bytes, ...]) -> Form | None:
        size = sum(map(len, words))
        # What looks like an empty list already could be taken for one of the numbers.
        if size > _LONGEST or _NOTHING.search(b"0".join(words)):
            return None
        return self._learn(self._empty.join(words), len(words) - 1)


# -- lines -------------------------------------------------------------------------------------------------------------

_LINE: Final = b"0123456789.,-+eE "


def one_line(raw: bytes) -> bytes | None:
    """The numbers of a table of one line, which has no header; None for any other table."""
    text = raw.rstrip(b"\r\n")
    return None if not text or text.strip(_LINE) or (b"-0" in text and _MINUS.search(text)) else text


class Lines:
    """The headers that one wire has seen of tables of one line. Its numbers are texts.

    Args:
        learn: the form of a table whose header this is, with so many cells in its one line.
        read: as Memo's.
    """

    __slots__ = ("_kept", "_learn", "_read")

    def __init__(self, learn: Callable[[bytes, int], Form | None], read: Callable[[bytes], Body]) -> None:
        self._learn, self._read, self._kept = learn, read, Kept()

    def find(self, raw: bytes) -> Digits | None:
        """The table, if it is one of those."""
        end = raw.find(b"\n") + 1
        text = one_line(raw[end:])
        if text is None or end > _LONGEST:
            return None
        key = (raw[:end], text.count(b","))
        form = self._kept.get(key, lambda: self._learn(key[0], key[1] + 1))
        return None if form is None else Digits(text, form, raw, self._read)
