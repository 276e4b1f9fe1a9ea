"""Rows files to request bodies, a batch at a time.

Values keep the freedom they have in JSON: a number takes the signature's dtype in `binding.bind`, whichever file it
stood in, so a float64 .npy suits a float32 model. Memory holds one batch, except for .npz and for .json files that are
a mapping: those are read whole.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Rows
from setsail.rows.files import bad, format_of, pyarrow
from setsail.tensors import Array

__all__ = ["Batches", "open_rows"]

_CHUNK: Final = 1 << 20


class Batches:
    """An iterator over a file's batches; a context manager that closes the file.

    Attributes:
        total: how many rows there are, None where only reading them all would tell (text files).
    """

    def __init__(self, path: Path, batches: Iterator[Body], file: IO[bytes] | None, total: int | None) -> None:
        self.path, self.total = path, total
        self._batches, self._file = batches, file
        self._size = path.stat().st_size
        self._rows = 0

    def __iter__(self) -> Iterator[Body]:
        return self

    def __next__(self) -> Body:
        body = next(self._batches)
        self._rows += _count(body)
        return body

    @property
    def rows(self) -> int:
        """Rows given out so far."""
        return self._rows

    @property
    def fraction(self) -> float:
        """How much was read, 0 to 1: of the rows where their number is known, else of the bytes."""
        if self.total is not None:
            return self._rows / self.total if self.total else 1.0
        if self._file is None or self._file.closed or not self._size:
            return 1.0
        return min(1.0, self._file.tell() / self._size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _count(body: Body) -> int:
    if isinstance(body, Columns):
        columns = body.columns
        return len(next(iter(columns.values()), ())) if isinstance(columns, Mapping) else len(columns)
    return len(body.rows) if isinstance(body, Rows | Cells) else 0


def open_rows(path: Path, *, batch_size: int) -> Batches:
    """Open a rows file for streaming.

    Args:
        path: .csv (header line; `,`, `;` or tab), .json (a list of rows, a mapping of columns, or TF Serving's
            `instances` or `inputs`), .jsonl, .npy, .npz or .parquet.
        batch_size: rows a body at most.

    Raises:
        SetsailError: `rows.missing`, `rows.format` (also while iterating, naming file, line and column), or
            `dependency.missing` for .parquet without pyarrow.
    """
    suffix = format_of(path)
    if not path.is_file():
        raise SetsailError("rows.missing", f"there is no rows file at {path}", field=str(path))
    return _OPENERS[suffix](path, max(1, batch_size))


# -- text ------------------------------------------------------------------------------------------------------------


def _open_csv(path: Path, size: int) -> Batches:
    file = path.open("rb")
    return Batches(path, _closing(_csv(path, file, size), file), file, None)


def _closing(batches: Iterator[Body], file: IO[bytes]) -> Iterator[Body]:
    try:
        yield from batches
    finally:
        file.close()


def _lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as fault:
            raise bad(path, "the text is not UTF-8", line=number, column=fault.start + 1) from fault


def _csv(path: Path, file: IO[bytes], size: int) -> Iterator[Body]:
    lines = _lines(path, file)
    first = next(lines, "")
    if not first.strip():
        raise bad(path, "there is no header line", line=1, expected="the input names")
    delimiter = max((",", ";", "\t"), key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    try:
        header = tuple(name.strip() for name in next(reader))
        if len(set(header)) != len(header):
            raise bad(path, "the header names a column twice", line=1, value=list(header))
        rows: list[list[str]] = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise bad(path, f"there are {len(row)} cells", line=reader.line_num, value=row,
                          expected=f"{len(header)}, as in the header")  # fmt: skip
            rows.append(row)
            if len(rows) == size:
                yield Cells(header, rows)
                rows = []
        if rows:
            yield Cells(header, rows)
    except csv.Error as fault:
        raise bad(path, str(fault), line=reader.line_num) from fault


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _open_jsonl(path: Path, size: int) -> Batches:
    file = path.open("rb")
    return Batches(path, _closing(_jsonl(path, file, size), file), file, None)


def _jsonl(path: Path, file: IO[bytes], size: int) -> Iterator[Body]:
    rows: list[Any] = []
    for number, line in enumerate(_lines(path, file), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as fault:
            raise bad(path, fault.msg, line=number, column=fault.colno, expected="one JSON value a line") from fault
        except RecursionError as fault:
            raise bad(path, "the JSON is nested too deeply", line=number) from fault
        if len(rows) == size:
            yield Rows(rows)
            rows = []
    if rows:
        yield Rows(rows)


def _open_json(path: Path, size: int) -> Batches:
    file = path.open("rb")
    start = file.read(_CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    file.seek(0)
    if start == b"[":
        return Batches(path, _closing(_json_list(path, file, size), file), file, None)
    with file:
        body = _whole(path, file.read())
    if not isinstance(body, dict):
        raise bad(path, "the JSON is neither a list of rows nor a mapping", line=1, value=body)
    if isinstance(body.get("instances"), list):
        rows = body["instances"]
        return Batches(path, (Rows(rows[i : i + size]) for i in range(0, len(rows), size)), None, len(rows))
    columns = body["inputs"] if set(body) <= {"inputs", "signature_name"} and "inputs" in body else body
    return _columns(path, columns, size)


def _whole(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except json.JSONDecodeError as fault:
        raise bad(path, fault.msg, line=fault.lineno, column=fault.colno) from fault
    except (RecursionError, UnicodeDecodeError) as fault:
        raise bad(path, "the JSON cannot be read: " + type(fault).__name__) from fault


def _json_list(path: Path, file: IO[bytes], size: int) -> Iterator[Body]:
    rows: list[Any] = []
    for value in _elements(path, file):
        rows.append(value)
        if len(rows) == size:
            yield Rows(rows)
            rows = []
    if rows:
        yield Rows(rows)


def _chunks(path: Path, file: IO[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        while data := file.read(_CHUNK):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as fault:
        raise bad(path, "the text is not UTF-8", value=fault.reason) from fault


def _elements(path: Path, file: IO[bytes]) -> Iterator[Any]:
    """The elements of a JSON list, decoded one by one while the file is read.

    An element counts only once the `,` or `]` behind it was seen: a number may go on in the next chunk.
    """
    decoder, chunks = json.JSONDecoder(), _chunks(path, file)
    text, line, first = next(chunks), 1, True
    position = text.index("[") + 1
    while True:
        position = _skip(text, position)
        if first and text[position : position + 1] == "]":
            return _ended(path, text[position + 1 :], chunks, line)
        fault: json.JSONDecodeError | None = None
        value, end = None, len(text)
        try:
            value, end = decoder.raw_decode(text, position)
            end = _skip(text, end)
        except RecursionError as deep:
            raise bad(path, "the JSON is nested too deeply", line=line) from deep
        except json.JSONDecodeError as caught:
            fault = caught
        if end >= len(text):
            fresh = "" if fault is not None and _is_wrong(fault, text) else next(chunks, "")
            if not fresh:
                what = fault.msg if fault else "the list does not end"
                at = fault.lineno - 1 if fault else text.count("\n")
                raise bad(path, what, line=line + at, column=fault.colno if fault else None) from fault
            line += text.count("\n", 0, position)
            text, position = text[position:] + fresh, 0
            continue
        if text[end] not in ",]":
            raise bad(path, "rows are not separated", line=line + text.count("\n", 0, end), value=text[end],
                      expected=", or ]")  # fmt: skip
        yield value
        first, position = False, end + 1
        if text[end] == "]":
            return _ended(path, text[position:], chunks, line)


def _is_wrong(fault: json.JSONDecodeError, text: str) -> bool:
    """Whether more text cannot mend it: the fault lies before the end, and is no string that goes on."""
    return not fault.msg.startswith("Unterminated string") and fault.pos < len(text) - 16


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _ended(path: Path, rest: str, chunks: Iterator[str], line: int) -> None:
    if rest.strip() or any(more.strip() for more in chunks):
        raise bad(path, "something follows the list", line=line, value=rest)


# -- columns ---------------------------------------------------------------------------------------------------------


def _columns(path: Path, columns: Any, size: int) -> Batches:
    """Columns in memory: lists, or arrays that become lists a batch at a time."""
    if not isinstance(columns, Mapping):
        if not isinstance(columns, list | np.ndarray) or len(columns) == 0:
            raise bad(path, "there are no rows", value=columns, expected="a list of values")
        total = len(columns)
        bodies = (Columns(_plain(columns[i : i + size])) for i in range(0, total, size))
        return Batches(path, bodies, None, total)
    lengths = {}
    for name, values in columns.items():
        if not isinstance(values, list | np.ndarray) or np.ndim(values[:0]) == 0:
            raise bad(path, f"{name!r} is no column", value=values, expected="a list with one value a row")
        lengths[name] = len(values)
    if len(set(lengths.values())) != 1:
        raise bad(path, "the columns are not equally long", value=lengths, expected="as many rows in every column")
    total = next(iter(lengths.values()))
    batches = (
        Columns({name: _plain(values[i : i + size]) for name, values in columns.items()}) for i in range(0, total, size)
    )
    return Batches(path, batches, None, total)


def _plain(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _open_npy(path: Path, size: int) -> Batches:
    array = _numpy(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    if array.ndim == 0:
        raise bad(path, "the array has no rows", value=array.shape, expected="rows along the first axis")
    if array.dtype.names:
        return _columns(path, {name: array[name] for name in array.dtype.names}, size)
    return _columns(path, array, size)


def _open_npz(path: Path, size: int) -> Batches:
    def read() -> dict[str, Array]:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    arrays = _numpy(path, read)
    for name, array in arrays.items():
        if array.ndim == 0:
            raise bad(path, f"{name!r} has no rows", value=array.shape, expected="rows along the first axis")
    if not arrays:
        raise bad(path, "there are no arrays")
    return _columns(path, arrays, size)


def _numpy(path: Path, read: Callable[[], Any]) -> Any:
    if os.path.getsize(path) == 0:
        raise bad(path, "the file is empty")
    try:
        return read()
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError, SyntaxError) as fault:
        raise bad(path, f"numpy cannot read it: {str(fault).splitlines()[0]}",
                  expected="arrays of numbers or text, without Python objects") from fault  # fmt: skip


def _open_parquet(path: Path, size: int) -> Batches:
    parquet, errors = pyarrow("pyarrow.parquet"), pyarrow("pyarrow")
    try:
        file = parquet.ParquetFile(path)
    except (errors.ArrowException, OSError) as fault:
        raise bad(path, f"this is no Parquet file: {str(fault).splitlines()[0]}") from fault

    def bodies() -> Iterator[Body]:
        with file:
            try:
                for batch in file.iter_batches(batch_size=size):
                    yield Columns(batch.to_pydict())
            except (errors.ArrowException, OSError) as fault:
                raise bad(path, f"a row group cannot be read: {str(fault).splitlines()[0]}") from fault

    total = file.metadata.num_rows
    return Batches(path, bodies(), None, total)


_OPENERS: Final[Mapping[str, Callable[[Path, int], Batches]]] = {
    ".csv": _open_csv, ".json": _open_json, ".jsonl": _open_jsonl, ".npy": _open_npy, ".npz": _open_npz,
    ".parquet": _open_parquet,
}  # fmt: skip
