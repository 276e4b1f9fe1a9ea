"""Long JSON lists of numbers, straight into arrays, without a Python object for each.

simdjson reads them three times as fast as any reader that makes objects. It hands over the numbers of a nested list
as one flat buffer and does not say how they were nested, nor that rows differ in length; the brackets and commas of
the text do, so they are compared with those of the regular list. Whatever is not simply numbers is left to the
general readers, which have the last word on it: nothing here refuses anything.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np

from setsail.protocols.values import parse
from setsail.tensors import Numbers

__all__ = ["LONG", "cut", "numbers"]

LONG: Final = 4096  # bytes of a body from which on this pays
_LARGEST: Final = 16 << 20  # a parser keeps the memory of its largest text; for larger ones it is given back
_TYPES: Final = {"float": ("d", np.float64), "int": ("i", np.int64), "uint": ("u", np.uint64)}
_NOT_STRUCTURE: Final = b"0123456789+-.eE \n\r\t"
_local: Final = threading.local()


def numbers(text: bytes, kind: str | None = None) -> Numbers | None:
    """A JSON list of numbers, nested regularly or not at all; None for every other text.

    Args:
        kind: "float", "int" or "uint" where it is known what they should be, else the narrowest of int and float.
    """
    kinds = (kind,) if kind else ("float",) if b"." in text else ("int", "float")
    if not _TYPES.keys() >= set(kinds):
        return None
    flat = _flat(text, kinds)
    if flat is None or not flat.size:
        return None
    shape = flat.shape if text.find(b"[", 1) < 0 else _shape(text.translate(None, _NOT_STRUCTURE))
    if shape is None or flat.size != np.prod(shape, dtype=object):
        return None
    return Numbers.of(flat.reshape(shape), lambda: parse(text))


def _flat(text: bytes, kinds: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
    parser = _parser(len(text))
    if parser is None:
        return None
    try:
        values = parser.parse(text)
    except (ValueError, RuntimeError):
        return None
    for kind in kinds:
        code, dtype = _TYPES[kind]
        try:
            return np.frombuffer(values.as_buffer(of_type=code), dtype)
        except (TypeError, ValueError, AttributeError):  # other values among them, out of range, not a list at all
            continue
    return None


def _parser(size: int) -> Any:
    """This thread's parser; None where the package is not installed."""
    if not hasattr(_local, "parser"):
        _local.parser = _new_parser()
    return _local.parser if size <= _LARGEST else _new_parser()


def _new_parser() -> Any:
    try:
        from simdjson import Parser  # here, because only long bodies need it
    except ImportError:
        return None
    return Parser()


def _shape(structure: bytes) -> tuple[int, ...] | None:
    """The sizes of a nested list out of its brackets and commas; None where it is not regular."""
    depth = len(structure) - len(structure.lstrip(b"["))
    if not 1 <= depth <= 32:
        return None
    width = structure.find(b"]") - depth + 1
    part, shape = b"[" + b"," * (width - 1) + b"]", [width]
    for outer in range(depth - 2, -1, -1):
        end = structure.find(part + b"]", outer + 1)
        count, rest = divmod(end + len(part) - outer, len(part) + 1)
        if end < 0 or rest:
            return None
        part = b"[" + b",".join([part] * count) + b"]"
        shape.append(count)
    return tuple(reversed(shape)) if part == structure else None


def cut(text: bytes, start: int, end: int) -> bytes:
    """The text without the list that is [start, end) of it, an empty list in its place."""
    return text[:start] + b"[]" + text[end:]
