"""`input_example.json` as rows for the model: a data frame, an array, or arrays by name.

MLflow says in `saved_input_example_info` what the person's example was; JSON keeps the values and the schema knows
their types. An example that cannot be made into rows again is left out with a note: it is a help, not a promise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from setsail.convert.mlflow.document import Document, inside
from setsail.convert.mlflow.schema import Schema
from setsail.errors import SetsailError
from setsail.tensors import DType

__all__ = ["explain", "read"]

MAX_BYTES: Final = 16 << 20


def read(document: Document, schema: Schema) -> tuple[Any, str]:
    """The example, or None; and a note where one is there but was not used.

    Raises:
        SetsailError: `source.damaged` when the directory names a file that is outside or missing.
    """
    name = document.example.get("artifact_path")
    if not isinstance(name, str):
        return None, ""
    path = inside(document.folder, name)
    if path.stat().st_size > MAX_BYTES:
        return None, f"{name} is larger than {MAX_BYTES >> 20} MiB and was not used"
    try:
        body = json.loads(path.read_bytes())
        if str(document.example.get("params")).lower() == "true":
            body = body["inputs"]
        return _FORMS[str(document.example.get("type"))](body, schema), ""
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError, IndexError) as fault:
        return None, f"{name} was not used as example: {type(fault).__name__}"


def _frame(body: Any, schema: Schema) -> Any:
    """Split or values orientation. Without column names it is an array."""
    rows = body["data"] if isinstance(body, dict) else body
    if isinstance(body, dict) and body.get("columns"):
        names = [str(n) for n in body["columns"]]
        table = list(zip(*rows, strict=True))
        if len(table) != len(names) or not rows:
            raise ValueError("columns")
        types = {c.name: c.dtype for c in schema.columns}
        return _joined({n: _column(values, types.get(n)) for n, values in zip(names, table, strict=True)})
    columns = [_column(values, None) for values in zip(*rows, strict=True)]
    return np.stack(columns, axis=1)


def _joined(columns: Mapping[str, Any]) -> Any:
    """A data frame where pandas is installed; its users' models were trained on one."""
    if find_spec("pandas") is None:
        return dict(columns)
    return import_module("pandas").DataFrame(dict(columns))


def _column(values: Any, dtype: DType | None) -> Any:
    """One column in the schema's type; None is a missing value, which JSON has no other word for."""
    values = list(values)
    if any(isinstance(v, dict | list) for v in values):
        raise ValueError("nested")
    if dtype is None:
        texts = any(isinstance(v, str) for v in values)
        plain = not texts and None not in values
        return np.array(values, dtype=object) if texts else np.array(values) if plain else _floats(values)
    if dtype.kind == "string":
        return np.array(values, dtype=object)
    if dtype.kind == "float" or None in values:
        return _floats(values).astype(dtype.numpy if dtype.kind == "float" else np.float64)
    return np.array(values, dtype=dtype.numpy)


def _floats(values: list[Any]) -> Any:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _arrays(body: Any, schema: Schema) -> Any:
    """An array, or arrays by name, in the dtypes of the tensor specs."""
    specs = {t.name: t for t in schema.tensors}
    if isinstance(body, dict):
        return {str(n): _array(v, specs[n].dtype if n in specs else None) for n, v in body.items()}
    return _array(body, schema.tensors[0].dtype if len(schema.tensors) == 1 else None)


def _array(values: Any, dtype: DType | None) -> Any:
    array = np.array(values, dtype=object if dtype is not None and dtype.kind == "string" else None)
    if array.ndim == 0 or (array.dtype.kind == "O" and (dtype is None or dtype.kind != "string")):
        raise ValueError("ragged")
    return array if dtype is None else array.astype(dtype.numpy)


def _object(body: Any, schema: Schema) -> Any:
    """A record, or a list of records or of texts, for a schema of columns."""
    if isinstance(body, list) and body and all(isinstance(v, str) for v in body):
        return list(body)
    records = body if isinstance(body, list) else [body]
    if not schema.names or not all(isinstance(r, dict) for r in records):
        raise ValueError("no records")
    columns = {c.name: _column([r.get(c.name) for r in records], c.dtype) for c in schema.columns}
    return _joined(columns)


def _sparse(body: Any, schema: Schema) -> Any:
    raise ValueError("sparse")  # what a cell that is not there means, differs from model to model


_FORMS: Final[Mapping[str, Any]] = {
    "dataframe": _frame, "ndarray": _arrays, "json_object": _object,
    "sparse_matrix_csc": _sparse, "sparse_matrix_csr": _sparse,
}  # fmt: skip


def explain(fault: SetsailError) -> SetsailError:
    """A fault of the example, told as what it is: nobody gave one but the directory."""
    return SetsailError(
        fault.code, f"MLflow's input example does not fit its model: {fault.what}", field="input_example",
        expected=fault.expected, todo="give rows of your own with --example, or save the model again",
    )  # fmt: skip
