"""MLflow's schemas: as inputs of ours, and held against the signature that came out of a conversion.

A schema is columns (`{"type": "double", "name": "age"}`) or tensors (`{"type": "tensor", "tensor-spec": …}`). The model
file is right about what it takes; the schema adds what only training knew, above all the names of columns. Where the
two cannot both be right the directory is refused, because one of them would answer wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from setsail.convert.mlflow.document import damaged
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import BY_NAME, DType, dtype_of

__all__ = ["COLUMN_TYPES", "Column", "Schema", "Tensor", "merge", "note_of", "read"]

COLUMN_TYPES: Final[Mapping[str, str]] = {
    "boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64", "string": "string",
    "binary": "string",
}  # fmt: skip
_NUMBERS: Final = ("float", "int", "uint", "bool")


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `dtype` is None for what no tensor of ours holds: dates, nested values; `type` is MLflow's word."""

    name: str
    dtype: DType | None
    type: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; `name` is "" where it has none, `dtype` None where we have none. -1 is a free dimension."""

    name: str
    dtype: DType | None
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """One of the two is empty, or both."""

    columns: tuple[Column, ...] = ()
    tensors: tuple[Tensor, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names; empty where any has none."""
        return tuple(c.name for c in self.columns) if all(c.name for c in self.columns) else ()

    def specs(self) -> tuple[TensorSpec, ...]:
        """As `--input` would say it: what a converter is told where there is no example. Empty if nothing can be said.

        A homogeneous table is one input, whatever its model calls it; other columns are one [N] input each.
        """
        dtypes = [c.dtype for c in self.columns]
        if self.columns and all(d is not None and d.kind in _NUMBERS for d in dtypes):
            single = all(d is not None and d.name == "float32" for d in dtypes)
            table = BY_NAME["float32" if single else "float64"]
            return (TensorSpec("input", table, (BATCH, len(dtypes)), columns=self.names),)
        if self.names and None not in dtypes:
            return tuple(TensorSpec(c.name, c.dtype, (BATCH,)) for c in self.columns if c.dtype is not None)
        if self.tensors and all(t.dtype is not None for t in self.tensors):
            names = [t.name or ("input" if len(self.tensors) == 1 else "") for t in self.tensors]
            if all(names):
                return tuple(_spec(n, t) for n, t in zip(names, self.tensors, strict=True))
        return ()

    def table(self) -> tuple[TensorSpec, ...]:
        """A table of as many columns as the model has, in the dtype that all numbers fit; empty without numbers."""
        dtypes = {c.dtype.name for c in self.columns if c.dtype is not None and c.dtype.kind in _NUMBERS}
        dtypes |= {t.dtype.name for t in self.tensors if t.dtype is not None and t.dtype.kind in _NUMBERS}
        if not dtypes:
            return ()
        return (TensorSpec("input", BY_NAME["float32" if dtypes == {"float32"} else "float64"], (BATCH, "d1")),)


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    assert tensor.dtype is not None
    shape = tuple(d if d >= 0 else BATCH if i == 0 else f"d{i}" for i, d in enumerate(tensor.shape))
    return TensorSpec(name, tensor.dtype, shape)


def read(specs: Sequence[Mapping[str, Any]]) -> Schema:
    """A schema's list of specs. Raises `source.damaged`."""
    columns, tensors = [], []
    for spec in specs:
        name, kind = spec.get("name") or "", spec.get("type")
        if not isinstance(name, str):
            raise damaged("a spec's name is no text", name)
        if kind == "tensor":
            tensors.append(_tensor(name, spec.get("tensor-spec")))
        else:
            known = COLUMN_TYPES.get(kind) if isinstance(kind, str) else None
            columns.append(
                Column(name, BY_NAME[known] if known else None, str(kind), spec.get("required") is not False)
            )
    if columns and tensors:
        raise damaged("a schema mixes columns and tensors", [*columns[:1], *tensors[:1]])
    for names in ([c.name for c in columns if c.name], [t.name for t in tensors if t.name]):
        if len(set(names)) != len(names):
            raise damaged("a schema has a name twice", names)
    return Schema(tuple(columns), tuple(tensors))


def _tensor(name: str, body: Any) -> Tensor:
    shape = body.get("shape") if isinstance(body, dict) else None
    if not isinstance(shape, list) or not all(type(d) is int and -1 <= d < 1 << 31 for d in shape) or len(shape) > 8:
        raise damaged("a tensor-spec has no shape", body)
    try:
        dtype = np.dtype(str(body.get("dtype")))
    except TypeError:
        return Tensor(name, None, tuple(shape))
    found = BY_NAME["string"] if dtype.kind in "OUS" else dtype_of(np.empty(0, dtype))
    return Tensor(name, found, tuple(shape))


# -- a schema and a signature ------------------------------------------------------------------------------------------


