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
from setsail.protocols import binary
from setsail.protocols.http import JSON, JSON_HEADERS, HttpReply
from setsail.protocols.values import NonFinite, common_rows, joined, row_texts, texts, value_json, value_rows
from setsail.shares import Share
from setsail.tensors import Array

__all__ = ["FORMS", "Form", "chosen"]

Headers = tuple[tuple[str, str], ...]
Written = Callable[[Mapping[str, Array], bool], bytes]
Apart = Callable[[Mapping[str, Array], bool], list[bytes]]
_CSV: Final = NonFinite(b"nan", b"inf", b"-inf")


class Form(Struct, frozen=True):
    """A media type and its writers: of an answer, and of the answers of many that had one row each, apart.

    `headers` are those of its answers.
    """

    headers: Headers
    body: Written
    each: Apart

    def write(self, response: Response, wrapped: bool, more: Headers = ()) -> HttpReply:
        """The answer.

        Args:
            wrapped: JSON is `{"predictions": …}` rather than the bare value.
            more: headers of this answer.
        """
        outputs = response.outputs
        if type(outputs) is Share:
            body = outputs.text(self._wrapped if wrapped else self._bare, response)
        else:
            body = self.body({name: outputs[name] for name in response.defaults}, wrapped)
        return HttpReply(200, body, self.headers + more if more else self.headers)

    def _bare(self, response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
        return self.each({name: outputs[name] for name in response.defaults}, False)

    def _wrapped(self, response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
        return self.each({name: outputs[name] for name in response.defaults}, True)


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


def _json(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    told = value_json(outputs)
    return b'{"predictions":' + told + b"}" if wrapped else told


def _json_each(outputs: Mapping[str, Array], wrapped: bool) -> list[bytes]:
    opening, closing = (b'{"predictions":[', b"]}") if wrapped else (b"[", b"]")
    return joined(((opening, value_rows(outputs)),), closing)


def _lines(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    return b"".join(_lines_each(outputs, wrapped)) or b"\n"


def _lines_each(outputs: Mapping[str, Array], wrapped: bool) -> list[bytes]:
    if not common_rows(outputs):
        raise _no_form("the answer has no rows to put on lines", None, JSON)
    return [row + b"\n" for row in value_rows(outputs)]


def _csv(outputs: Mapping[str, Array], wrapped: bool) -> bytes:
    return b"".join(_csv_each(outputs, wrapped)) or b"\n"


def _csv_each(outputs: Mapping[str, Array], wrapped: bool) -> list[bytes]:
    if not common_rows(outputs) or any(array.ndim > 2 for array in outputs.values()):
        raise _no_form("the answer is no table", None, JSON)
    columns = [_cells(array) for array in outputs.values()]
    return [b",".join(row) + b"\n" for row in zip(*columns, strict=True)]


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


def _npy_each(outputs: Mapping[str, Array], wrapped: bool) -> list[bytes]:
    name, array = next(iter(outputs.items()))
    if len(outputs) != 1 or array.dtype.kind not in "biuf" or not array.dtype.isnative:  # texts differ in width
        return [_npy({n: a[i : i + 1] for n, a in outputs.items()}, wrapped) for i in range(len(array))]
    rows = binary.rows(array)
    first = _npy({name: array[:1]}, wrapped)
    return joined(((first[: len(first) - len(rows[0])], rows),), b"")


def _form(kind: str, body: Written, each: Apart) -> Form:
    return Form(JSON_HEADERS if kind == JSON else (("content-type", kind),), body, each)


_LINES: Final = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")
FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys((JSON, "*/*", "application/*"), _form(JSON, _json, _json_each)),
    **{kind: _form(kind, _lines, _lines_each) for kind in _LINES},
    **dict.fromkeys(("text/csv", "text/*"), _form("text/csv", _csv, _csv_each)),
    "application/x-npy": _form("application/x-npy", _npy, _npy_each),
}  # fmt: skip
