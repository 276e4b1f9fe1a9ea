"""Form bodies as named parts: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`.

python-multipart finds the boundaries; it does no input or output of its own. What is a part, how many there may be and
which header of a part means what is decided here. Nothing is written to disk: the body is in memory already and has
passed the server's limit.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from setsail.errors import SetsailError

__all__ = ["FORM", "MULTIPART", "Part", "parts", "urlencoded"]

MULTIPART: Final = "multipart/form-data"
FORM: Final = "application/x-www-form-urlencoded"
_MOST: Final = 1000  # parts of a body
_HEADERS, _HEADER_SIZE, _NAME_SIZE = 8, 4096, 256


class Part(Struct, frozen=True):
    """One field. `filename` is None where it is no file; `kind` is its own media type, lower-case."""

    name: str
    data: bytes
    filename: str | None = None
    kind: str = ""

    def text(self) -> str:
        """Raises `request.form` where the bytes are not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as fault:
            raise _bad(f"field {self.name!r} is not UTF-8 text", field=self.name) from fault


def parts(body: bytes | memoryview, content_type: str) -> tuple[Part, ...]:
    """The parts of a multipart body, in order.

    Args:
        content_type: the header as it came, with its boundary.

    Raises:
        SetsailError: `request.form` for a body that is cut off, not of this form, or of more than 1,000 parts.
    """
    return _at_once(bytes(body), content_type) or _parsed(body, content_type)


_SAID: Final = "multipart/form-data; boundary="
_BOUNDARY: Final = re.compile(rb"--[0-9A-Za-z_-]{1,70}")


def _at_once(body: bytes, content_type: str) -> tuple[Part, ...] | None:
    """The same where the body is as clients write it, cut at its boundaries; None for every other one."""
    mark = body[: max(body.find(b"\r\n"), 0)]
    if _BOUNDARY.fullmatch(mark) is None or content_type != _SAID + mark[2:].decode():
        return None
    pieces = body[len(mark) :].split(b"\r\n" + mark)
    if pieces.pop() != b"--\r\n" or len(pieces) > _MOST:
        return None
    found = []
    for piece in pieces:
        head, blank, data = piece.partition(b"\r\n\r\n")
        part = _described(head) if blank and len(head) <= _HEADER_SIZE else None
        if part is None:
            return None
        found.append(Part(part.name, data, part.filename, part.kind))
    return tuple(found)


@lru_cache(256)
def _described(head: bytes) -> Part | None:
    """What the headers of a part say, from the end of its boundary's line on."""
    if not head.startswith(b"\r\n"):  # the boundary was the beginning of something else
        return None
    try:
        found = _parsed(b"--x%b\r\n\r\n\r\n--x--\r\n" % head, MULTIPART + "; boundary=x")
    except SetsailError:
        return None
    return found[0] if len(found) == 1 and not found[0].data else None


def _parsed(body: bytes | memoryview, content_type: str) -> tuple[Part, ...]:
    """Any body the parser knows."""
    from python_multipart.exceptions import FormParserError  # here, because few requests are forms
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary or b"\r" in boundary or b"\n" in boundary:
        raise _bad("the content type names no boundary", field="content-type", value=content_type)
    found = _Found(parse_options_header)
    try:
        parser = MultipartParser(
            boundary, found.callbacks(), max_header_count=_HEADERS, max_header_size=_HEADER_SIZE
        )  # fmt: skip
        parser.logger = _SILENT  # it warns of every fault, and whoever sends them would fill the log
        parser.write(bytes(body))
    except FormParserError as fault:
        raise _bad(f"the body is no multipart form: {fault}") from fault
    if not found.ended:
        raise _bad("the body ends before its last boundary")
    return tuple(found.parts)


def urlencoded(body: bytes | memoryview) -> tuple[Part, ...]:
    """The fields of an URL-encoded body, in order. Raises `request.form`."""
    try:
        pairs = parse_qsl(
            bytes(body).decode("ascii").strip(), keep_blank_values=True, strict_parsing=True, errors="strict",
            max_num_fields=_MOST,
        )  # fmt: skip
    except ValueError as fault:  # UnicodeDecodeError is one
        raise _bad(f"the body is no URL-encoded form: {str(fault)[:80]}") from fault
    return tuple(Part(_named(name), value.encode()) for name, value in pairs)


class _Found:
    """What the parser's callbacks have found so far."""

    def __init__(self, options: Any) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._options = options
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._last,
        }

    def _begin(self) -> None:
        if len(self.parts) == _MOST:
            raise _bad("the body has too many parts", expected=f"at most {_MOST}")
        self._headers, self._data = {}, []

    def _header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        disposition, options = self._options(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise _bad("a part has no name", expected='Content-Disposition: form-data; name="…"')
        filename = options.get(b"filename")
        kind = self._headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        self.parts.append(
            Part(
                _named(options[b"name"].decode("utf-8", "replace")),
                b"".join(self._data),
                None if filename is None else filename.decode("utf-8", "replace"),
                kind.decode("latin-1"),
            )
        )

    def _last(self) -> None:
        self.ended = True


def _named(name: str) -> str:
    if not 0 < len(name) <= _NAME_SIZE:
        raise _bad("a field has no name, or one that is too long", value=name, expected=f"1 to {_NAME_SIZE} characters")
    return name


def _bad(what: str, *, field: str | None = None, value: object = None, expected: str | None = None) -> SetsailError:
    return SetsailError(
        "request.form", what, field=field, value=value, expected=expected or "a form as HTTP libraries write it"
    )


_SILENT: Final = logging.Logger("multipart", logging.CRITICAL + 1)