def merge(schema: Schema, signature: Signature) -> tuple[Signature, tuple[str, ...]]:
    """The signature with the schema's column names, and notes.

    Raises:
        SetsailError: `convert.input` where the schema contradicts what the model itself takes.
    """
    if schema.tensors:
        _check_tensors(schema.tensors, signature)
        return signature, ()
    if not schema.columns:
        return signature, ()
    only = signature.inputs[0]
    if len(signature.inputs) == 1 and len(only.shape) == 2:
        return _merge_table(schema, signature, only)
    _check_columns(schema, signature)
    return signature, ()


def _merge_table(schema: Schema, signature: Signature, table: TensorSpec) -> tuple[Signature, tuple[str, ...]]:
    """One table: its names are the model's own where it has any, spelled as in the schema."""
    names = schema.names
    width = table.shape[1]
    read = {_alike(c) for c in table.columns}
    for column in schema.columns:
        text = column.dtype is not None and column.dtype.kind == "string"
        if (not read or _alike(column.name) in read) and text != (table.dtype.kind == "string"):
            raise _contradiction(f"column {column.name!r} is {column.type}, the model takes {table}", column.name)
    if not table.columns:
        if isinstance(width, int) and width != len(schema.columns):
            raise _contradiction(f"it has {len(schema.columns)} columns, the model takes {width}", names)
        if not names or not isinstance(width, int):
            return signature, ()
        return _with(signature, replace(table, columns=names)), ()
    spelled = {_alike(n): n for n in names}
    lacking = [c for c in table.columns if _alike(c) not in spelled]
    if names and lacking:
        if len(names) == len(table.columns) and _placeholders(table.columns):
            return _with(signature, replace(table, columns=names)), ()
        raise _contradiction(f"it lacks the model's column {lacking[0]!r}", names)
    if not names and len(schema.columns) != len(table.columns):
        raise _contradiction(f"it has {len(schema.columns)} columns, the model takes {len(table.columns)}", None)
    more = [n for n in names if _alike(n) not in read]
    notes = (f"columns of MLflow's signature that the model does not read: {', '.join(more[:12])}",) if more else ()
    kept = tuple(spelled.get(_alike(c), c) for c in table.columns)
    return _with(signature, replace(table, columns=kept)), notes


def _check_columns(schema: Schema, signature: Signature) -> None:
    """An input a column: each is a column of the schema, of its kind."""
    if not schema.names:
        return
    columns = {c.name: c for c in schema.columns}
    for spec in signature.inputs:
        column = columns.get(spec.name)
        if column is None:
            if len(signature.inputs) == len(columns) == 1:  # one column of texts, whatever its name
                continue
            raise _contradiction(f"it lacks the model's input {spec.name!r}", schema.names)
        if column.dtype is not None and (column.dtype.kind == "string") != (spec.dtype.kind == "string"):
            raise _contradiction(f"column {column.name!r} is {column.type}, the model takes {spec}", column.name)


def _check_tensors(tensors: Sequence[Tensor], signature: Signature) -> None:
    if len(tensors) != len(signature.inputs):
        raise _contradiction(f"it has {len(tensors)} tensors, the model takes {len(signature.inputs)}", None)
    for index, tensor in enumerate(tensors):
        spec = next((s for s in signature.inputs if s.name == tensor.name), signature.inputs[index])
        if not _fits(tensor, spec):
            name = tensor.name or "the tensor"
            raise _contradiction(f"{name} is {tensor.dtype}{list(tensor.shape)}, the model takes {spec}", tensor.name)


def _fits(tensor: Tensor, spec: TensorSpec) -> bool:
    if tensor.dtype is not None and (tensor.dtype.kind == "string") != (spec.dtype.kind == "string"):
        return False
    return len(tensor.shape) == len(spec.shape) and all(
        ours == theirs or isinstance(ours, str) or theirs < 0
        for ours, theirs in zip(spec.shape, tensor.shape, strict=True)
    )


def note_of(schema: Schema, signature: Signature) -> str:
    """What a reader should know where MLflow's schema of the answer is not our default output; else ""."""
    ours = signature.output(signature.defaults[0])
    if len(schema.tensors) != 1 or len(signature.defaults) != 1:
        return ""
    theirs = schema.tensors[0]
    if _fits(theirs, ours):
        return ""
    return f"MLflow's signature calls the answer {theirs.dtype}{list(theirs.shape)}; it is {ours}"


def _with(signature: Signature, table: TensorSpec) -> Signature:
    return replace(signature, inputs=(table,))


def _alike(name: str) -> str:
    """LightGBM writes `_` for a blank."""
    return "_".join(name.split())


def _placeholders(names: Sequence[str]) -> bool:
    """Whether a library made the names up: f0, x0, Column_0."""
    return any(list(names) == [f"{stem}{i}" for i in range(len(names))] for stem in ("f", "x", "Column_"))


def _contradiction(why: str, value: object) -> SetsailError:
    return SetsailError(
        "convert.input", f"MLflow's signature contradicts the model: {why}", field="signature", value=value,
        expected="a signature inferred from rows the model takes",
        todo="save the model again with infer_signature, or pack the model file inside the directory",
    )  # fmt: skip
