"""What every format shares: which one a path is of, and how its faults are told."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["FORMATS", "bad", "format_of", "pyarrow"]

FORMATS: Final = (".csv", ".json", ".jsonl", ".npy", ".npz", ".parquet")
_ALIASES: Final = {".ndjson": ".jsonl", ".pq": ".parquet", ".tsv": ".csv"}


def format_of(path: Path) -> str:
    """The format by extension. Raises `rows.format`."""
    suffix = _ALIASES.get(path.suffix.lower(), path.suffix.lower())
    if suffix not in FORMATS:
        raise SetsailError("rows.format", f"{path.name} has no extension we know", field=str(path), value=path.suffix,
                           expected=", ".join(FORMATS))  # fmt: skip
    return suffix


def bad(path: Path, what: str, *, line: int | None = None, column: int | None = None, **facts: Any) -> SetsailError:
    """A `rows.format` error that says where."""
    where = path.name + (f", line {line}" if line is not None else "") + (f", column {column}" if column else "")
    places: dict[str, Any] = {k: v for k, v in (("line", line), ("column", column)) if v is not None}
    return SetsailError("rows.format", f"{where}: {what}", field=str(path), **facts, **places)


def pyarrow(module: str) -> Any:
    """A module of pyarrow, imported when it is needed. Raises `dependency.missing`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as fault:
        line = 'pip install "setsail[parquet]"'
        raise SetsailError("dependency.missing", "pyarrow is not installed", field="pyarrow", todo=f"run: {line}",
                           command=line) from fault  # fmt: skip
