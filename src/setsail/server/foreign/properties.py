"""Java's `.properties` files: keys and values, as `java.util.Properties` reads them.

A line is `key=value`, `key: value` or `key value`; `#` and `!` begin comments; a backslash at its end goes on with the
next line, and elsewhere escapes. Of a key given twice the last counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["expanded", "parsed"]

_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_KEY = re.compile(r"((?:\\.|[^\\=:\s])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$\$([^$]+)\$\$")


def parsed(text: str) -> dict[str, str]:
    """The pairs of a file."""
    found = {}
    for line in _lines(text):
        match = _KEY.fullmatch(line)
        assert match is not None  # every part of it may be empty
        found[_plain(match[1])] = _plain(match[2])
    return found


def expanded(values: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """`$$NAME$$` in a value is a variable of the environment. Raises KeyError for one that is not set."""
    return {key: _VARIABLE.sub(lambda m: environment[m[1]], value) for key, value in values.items()}


def _lines(text: str) -> Iterator[str]:
    """Logical lines, without comments and what is blank at their beginnings."""
    begun = ""
    for raw in re.split(r"\r\n|\n|\r", text):
        line = raw.lstrip(" \t\f")
        if not begun and (not line or line[0] in "#!"):
            continue
        line = begun + line
        if (len(line) - len(line.rstrip("\\"))) % 2:
            begun = line[:-1]
            continue
        begun = ""
        yield line
    if begun:
        yield begun


def _plain(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    inside = match[1]
    return chr(int(inside[1:], 16)) if len(inside) == 5 else _LETTERS.get(inside, inside)
