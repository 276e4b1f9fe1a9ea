"""A try-it form made from a signature: its fields, and the request that its filled-in fields mean.

A column (of a table, or a `[N]` input) is one text field, read like a CSV cell, so that an empty field is a missing
value. Any other tensor is a JSON field holding one row. A picture is a file; without one, the model's example is sent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from setsail.catalog import ModelMetadata
from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Response
from setsail.protocols.multipart import MULTIPART, parts
from setsail.protocols.values import STRICT, array_json, dump, parse, texts
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["Field", "answer_rows", "body", "fields", "received", "sent"]

_SHOWN = 200  # rows of one answer on a page
_FILES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {  # content -> hint, and the types a browser offers
    "image": ("a picture; without one, the example", ("image/*",)),
    "bytes": ("a file; without one, the example", ()),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One control. `kind` is `cell`, `choice`, `json` or `file`, whose value is a file in base64."""

    id: str
    label: str
    hint: str
    kind: str
    value: str
    options: tuple[str, ...] = ()


def fields(meta: ModelMetadata, filled: Mapping[str, str] | None = None) -> tuple[Field, ...]:
    """The controls, holding what was filled in or the model's example."""
    table = meta.signature.table
    if table is not None:
        row = meta.example.get(table.name)
        values = row if isinstance(row, list) else [""] * len(table.columns)
        plan = [_column(f"input-{i}", name, table, values[i]) for i, name in enumerate(table.columns)]
    else:
        plan = [_control(i, spec, meta.example.get(spec.name)) for i, spec in enumerate(meta.signature.inputs)]
    if filled is None:
        return tuple(plan)
    return tuple(f if f.kind == "file" else replace(f, value=filled.get(f.id, "")) for f in plan)


def _control(index: int, spec: TensorSpec, example: object) -> Field:
    if spec.content in _FILES and _is_column(spec):
        hint, kinds = _FILES[spec.content]
        return Field(f"input-{index}", spec.name, hint, "file", _cell(example), kinds)
    if _is_column(spec):
        return _column(f"input-{index}", spec.name, spec, example)
    hint = f"{spec.dtype}, one row as JSON" if spec.batched else f"{spec.dtype}, JSON"
    return Field(f"input-{index}", spec.name, hint, "json", dump(example).decode())


def _column(id: str, name: str, spec: TensorSpec, example: object) -> Field:
    options = ("true", "false") if spec.dtype.kind == "bool" else spec.categories
    if spec.closed and spec.nullable and spec.dtype.kind == "string":
        options = ("", *options)
    kind = "choice" if options and (spec.closed or spec.dtype.kind == "bool") else "cell"
    hint = f"{spec.dtype}, may be empty" if spec.nullable else str(spec.dtype)
    return Field(id, name, hint, kind, _cell(example), options)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_column(spec: TensorSpec) -> bool:
    return spec.batched and len(spec.shape) == 1


def sent(meta: ModelMetadata, raw: bytes, content_type: str) -> dict[str, str]:
    """What a browser sent, by the controls' ids.

    Raises:
        SetsailError: `request.form` for bytes that are no form.
    """
    if not content_type.startswith(MULTIPART):
        return dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    examples = {f.id: f.value for f in fields(meta) if f.kind == "file"}
    return {
        part.name: part.text() if part.filename is None
        else b64encode(part.data).decode() if part.data else examples.get(part.name, "")
        for part in parts(raw, content_type)
    }  # fmt: skip


def body(signature: Signature, filled: Mapping[str, str]) -> Body:
    """The request a filled-in form means.

    Raises:
        SetsailError: `request.form` for a field that is not there, `request.json` for a JSON field that is not JSON.
    """
    table = signature.table
    names = table.columns if table is not None else tuple(s.name for s in signature.inputs)
    given = [_given(filled, f"input-{i}", name) for i, name in enumerate(names)]
    if table is not None or all(_is_column(s) for s in signature.inputs):
        return Cells(names, [given])
    return Columns({s.name: _values(s, text) for s, text in zip(signature.inputs, given, strict=True)})


def _given(filled: Mapping[str, str], id: str, name: str) -> str:
    if id not in filled:
        raise SetsailError("request.form", f"the form has no field for {name!r}", field=id, expected="every field")
    return filled[id]


def _values(spec: TensorSpec, text: str) -> Any:
    if _is_column(spec):
        quoted = spec.dtype.kind == "string"
        return [(None if spec.nullable and not text else text) if quoted else parse((text or "null").encode())]
    value = parse(text.encode())
    return [value] if spec.batched else value


def answer_rows(response: Response) -> list[tuple[str, str, str]]:
    """An answer to one row as lines of a table: output, class or position, value."""
    lines: list[tuple[str, str, str]] = []
    for name, array in response.outputs.items():
        spec = response.signature.output(name)
        row = array[:1].reshape(array.shape[1:]) if spec.batched and len(array) else array
        lines += _lines(name, spec.labels if row.ndim else (), row)
    return lines


def _lines(name: str, labels: Sequence[str], row: Array) -> list[tuple[str, str, str]]:
    if row.ndim == 0:
        return _lines(name, ("",), row.reshape(1))
    if row.ndim != 1 or len(row) > _SHOWN:
        text = array_json(row, STRICT).decode()
        return [(name, "", text if len(text) <= 4000 else text[:4000] + " …")]
    parts = labels if len(labels) == len(row) else [str(i) for i in range(len(row))]
    shown = texts(row) if row.dtype.kind in "OUST" else row
    return [(name, part, "null" if value is None else str(value)) for part, value in zip(parts, shown, strict=True)]


async def received(stream: AsyncIterable[bytes], most: int, what: str) -> bytes:
    """All of a body, as far as the limit. Raises `request.too_large`."""
    parts, size = [], 0
    async for chunk in stream:
        size += len(chunk)
        if size > most:
            raise SetsailError("request.too_large", f"the {what} is too large", expected=f"at most {most} bytes")
        parts.append(chunk)
    return b"".join(parts)
