"""A free-form body to a `Body`, by its content type: JSON, JSON lines, CSV, numpy files, forms, bytes.

No model is known here. Where only a signature can tell what was meant, the body says so and `binding` decides: a
JSON object or a form with one field of ENVELOPES is `loose`, a CSV without a header has the header None.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Digits, Form, Rows
from setsail.protocols import packed
from setsail.protocols.digits import CELLS, COLUMNS, RECORDS, Fields, Lines, Memo, one_line, one_row
from setsail.protocols.http import JSON
from setsail.protocols.multipart import FORM, MULTIPART, Part, parts, urlencoded
from setsail.protocols.values import parse

__all__ = [
    "CSV", "CSV_TYPES", "ENVELOPES", "FORM_NOTE", "JSON_TYPES", "cells", "form", "header_of", "json_body", "json_lines",
    "json_value", "kind_of", "read",
]  # fmt: skip

CSV: Final = "text/csv"
CSV_TYPES: Final = frozenset((CSV, "application/csv"))
ENVELOPES: Final = frozenset(("input", "inputs", "data", "features", "instances", "body", "x", "X"))
# What is read as JSON: no type at all, and what curl -d and fetch() send by default.
JSON_TYPES: Final = frozenset(("", JSON, "text/json", "text/plain"))


def read(raw: bytes | memoryview, content_type: str, *, header: bool = True) -> Body:
    """A body of any type that is read here.

    Args:
        content_type: the header as it came, empty where there was none.
        header: whether a CSV begins with its columns' names; without, they are in the signature's order, unless the
            first line is exactly their names.

    Raises:
        SetsailError: `request.media_type` for other types; `request.json`, `request.csv`, `request.form` and
            `request.binary` for bodies that are not what their type says.
    """
    if content_type == JSON:
        return json_body(raw)
    kind = kind_of(content_type)
    if kind in CSV_TYPES:
        return csv_body(raw, header=header)
    if (kind in JSON_TYPES or kind == FORM) and _is_media(raw):  # curl says a form of whatever file it sends
        return _raw(bytes(raw))
    if kind in JSON_TYPES or kind.endswith("+json"):
        return json_body(raw)
    if kind == FORM:  # which is also what curl -d says of JSON
        text = bytes(raw).lstrip()
        return json_body(raw) if text[:1] in b'{["' or b"=" not in text else form_body(bytes(raw))
    if kind == MULTIPART:
        return form(parts(raw, content_type))
    if kind in _BINARY:
        return _BINARY[kind](bytes(raw))
    if kind.startswith(_MEDIA_TYPES):
        return _raw(bytes(raw))
    raise SetsailError(
        "request.media_type", "a body of this type is not read here", field="content-type", value=kind,
        expected=", ".join((JSON, CSV, "application/x-npy", FORM, MULTIPART)),
    )  # fmt: skip


def kind_of(content_type: str) -> str:
    """The media type alone, lower-case."""
    return content_type.partition(";")[0].strip().lower()


# -- JSON --------------------------------------------------------------------------------------------------------------


def json_body(raw: bytes | memoryview) -> Body:
    """A JSON body: a list is rows, an object is columns, or one row where none of its values is a list.

    Raises:
        SetsailError: `request.json`, `request.form` for null.
    """
    if type(raw) is bytes and len(raw) < packed.LONG:
        digits = _MEMO.find(raw)
        if digits is None and raw.startswith(b"{"):
            digits = (_COLUMNS if b"[" in raw else _ROW).find(raw)
        if digits is not None:
            return digits
    return _json(raw)


def _json(raw: bytes | memoryview) -> Body:
    try:
        long = numbers(bytes(raw).strip()) if len(raw) >= packed.LONG else None
        return long or json_value(parse(raw))
    except SetsailError as fault:
        if fault.code == "request.json":  # a CSV file sent without saying so is the likeliest cause
            fault.todo = f"send JSON, or the header `Content-Type: {CSV}` if this is CSV"
        raise


def _learn(raw: bytes, count: int) -> Form | None:
    """One row: bare, or of the one input named."""
    try:
        value = parse(raw)
    except SetsailError:
        return None
    if value == [[]]:
        return one_row(count)
    if not isinstance(value, dict) or list(value.values()) != [[[]]]:
        return None
    (name,) = value
    return one_row(count, name, name=name, loose=name in ENVELOPES)


def _learn_columns(raw: bytes, count: int) -> Form | None:
    """A column a name, all of one value."""
    names = _names(raw, count)
    return None if names is None else one_row(count, "columns", names=names)


def _learn_row(raw: bytes, count: int) -> Form | None:
    """An object without lists: a value a name."""
    names = _names(raw, count)
    return None if names is None else one_row(count, "object", names=names)


def _names(raw: bytes, count: int) -> tuple[str, ...] | None:
    """The names of an object of empty lists, where they are so many and none is a word for the whole body."""
    try:
        value = parse(raw)
    except SetsailError:
        return None
    named = isinstance(value, dict) and list(value.values()) == [[]] * count
    return tuple(value) if named and not (count == 1 and not ENVELOPES.isdisjoint(value)) else None


_MEMO: Final = Memo(b"[[", b"", _learn, _json)
_COLUMNS: Final = Fields(COLUMNS, _learn_columns, _json)
_ROW: Final = Fields(RECORDS, _learn_row, _json)


def json_value(value: Any) -> Body:
    """The same of JSON that is parsed already."""
    if isinstance(value, list):
        return Rows(value)
    if isinstance(value, dict):
        if len(value) == 1 and not ENVELOPES.isdisjoint(value):
            return Columns(value, loose=True)
        return Columns(value) if any(isinstance(v, list) for v in value.values()) else Rows([value])
    if value is None:
        raise SetsailError(
            "request.form", "the body is null", expected='rows [[1, 2], …], columns {"a": [1, …]} or one row {"a": 1}'
        )
    return Rows([value])  # a bare value is one row of a model with a single input


_NAMED: Final = re.compile(rb'\{\s*"([^"\\]{1,256})"\s*:\s*\[')


def numbers(raw: bytes) -> Body | None:
    """Rows, or the one input named, as an array; None where the body is anything else than one long list of numbers."""
    if raw.startswith(b"["):
        values = packed.numbers(raw)
        return None if values is None else Rows(values)
    opening, end = _NAMED.match(raw), raw.rfind(b"]") + 1
    if opening is None or raw[end:].strip() != b"}":
        return None
    values = packed.numbers(raw[opening.end() - 1 : end])
    if values is None:
        return None
    try:
        name = opening[1].decode()
    except UnicodeDecodeError:
        return None
    return Columns({name: values}, loose=name in ENVELOPES)


def json_lines(raw: bytes | memoryview) -> Body:
    """One JSON value a line, each a row; empty lines are left out. Raises `request.json`, naming the line."""
    digits = _ONE_LINE.find(raw) if type(raw) is bytes and len(raw) < packed.LONG else None
    return _lines(raw) if digits is None or b"\n" in digits.text else digits


def _learn_line(raw: bytes, count: int) -> Form | None:
    """One line, and its row bare."""
    try:
        return one_row(count) if _lines(raw).rows == [[]] else None
    except SetsailError:
        return None


def _lines(raw: bytes | memoryview) -> Rows:
    rows = []
    for number, line in enumerate(io.BytesIO(raw), 1):
        if not line.strip():
            continue
        try:
            rows.append(parse(line))
        except SetsailError as fault:
            raise SetsailError("request.json", f"line {number} is not JSON", field=f"line {number}") from fault
    return Rows(rows)


_ONE_LINE: Final = Memo(b"[", b"", _learn_line, _lines)


# -- CSV ---------------------------------------------------------------------------------------------------------------


def csv_body(raw: bytes | memoryview, *, header: bool = True) -> Body:
    """A CSV table. Raises `request.csv`."""
    raw = bytes(raw)
    if len(raw) < packed.LONG:
        if header:
            digits = _LINES.find(raw)
            if digits is not None:
                return digits
        elif (text := one_line(raw)) is not None:
            return Digits(text, _headless(text.count(b",") + 1), raw, _no_header)
    return cells(raw, header=header)


@lru_cache(256)
def _headless(count: int) -> Form:
    return one_row(count, Cells, headless=True)


def _no_header(raw: bytes) -> Cells:
    return cells(raw, header=False)


def header_of(raw: bytes, count: int) -> tuple[str, ...] | None:
    """The names of a table that is its header alone, where they are so many."""
    try:
        table = cells(raw)
    except SetsailError:
        return None
    return table.header if not table.rows and table.header and len(table.header) == count else None


def _learn_header(raw: bytes, count: int) -> Form | None:
    names = header_of(raw, count)
    return None if names is None else one_row(count, Cells, names, names=names)


def cells(raw: bytes | memoryview, *, header: bool = True) -> Cells:
    """A CSV table; empty lines are left out. Raises `request.csv`."""
    try:
        text = bytes(raw).decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as fault:
        expected = "UTF-8 with a header line" if header else "UTF-8, one row a line"
        raise SetsailError("request.csv", f"the body is not CSV: {fault}", expected=expected) from fault
    if not lines:
        expected = "a header line with the input names" if header else "one row a line"
        raise SetsailError("request.csv", "the body is empty", expected=expected)
    return Cells(tuple(name.strip() for name in lines[0]), lines[1:]) if header else Cells(None, lines)


_LINES: Final = Lines(_learn_header, cells)


# -- forms -------------------------------------------------------------------------------------------------------------

FORM_NOTE: Final = "form"  # of numbers that were sent as a form


def form_body(raw: bytes) -> Body:
    """An URL-encoded form. Raises `request.form`."""
    digits = _FORM.find(raw) if len(raw) < packed.LONG else None
    return _form(raw) if digits is None else digits


def _form(raw: bytes) -> Body:
    return form(urlencoded(raw))


def _learn_form(raw: bytes, count: int) -> Form | None:
    try:
        table = _form(raw)
    except SetsailError:
        return None
    if type(table) is not Cells or table.loose or [list(row) for row in table.rows] != [[""] * count]:
        return None
    return one_row(count, Cells, "form", table.header, names=table.header, note=FORM_NOTE)


_FORM: Final = Fields(CELLS, _learn_form, _form, texts=True)


def form(fields: Sequence[Part]) -> Body:
    """A form: one file is the body, several are an input each; fields are one row, repeated ones several rows.

    Raises:
        SetsailError: `request.form`, and what `read` raises of a file.
    """
    if not fields:
        raise SetsailError("request.form", "the form is empty", expected="a field for every input, or a file")
    if len(fields) == 1 and fields[0].filename is not None:
        return _file(fields[0])
    typed = [part for part in fields if part.filename is not None or part.kind == JSON]
    if typed:
        return _inputs(fields)
    if len(fields) == 1 and fields[0].name in ENVELOPES and fields[0].data.lstrip()[:1] in (b"[", b"{"):
        return json_value({fields[0].name: parse(fields[0].data)})
    columns: dict[str, list[str]] = {}
    for part in fields:
        columns.setdefault(part.name, []).append(part.text())
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SetsailError(
            "request.form", "the fields of the form are not repeated equally often", value=lengths,
            expected="each field once, or each as often as there are rows",
        )  # fmt: skip
    loose = len(columns) == 1 and not ENVELOPES.isdisjoint(columns)
    return Cells(tuple(columns), list(zip(*columns.values(), strict=True)), loose)


_ENDINGS: Final[Mapping[str, str]] = {
    ".json": JSON, ".csv": CSV, ".npy": "application/x-npy", ".npz": "application/x-npz", ".txt": "text/x-raw",
    ".jsonl": "application/jsonlines", ".ndjson": "application/jsonlines",
}  # fmt: skip


def _file(part: Part) -> Body:
    kind = _file_kind(part)
    return read(part.data, kind) if kind == JSON or kind in CSV_TYPES or kind in _BINARY else _raw(part.data)


def _file_kind(part: Part) -> str:
    """A file's type by its ending, or as it was sent where that says something, or by how it begins."""
    name = part.filename or ""
    known = _ENDINGS.get(name[name.rfind(".") :].lower() if "." in name else "")
    if known or part.kind not in ("", "text/plain", "text/json", _BYTES):
        return known or part.kind
    return JSON if part.data.lstrip()[:1] in (b"[", b"{") or part.kind == "text/json" else _BYTES


