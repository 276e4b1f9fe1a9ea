"""Requests and replies as they are, for models that are code and read requests by themselves.

A handler of TorchServe or a script's `input_fn` wants the fields of a form, their content types and the headers, which
are no tensors. They travel as one value of a string input (`content="request"`): a `Letter`, sealed into bytes. What it
answers is a `Reply`: two string outputs, of which the first is for everybody and the second for wires that can tell
statuses and headers.

A sealed letter is a mark that no body begins with by chance, the length of a JSON head, the head, and the fields' bytes
one after the other. It is data; nothing in it names code.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["REQUEST", "Field", "Letter", "Reply"]

REQUEST: Final = "request"  # `TensorSpec.content` of an input that takes letters
_MARK: Final = b"\x00setsail letter\x01\xff"
_LENGTH: Final = struct.Struct("<I")
_ENCODING: Final = "content-transfer-encoding"
_STATUS: Final = ":status"


class Field(NamedTuple):
    """A field of a form, or the body of a request, which is then called `body`. `kind`: its content type, or ""."""

    name: str
    data: bytes
    kind: str = ""


@dataclass(frozen=True)
class Letter:
    """A request as it came. Names of headers are lower-case."""

    fields: tuple[Field, ...]
    headers: Mapping[str, str] = field(default_factory=dict)

    def sealed(self) -> bytes:
        """As one value. Texts that are not Unicode are replaced."""
        head = json.dumps({
            "fields": [[part.name, part.kind, len(part.data)] for part in self.fields], "headers": dict(self.headers),
        }).encode()  # fmt: skip
        return b"".join((_MARK, _LENGTH.pack(len(head)), head, *(part.data for part in self.fields)))

    @classmethod
    def opened(cls, value: bytes | str) -> Letter:
        """The letter in a value; of bytes that are none, the one field `body`. Raises ValueError for a broken one."""
        data = value.encode() if isinstance(value, str) else bytes(value)
        if not data.startswith(_MARK):
            return cls((Field("body", data),))
        start = len(_MARK) + _LENGTH.size
        if len(data) < start:
            raise ValueError("a letter that ends early")
        (length,) = _LENGTH.unpack_from(data, len(_MARK))
        try:
            head = json.loads(data[start : start + length])
            rows = [(str(name), str(kind), int(size)) for name, kind, size in head["fields"]]
            headers = {str(name): str(text) for name, text in head["headers"].items()}
        except (KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise ValueError(f"a letter without a head: {fault!r}") from fault
        at, fields = start + length, []
        for name, kind, size in rows:
            if size < 0 or at + size > len(data):
                raise ValueError("a letter that ends early")
            fields.append(Field(name, data[at : at + size], kind))
            at += size
        return cls(tuple(fields), headers)


@dataclass(frozen=True)
class Reply:
    """What a model that reads requests answers to one. `reason`: the phrase beside the status, where there is one."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    reason: str = ""

    def texts(self) -> tuple[str, str]:
        """The outputs `output` and `headers`: bytes that are no UTF-8 are in base64, and the headers say so."""
        told = dict(self.headers)
        if self.status != 200 or self.reason:
            told[_STATUS] = f"{self.status} {self.reason}".rstrip()
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            text = b64encode(self.body).decode()
            told[_ENCODING] = "base64"
        return text, json.dumps(told)

    @classmethod
    def of(cls, output: str, headers: str) -> Reply:
        """The inverse of `texts`. Raises ValueError for what is none."""
        told = json.loads(headers)
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise ValueError("headers that are no object of texts")
        number, _, reason = told.pop(_STATUS, "200").partition(" ")
        status = int(number)
        if not 100 <= status <= 599:
            raise ValueError(f"the status {status}")
        body = b64decode(output, validate=True) if told.pop(_ENCODING, "") == "base64" else output.encode()
        return cls(body, told, status, reason)
