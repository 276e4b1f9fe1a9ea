"""A try-it form made from a signature: its fields, and the request that its filled-in fields mean.

A column (of a table, or a `[N]` input) is one text field, read like a CSV cell, so that an empty field is a missing
value. Any other tensor is a JSON field holding one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setsail.catalog import ModelMetadata
from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Response
from setsail.protocols.values import STRICT, array_json, dump, parse, texts
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["Field", "answer_rows", "body", "fields"]

_SHOWN = 200  # rows of one answer on a page


@dataclass(frozen=True, slots=True)
class Field:
    """One control. `kind` is `cell`, `choice` or `json`."""

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
    return tuple(Field(f.id, f.label, f.hint, f.kind, filled.get(f.id, ""), f.options) for f in plan)


def _control(index: int, spec: TensorSpec, example: object) -> Field:
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
