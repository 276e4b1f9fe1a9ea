"""Protobuf's text format, read without a schema: which fields a message has, in order, with their values as written.

A configuration must be refused by the name of what is not done here, and kept readable where other servers add fields.
A parser that knows a schema can only say of the first strange field that it is strange; this one reads them all, and
whoever asked decides. Syntax: the language's specification at protobuf.dev,
without extension names and `Any` expansions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["Message", "Word", "parsed"]

Message = Mapping[str, Sequence[Any]]  # field -> its values: Message, str, int, float or Word
_LARGEST: Final = 1 << 20
_DEEPEST: Final = 32
_TOKEN: Final = re.compile(
    r"""(?P<space>(?:\s+|\#[^\n]*)+)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<float>-?\s*(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)[fF]?|-?\s*\d+[fF]\b)
      | (?P<int>-?\s*(?:0[xX][0-9a-fA-F]+|\d+))
      | (?P<word>-?\s*[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSING: Final = {"{": "}", "<": ">"}


class Word(str):
    """What stands without quotes: a name of an enumeration, `true` or `false`."""

    __slots__ = ()


def parsed(text: str, name: str) -> Message:
    """The fields of a file.

    Args:
        name: of the file, for faults.

    Raises:
        SetsailError: `repository.config` with the line, for what is no text format, or too large or deep for one.
    """
    if len(text) > _LARGEST:
        raise SetsailError("repository.config", f"{name} is too large", value=len(text), expected="at most a megabyte")
    return _Reading(text, name).message("", 0)


class _Reading:
    """Tokens of a text, the next one at hand."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._at = 0
        self.kind, self.token = "", ""
        self._next()

    def message(self, closing: str, depth: int) -> dict[str, list[Any]]:
        """Fields up to the closing bracket, or ("") the end of the text."""
        if depth > _DEEPEST:
            raise self._fault("messages are nested too deeply")
        found: dict[str, list[Any]] = {}
        while not (self.kind == "mark" and self.token == closing) and self.kind:
            if self.kind != "word" or self.token.startswith("-"):
                raise self._fault("a field's name is missing")
            values = found.setdefault(self.token, [])
            self._next()
            values += self._field(depth)
            if self.kind == "mark" and self.token in ",;":
                self._next()
        if closing:
            if not self.kind:
                raise self._fault(f"{closing!r} is missing")
            self._next()
        return found

    def _field(self, depth: int) -> list[Any]:
        colon = self._take(":")
        if self.kind == "mark" and self.token in _CLOSING:
            return [self._value(depth)]
        if self._take("["):
            return self._list(depth, colon=colon)
        if not colon:
            raise self._fault("':' is missing")
        return [self._value(depth)]

    def _list(self, depth: int, *, colon: bool) -> list[Any]:
        """What is between brackets; without a colon before them only messages may be."""
        values: list[Any] = []
        while not self._take("]"):
            if values and not self._take(","):
                raise self._fault("',' is missing in a list")
            if not colon and self.token not in _CLOSING:
                raise self._fault("':' is missing")
            values.append(self._value(depth))
        return values

    def _value(self, depth: int) -> Any:
        kind, token = self.kind, self.token
        if kind == "mark" and token in _CLOSING:
            self._next()
            return self.message(_CLOSING[token], depth + 1)
        if kind == "text":
            parts = []
            while self.kind == "text":  # texts side by side are one
                parts.append(_plain(self.token[1:-1]))
                self._next()
            return "".join(parts)
        if kind not in ("int", "float", "word"):
            raise self._fault("a value is missing")
        self._next()
        bare = re.sub(r"\s", "", token)
        if kind == "float":
            return float(bare.rstrip("fF"))
        if kind == "word":
            return Word(bare)
        return int(bare, 16 if "x" in bare.lower() else 8 if re.fullmatch(r"-?0[0-7]+", bare) else 10)

    def _take(self, mark: str) -> bool:
        if self.kind != "mark" or self.token != mark:
            return False
        self._next()
        return True

    def _next(self) -> None:
        while self._at < len(self._text):
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                raise self._fault("a character stands where none may")
            self._at = match.end()
            if match.lastgroup != "space":
                self.kind, self.token = str(match.lastgroup), match[0]
                return
        self.kind, self.token = "", ""

    def _fault(self, what: str) -> SetsailError:
        line = self._text.count("\n", 0, max(0, self._at - len(self.token))) + 1
        return SetsailError("repository.config", f"{self._name}, line {line}: {what}", field=self._name,
                            value=self.token or None, expected="protobuf's text format")  # fmt: skip


def _plain(text: str) -> str:
    """A text without its escapes; bytes that they spell and that are no UTF-8 become U+FFFD."""
    raw = bytearray()
    end = 0
    for match in _ESCAPE.finditer(text):
        raw += text[end : match.start()].encode()
        raw += _unescaped(match[1])
        end = match.end()
    raw += text[end:].encode()
    return raw.decode("utf-8", errors="replace")


def _unescaped(inside: str) -> bytes:
    if inside[0] in "uU" and len(inside) > 1:
        return chr(min(int(inside[1:], 16), 0x10FFFF)).encode("utf-8", errors="replace")
    if inside[0] == "x" and len(inside) > 1:
        return bytes([int(inside[1:], 16)])
    if inside[0] in "01234567":
        return bytes([int(inside, 8) & 0xFF])
    return _LETTERS.get(inside, inside).encode()
