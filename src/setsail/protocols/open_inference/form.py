"""The JSON of a prediction's request, read straight into structs; long lists of numbers straight into arrays."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from setsail.protocols import packed
from setsail.protocols.values import UNREAD, convert, parse
from setsail.tensors import BY_OIP

__all__ = ["Infer", "Input", "Wanted", "read"]


class Input(msgspec.Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = msgspec.UNSET


class Wanted(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Any] = {}


class Infer(msgspec.Struct, gc=False):
    inputs: list[Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] = []


# The same without unknown keys, which msgspec would skip without a look at their values: read straight from the bytes.
class _ExactInput(Input, gc=False, forbid_unknown_fields=True):
    pass


class _ExactWanted(Wanted, gc=False, forbid_unknown_fields=True):
    pass


class _ExactInfer(Infer, gc=False, forbid_unknown_fields=True):
    inputs: list[_ExactInput]  # type: ignore[assignment]
    outputs: list[_ExactWanted] = []  # type: ignore[assignment]


_read: Final = msgspec.json.Decoder(_ExactInfer).decode


def read(header: bytes | memoryview) -> Infer:
    """Raises `request.json` or `request.form`."""
    try:
        if len(header) >= packed.LONG:
            form = _long(bytes(header))
            if form is not None:
                return form
        return _read(header)
    except UNREAD:
        return convert(parse(header), Infer)


_MOST_CUTS: Final = 64  # each may look through the whole text
_COLON_LIST: Final = re.compile(rb"\s*:\s*\[")


def _long(header: bytes) -> Infer | None:
    """The same with numbers as arrays: every list called data is cut out and read by itself.

    None where that could go wrong. Without a backslash left, `"data":` is a key and nothing else; there must be as
    many as inputs, and each input must be left with an empty list.
    """
    cuts: list[tuple[int, int]] = []
    rest: list[bytes] = []
    at = 0
    while (found := header.find(b'"data"', at)) >= 0:
        match = _COLON_LIST.match(header, found + 6)
        end = _list_end(header, match.end()) if match else -1
        if match is None or end < 0 or len(cuts) == _MOST_CUTS:
            return None
        cuts.append((match.end() - 1, end))
        rest.append(header[at : match.end() - 1])
        at = end
    rest.append(header[at:])
    text = b"[]".join(rest)
    form: Infer = _read(text)
    if b"\\" in text or len(form.inputs) != len(cuts) or any(item.data != [] for item in form.inputs):
        return None
    for item, (start, end) in zip(form.inputs, cuts, strict=True):
        dtype = BY_OIP.get(item.datatype)
        item.data = packed.numbers(header[start:end], dtype.kind if dtype else None)
        if item.data is None:
            return None
    return form


def _list_end(text: bytes, start: int) -> int:
    """Where a list of numbers, or of such lists, ends; -1 where that is not seen at once."""
    end = text.find(b"]", start)
    if end < 0 or text.find(b"[", start, end) < 0:
        return end + 1 or -1
    ends = [end for after in (b"]}", b'],"', b'], "') if (end := text.find(after, start)) >= 0]
    return min(ends) + 1 if ends else -1
