"""Answers to a rows file, a batch at a time. The file appears when it is complete, or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from setsail.rows.files import bad, format_of, pyarrow
from setsail.signature import TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["stream_csv", "write_rows"]

Batch = Mapping[str, Array]


def write_rows(path: Path, batches: Iterable[Batch], specs: Sequence[TensorSpec] = ()) -> int:
    """Write answers to a file of the format its extension says.

    Args:
        batches: each a mapping of output name to array, rows along the first axis.
        specs: the signature's outputs; their class labels name the columns that an output of several values becomes in
            .csv and .parquet (`probabilities_setosa`, …); without labels columns are numbered (`distances_0`, …).

    Returns:
        How many rows were written. .npy takes one output only, text in .npy and .npz is stored as fixed-width
        Unicode; both are held in memory until the end, the other formats stream.

    Raises:
        SetsailError: `rows.format` for an extension or an output the format cannot hold.
    """
    write = _WRITERS[format_of(path)]
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    made = Path(name)
    try:
        counter = _Counter(batches)
        write(made, path, counter, {s.name: s.labels for s in specs})
        _set_mode(made)
        os.replace(made, path)
        return counter.rows
    finally:
        made.unlink(missing_ok=True)


def stream_csv(file: TextIO, batches: Iterable[Batch], specs: Sequence[TensorSpec] = ()) -> int:
    """Write answers as CSV to an open text file (standard output) while they come. Returns how many rows."""
    counter = _Counter(batches)
    _csv(file, counter, {s.name: s.labels for s in specs})
    return counter.rows


def _set_mode(made: Path) -> None:
    """The mode any new file gets; temporary files are private."""
    mask = os.umask(0)
    os.umask(mask)
    made.chmod(0o666 & ~mask)


class _Counter:
    """The batches, counted while they pass."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches, self.rows = batches, 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.rows += len(next(iter(batch.values()), ()))
            yield batch


Labels = Mapping[str, Sequence[str]]


def _flat(batch: Batch, labels: Labels) -> dict[str, Array]:
    """One column a value: a 2-D output becomes several, named by its labels or by numbers."""
    columns: dict[str, Array] = {}
    for name, array in batch.items():
        if array.ndim <= 1:
            columns[name] = array
            continue
        known = labels.get(name, ())
        for index in np.ndindex(*array.shape[1:]):
            own = known[index[0]] if len(index) == 1 and len(known) == array.shape[1] else "_".join(map(str, index))
            columns[f"{name}_{own}"] = array[(slice(None), *index)]
    return columns


def _write_csv(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    with made.open("w", newline="", encoding="utf-8") as file:
        _csv(file, batches, labels)


def _csv(file: TextIO, batches: Iterable[Batch], labels: Labels) -> None:
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] | None = None
    for batch in batches:
        columns = _flat(batch, labels)
        if header is None:
            header = list(columns)
            writer.writerow(header)
        writer.writerows(zip(*(map(_cell, columns[name]) for name in header), strict=True))


def _cell(value: Any) -> str:
    """Numbers as short as they can be read back exactly, in their own dtype."""
    return "" if isinstance(value, str) and value == NULL else str(value)


def _write_json(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    with made.open("w", encoding="utf-8") as file:
        between = "[\n"
        for row in _rows(batches):
            file.write(between + json.dumps(row, ensure_ascii=False, allow_nan=False))
            between = ",\n"
        file.write("[]\n" if between == "[\n" else "\n]\n")


def _write_jsonl(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    with made.open("w", encoding="utf-8") as file:
        for row in _rows(batches):
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _rows(batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        lists = {name: _json(_shortest(array).tolist()) for name, array in batch.items()}
        for values in zip(*lists.values(), strict=True):
            yield dict(zip(lists, values, strict=True))


def _shortest(array: Array) -> Array:
    """Floats of fewer than 64 bits as the shortest decimal that means them: 0.1, not 0.10000000149011612."""
    return array.astype(str).astype(np.float64) if array.dtype.kind == "f" and array.itemsize < 8 else array


def _json(value: Any) -> Any:
    """What JSON lacks, as the plain wire writes it: null for NaN and missing text, a text for the infinities."""
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return None if isinstance(value, str) and value == NULL else value


def _write_npy(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    arrays = _joined(batches)
    if len(arrays) != 1:
        raise bad(path, ".npy holds one output", value=list(arrays), expected="one output, or .npz")
    with made.open("wb") as file:
        np.save(file, next(iter(arrays.values())), allow_pickle=False)


def _write_npz(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    with made.open("wb") as file:
        np.savez(file, allow_pickle=False, **_joined(batches))


def _joined(batches: Iterable[Batch]) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {}
    for batch in batches:
        for name, array in batch.items():
            parts.setdefault(name, []).append(array)
    return {name: _fixed(np.concatenate(arrays)) for name, arrays in parts.items()}


def _fixed(array: Array) -> Array:
    if array.dtype.kind != "O":
        return array
    return np.where(array == NULL, "", array).astype(str)


def _write_parquet(made: Path, path: Path, batches: Iterable[Batch], labels: Labels) -> None:
    arrow, parquet = pyarrow("pyarrow"), pyarrow("pyarrow.parquet")
    writer = None
    try:
        for batch in batches:
            table = arrow.table({name: _arrow(arrow, array) for name, array in _flat(batch, labels).items()})
            writer = writer or parquet.ParquetWriter(made, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        parquet.write_table(arrow.table({}), made)


def _arrow(arrow: Any, array: Array) -> Any:
    if array.dtype.kind == "O":
        return arrow.array([None if v == NULL else v for v in array.tolist()], type=arrow.string())
    return arrow.array(array)


_WRITERS: Final[Mapping[str, Callable[[Path, Path, Iterable[Batch], Labels], None]]] = {
    ".csv": _write_csv, ".json": _write_json, ".jsonl": _write_jsonl, ".npy": _write_npy, ".npz": _write_npz,
    ".parquet": _write_parquet,
}  # fmt: skip
