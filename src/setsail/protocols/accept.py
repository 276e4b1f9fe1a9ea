"""The media type of an answer, as Accept asks for it: JSON, JSON lines, CSV without a header, or .npy.

Each form writes a model's default outputs. Several of them are a record a row, or columns side by side; .npy, which
holds one array, then has no form for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from msgspec import Struct

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.http import JSON, JSON_HEADERS, HttpReply
from setsail.protocols.values import BARE, NonFinite, array_json, key_json, records_json, row_texts, texts
from setsail.tensors import Array

__all__ = ["FORMS", "Form", "chosen"]

Headers = tuple[tuple[str, str], ...]
Written = Callable[[Mapping[str, Array], bool], bytes]
_CSV: Final = NonFinite(b"nan", b"inf", b"-inf")


class Form(Struct, frozen=True):
    """A media type and its writer; `headers` are those of its answers."""

    headers: Headers
    body: Written

    def write(self, response: Response, wrapped: bool, more: Headers = ()) -> HttpReply:
        """The answer.

        Args:
            wrapped: JSON is `{"predictions": …}` rather than the bare value.
            more: headers of this answer.
        """
        outputs = {name: response.outputs[name] for name in response.defaults}
        return HttpReply(200, self.body(outputs, wrapped), self.headers + more if more else self.headers)


@lru_cache(1024)
def chosen(accept: str) -> Form:
    """The form for an Accept header. Raises `request.media_type` where it has none of ours.

    The highest `q` wins, of equal ones the first (RFC 9110 §12.5.1).
    """
    asked: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p.partition("=")[2].strip() for p in parameters if p.partition("=")[0].strip() == "q"), "1")
        try:
            asked.append((float(weight), kind))
        except ValueError:
            continue
    for preference, kind in sorted(asked, key=lambda pair: -pair[0]):
        if preference > 0 and kind in FORMS:
            return FORMS[kind]
    raise _no_form(
        "no answer of these types is written here", accept, ", ".join(kind for kind in FORMS if "*" not in kind)
    )


def _no_form(what: str, accept: str | None, expected: str) -> SetsailError:
    return SetsailError(
        "request.media_type", what, field="accept", value=accept, expected=expected, todo="ask for one of those"
    )


def _records(outputs: Mapping[str, Array]) -> bool:
    return len({array.shape[:1] for array in outputs.values()} | {()}) == 2


def _json(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    if len(outputs) == 1:
        told = array_json(next(iter(outputs.values())))
    elif _records(outputs):
        told = records_json(outputs)
    else:
        told = b"{" + b",".join([key_json(name) + array_json(array) for name, array in outputs.items()]) + b"}"
    return b'{"predictions":' + told + b"}" if wrapped else told


def _lines(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    if not _records(outputs):
        raise _no_form("the answer has no rows to put on lines", None, JSON)
    if len(outputs) == 1:
        rows = row_texts(next(iter(outputs.values())), b"", BARE)
    else:
        columns = [row_texts(array, key_json(name), BARE) for name, array in outputs.items()]
        rows = [b"{" + b",".join(row) + b"}" for row in zip(*columns, strict=True)]
    return b"\n".join(rows) + b"\n"


def _csv(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    if not _records(outputs) or any(array.ndim > 2 for array in outputs.values()):
        raise _no_form("the answer is no table", None, JSON)
    columns = [_cells(array) for array in outputs.values()]
    return b"\n".join(map(b",".join, zip(*columns, strict=True))) + b"\n"


def _cells(array: Array) -> list[bytes]:
    """Of every row, its cells."""
    if array.dtype.kind in "OUST":
        rows = texts(array)
        return [b",".join(map(_quoted, row if array.ndim == 2 else [row])) for row in rows]
    rows = row_texts(array, b"", _CSV)
    return [row[1:-1] for row in rows] if array.ndim == 2 else rows


def _quoted(text: str | None) -> bytes:
    """RFC 4180; an empty cell is a missing text."""
    told = text or ""
    if any(mark in told for mark in '",\r\n'):
        told = '"' + told.replace('"', '""') + '"'
    return told.encode()


def _npy(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    if len(outputs) != 1:
        raise _no_form("the answer is several arrays, and .npy holds one", None, JSON)
    array = next(iter(outputs.values()))
    if array.dtype.kind == "O":
        array = np.array([text or "" for text in texts(array.ravel())], dtype=str).reshape(array.shape)
    file = BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return file.getvalue()


def _form(kind: str, body: Written) -> Form:
    return Form(JSON_HEADERS if kind == JSON else (("content-type", kind),), body)


FORMS: Final[Mapping[str, Form]] = {
    JSON: _form(JSON, _json), "*/*": _form(JSON, _json), "application/*": _form(JSON, _json),
    "application/jsonlines": _form("application/jsonlines", _lines),
    "application/x-jsonlines": _form("application/x-jsonlines", _lines),
    "application/x-ndjson": _form("application/x-ndjson", _lines),
    "text/csv": _form("text/csv", _csv), "text/*": _form("text/csv", _csv),
    "application/x-npy": _form("application/x-npy", _npy),
}  # fmt: skip
