"""Checks of JSON values as small functions that combine: each takes (path, value) and raises `artifact.field`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from setsail.errors import SetsailError

__all__ = ["Check", "choice", "free_object", "integer", "listed", "mapped", "matching", "nullable", "number", "record",
           "refuse", "text", "truth"]  # fmt: skip

Check = Callable[[str, Any], None]


def refuse(path: str, what: str, value: object = None, expected: str | None = None) -> NoReturn:
    raise SetsailError("artifact.field", f"manifest field {path!r} {what}", field=path, value=value, expected=expected)


def text(path: str, value: Any) -> None:
    if not isinstance(value, str):
        refuse(path, "is no text", value, "a text")


def truth(path: str, value: Any) -> None:
    if not isinstance(value, bool):
        refuse(path, "is neither true nor false", value, "true or false")


def number(path: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(path, "is no number", value, "a number")


def free_object(path: str, value: Any) -> None:
    if not isinstance(value, dict):
        refuse(path, "is no object", value, "an object")


def integer(least: int) -> Check:
    def check(path: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 63:
            refuse(path, "is no whole number of the right size", value, f"an integer from {least}")

    return check


def matching(pattern: str, meaning: str) -> Check:
    compiled = re.compile(rf"(?:{pattern})\Z")

    def check(path: str, value: Any) -> None:
        if not isinstance(value, str) or not compiled.match(value):
            refuse(path, "has a value that is not allowed", value, meaning)

    return check


def choice(*allowed: str) -> Check:
    def check(path: str, value: Any) -> None:
        if value not in allowed:
            refuse(path, "has a value that is not allowed", value, "one of " + ", ".join(allowed))

    return check


def nullable(inner: Check) -> Check:
    def check(path: str, value: Any) -> None:
        if value is not None:
            inner(path, value)

    return check


def listed(inner: Check, least: int = 0) -> Check:
    def check(path: str, value: Any) -> None:
        if not isinstance(value, list) or len(value) < least:
            refuse(path, "is no list of the right length", value, f"a list of at least {least}")
        for index, item in enumerate(value):
            inner(f"{path}[{index}]", item)

    return check


def mapped(inner: Check, keys: Check = text) -> Check:
    def check(path: str, value: Any) -> None:
        free_object(path, value)
        for key, item in value.items():
            keys(f"{path} (a key)", key)
            inner(f"{path}.{key}", item)

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with exactly these keys; unknown ones are refused."""
    known = {**required, **(optional or {})}

    def check(path: str, value: Any) -> None:
        free_object(path or "manifest", value)
        for key in value:
            if key not in known:
                refuse(f"{path}.{key}".lstrip("."), "is unknown", value[key], "one of " + ", ".join(sorted(known)))
        for key in required:
            if key not in value:
                refuse(f"{path}.{key}".lstrip("."), "is missing")
        for key, item in value.items():
            known[key](f"{path}.{key}".lstrip("."), item)

    return check