def _inputs(fields: Sequence[Part]) -> Body:
    """A part for each input: numpy files, JSON, or bytes."""
    columns: dict[str, Any] = {}
    for part in fields:
        if part.name in columns:
            raise SetsailError("request.form", f"part {part.name!r} is sent twice", field=part.name)
        if part.kind == JSON or (part.filename is not None and _file_kind(part) == JSON):
            columns[part.name] = parse(part.data)
            continue
        body = _file(part) if part.filename is not None else Rows([part.text()])
        if isinstance(body, Digits):
            body = body.again()
        if isinstance(body, Columns) and isinstance(body.columns, bytes):
            body = Rows([body.columns])
        if not isinstance(body, Rows):
            raise SetsailError(
                "request.form", f"file {part.name!r} is a table beside other parts", field=part.name,
                expected="one table alone, or a .npy, .json or text for each input",
            )  # fmt: skip
        columns[part.name] = body.rows
    return Columns(columns)


# -- bytes -------------------------------------------------------------------------------------------------------------

_BYTES: Final = "application/octet-stream"
_MEDIA_TYPES: Final = ("image/", "audio/", "video/", "application/x-image")
_MEDIA_STARTS: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")  # nothing of JSON's or a form's


def _is_media(raw: bytes | memoryview) -> bool:
    """Whether a body that does not say so is plainly a picture."""
    return bytes(raw[:6]).startswith(_MEDIA_STARTS)


def _raw(raw: bytes) -> Body:
    """Bytes as they are: one row of a model whose one input is text."""
    return Columns(raw, loose=True)


@cache
def _numpy_file() -> Any:
    return import_module("setsail.protocols.numpy_file")  # when used: it loads zipfile


def _npy(raw: bytes) -> Body:
    body: Body = _numpy_file().unread_npy(raw) or _numpy_file().npy(raw)
    return body


def _npz(raw: bytes) -> Body:
    body: Body = _numpy_file().unread_npz(raw) or _numpy_file().npz(raw)
    return body


def _any(raw: bytes) -> Body:
    return _npy(raw) if raw.startswith(b"\x93NUMPY") else _npz(raw) if raw.startswith(b"PK\x03\x04") else _raw(raw)


_BINARY: Final[Mapping[str, Callable[[bytes], Body]]] = {
    "application/x-npy": _npy, "application/x-npz": _npz, _BYTES: _any, "text/x-raw": _raw,
    "application/jsonlines": json_lines, "application/x-jsonlines": json_lines, "application/jsonl": json_lines,
    "application/x-ndjson": json_lines,
}  # fmt: skip
