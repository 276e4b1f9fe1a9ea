"""An MLflow model directory as code: its `python_function`, run by MLflow itself in a process of its own.

What clients see is made of the directory's signature, here and without MLflow: columns are a table or one input each,
tensors keep their names; the answer's columns and tensors likewise. A directory without a signature, or with one that
says more than tensors can (objects, maps), gets requests as they are, and MLflow's own scoring server reads them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from setsail.apps.code import Entry
from setsail.convert.mlflow.document import Document, read
from setsail.convert.mlflow.schema import Column, Schema, Tensor
from setsail.convert.mlflow.schema import read as read_schema
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import BY_NAME

__all__ = ["digest", "entry", "model_name"]

_TEXT: Final = BY_NAME["string"]
_INPUT, _OUTPUT = "input", "prediction"  # of a tensor or column without a name


def entry(path: Path) -> Entry | None:
    """The code of a directory; None without a `python_function`. Raises `source.damaged`, `dependency.missing`."""
    document = read(path)
    if document.pyfunc is None:
        return None
    options: dict[str, Any] = {"folder": str(path.resolve()), **_contract(document)}
    return Entry("pyfunc", path.resolve(), f"{path.name} (MLflow)", options, model_name(path), digest=digest(path))


def model_name(path: Path) -> str:
    """A folder's or file's name as a model's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem if path.is_file() else path.name).strip("-._")[:128] or "model"


def digest(folder: Path) -> str:
    """Of all that is in a folder."""
    known = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        known.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            known.update(hashlib.file_digest(opened, "sha256").digest())
    return known.hexdigest()


def _contract(document: Document) -> dict[str, Any]:
    """The signature and the form in which the model takes rows; or the form `requests`."""
    takes, gives = read_schema(document.inputs), read_schema(document.outputs)
    inputs, form = _inputs(takes)
    outputs = _outputs(gives)
    if not inputs or not outputs:
        return {"form": "requests"}
    signature = Signature(inputs, outputs, tuple(spec.name for spec in outputs))
    if not signature.batched:
        return {"form": "requests"}
    return {
        "form": form, "signature": signature.to_json(), "defaults": list(signature.defaults),
        "dates": [c.name for c in takes.columns if c.type == "datetime"],
    }  # fmt: skip


def _inputs(schema: Schema) -> tuple[tuple[TensorSpec, ...], str]:
    """What clients send, and whether the model gets a `frame`, an `array`, arrays by name or a list of texts."""
    if schema.tensors:
        specs = _tensors(schema.tensors, _INPUT)
        return specs, "array" if len(specs) == 1 and not schema.tensors[0].name else "arrays"
    columns = schema.columns
    dtypes = {c.dtype for c in columns}
    if len(columns) == 1 and not columns[0].name:
        return _columns(columns, _INPUT), "list"
    only = next(iter(dtypes)) if len(dtypes) == 1 else None
    if only is not None and only.kind != "string" and schema.names:
        nullable = only.kind == "float"
        return (TensorSpec(_INPUT, only, (BATCH, len(columns)), columns=schema.names, nullable=nullable),), "frame"
    return _columns(columns, ""), "frame"


def _outputs(schema: Schema) -> tuple[TensorSpec, ...]:
    return _tensors(schema.tensors, _OUTPUT) if schema.tensors else _columns(schema.columns, _OUTPUT)


def _columns(columns: Sequence[Column], unnamed: str) -> tuple[TensorSpec, ...]:
    """One [N] tensor a column; none at all where a column is no tensor."""
    specs = []
    for column in columns:
        dtype = _TEXT if column.type == "datetime" else column.dtype
        name = column.name or unnamed
        if dtype is None or not name:
            return ()
        content = "bytes" if column.type == "binary" else ""
        specs.append(TensorSpec(name, dtype, (BATCH,), nullable=dtype.kind in ("float", "string"), content=content))
    return tuple(specs) if len({s.name for s in specs}) == len(specs) else ()


def _tensors(tensors: Sequence[Tensor], unnamed: str) -> tuple[TensorSpec, ...]:
    specs = []
    for tensor in tensors:
        name = tensor.name or (unnamed if len(tensors) == 1 else "")
        if tensor.dtype is None or not name or not tensor.shape or tensor.shape[0] >= 0:
            return ()
        dims = (BATCH, *(d if d >= 0 else f"{name}_{i}" for i, d in enumerate(tensor.shape[1:], 1)))
        nullable = tensor.dtype.kind in ("float", "string")
        specs.append(TensorSpec(name, tensor.dtype, dims, nullable=nullable))
    return tuple(specs)
