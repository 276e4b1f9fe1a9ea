"""A Parquet body to tensors, with pyarrow, which is imported with this module's first use.

A column has a dtype of its own, so nothing is taken for something else: it widens to the signature's dtype or is
refused. Columns the model does not have are ignored; pandas stores an index as one.

A few bytes of Parquet can say a lot of rows: what the footer claims is compared with limits before a page is read, and
texts of a dictionary are there once, however often they are meant.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Tensor, Tensors
from setsail.tensors import BY_NAME, Array, dtype_of

__all__ = ["CELLS", "LARGEST", "tensors"]

CELLS: Final = 16 << 20  # values of one file
LARGEST: Final = 256 << 20  # bytes of its pages once they are inflated


def tensors(raw: bytes | memoryview) -> Tensors:
    """The columns of a Parquet file as tensors.

    Raises:
        SetsailError: `request.binary` for what is no Parquet file, `request.too_large` for one that says it holds too
            much, `dependency.missing` without pyarrow.
    """
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    try:
        source = arrow.BufferReader(arrow.py_buffer(raw))
        metadata = parquet.read_metadata(source)
        _check_size(metadata)
        texts = [column.path for column in map(metadata.schema.column, range(metadata.num_columns))
                 if column.physical_type == "BYTE_ARRAY"]  # fmt: skip
        source.seek(0)
        table = parquet.ParquetFile(source, metadata=metadata, read_dictionary=texts).read(use_threads=False)
        return Tensors(tuple(_tensor(arrow, name, table.column(name)) for name in table.column_names), True)
    except (arrow.ArrowException, OSError, KeyError, ValueError) as fault:  # the last of text that is not UTF-8
        reason = (str(fault).splitlines() or [""])[0]
        raise SetsailError("request.binary", f"the body is no Parquet file: {reason[:120]}",
                           expected="what `DataFrame.to_parquet` writes") from fault  # fmt: skip


def _tensor(arrow: Any, name: str, column: Any) -> Tensor:
    """One column: an array where it holds numbers, truth values or text, else its values as Python has them."""
    kinds = arrow.types
    if kinds.is_dictionary(column.type):
        inside = column.type.value_type
        if kinds.is_string(inside) or kinds.is_large_string(inside):
            return Tensor(name, _texts(column), BY_NAME["string"], (len(column),))
        column = column.cast(inside)
    plain = kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type)
    if not plain:
        return Tensor(name, column.to_pylist())
    if kinds.is_boolean(column.type) and column.null_count:
        return Tensor(name, column.to_pylist(), BY_NAME["bool"], (len(column),))
    array: Array = np.asarray(column.to_numpy())  # integers with nulls among them become doubles, as in pandas
    return Tensor(name, array, dtype_of(array), (len(column),))


def _texts(column: Any) -> list[str | None]:
    """The texts of a dictionary's column."""
    found: list[str | None] = []
    for chunk in column.chunks:
        texts = chunk.dictionary.to_pylist()
        indices = chunk.indices.to_pylist()
        if not {index for index in indices if index is not None} <= set(range(len(texts))):
            raise ValueError("a text is named that is not in its dictionary")
        found += [None if index is None else texts[index] for index in indices]
    return found


def _check_size(metadata: Any) -> None:
    cells = metadata.num_rows * metadata.num_columns
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if cells > CELLS or size > LARGEST:
        raise SetsailError("request.too_large", "the Parquet file holds too much", value=f"{cells} cells, {size} bytes",
                           expected=f"{CELLS} cells, {LARGEST} bytes")  # fmt: skip


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as fault:
        line = 'pip install "setsail[parquet]"'
        raise SetsailError("dependency.missing", "the server has no pyarrow, which reads Parquet", field="pyarrow",
                           todo=f"run on the server: {line}; or send JSON or CSV", command=line) from fault  # fmt: skip
