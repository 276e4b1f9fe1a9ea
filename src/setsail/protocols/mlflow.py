"""MLflow's scoring server: `/invocations` with data frames, `/ping`, `/health`, `/version` (docs/wires/mlflow.md).

A body is JSON with exactly one of four keys, a CSV with a header, or Parquet. A frame's columns are matched by name and
those the model does not have are ignored, as MLflow does; a frame whose columns have no names is rows. The answer is
`{"predictions": …}` with the model's default output, or one record a row where it has several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import chain
from typing import Any, Final

import msgspec

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Digits, Form, Request, Response, Rows
from setsail.protocols import packed
from setsail.protocols.digits import RECORDS, Fields, Lines, Memo, one_row
from setsail.protocols.http import JSON, JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.payload import CSV, cells, header_of
from setsail.protocols.routes import Exchange, Params, Route
from setsail.protocols.scoring import HEALTH, KEYS, PARQUET, PING, VERSION, WIRE
from setsail.protocols.sole import asked_model
from setsail.protocols.values import UNREAD, joined, parse, value_json, value_rows
from setsail.shares import Share
from setsail.tensors import Array, Numbers

__all__ = [
    "HEALTH", "KEYS", "PARQUET", "ROUTES", "VERSION", "WIRE", "exchange", "from_json", "invocations", "read_json",
    "unread",
]  # fmt: skip

_PARQUET: Final = "setsail.protocols.parquet"  # with pyarrow, which only such bodies need
_LLM: Final = ("messages", "prompt", "input")
# What pandas.read_csv takes for a missing value where it is not told otherwise.
_NA: Final = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
))  # fmt: skip


# -- the body ----------------------------------------------------------------------------------------------------------


def invocations(request: HttpRequest, params: Params) -> Exchange:
    """A prediction of a body of one of MLflow's types."""
    return exchange(request, _READERS[_type(request.headers.get("content-type", JSON))](request.body))


def exchange(request: HttpRequest, body: Body) -> Exchange:
    """A prediction of a body that was read, answered MLflow's way."""
    return Exchange(Request(asked_model(request), body), _encode)


def _type(header: str) -> str:
    """The content type, one of those that are read and with nothing but `charset=utf-8` behind it."""
    if header == JSON:
        return JSON
    kind, _, rest = header.partition(";")
    kind = kind.strip().lower()
    for parameter in rest.split(";") if rest.strip() else ():
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset":
            raise _wrong_type("the content type has a parameter nobody knows", parameter, "charset=utf-8")
        if value.strip().strip('"').lower() != "utf-8":
            raise _wrong_type("the scoring server only supports UTF-8", value, "utf-8")
    if kind not in _READERS:
        raise _wrong_type("a body of this type is not read here", kind, ", ".join(_READERS))
    return kind


def _wrong_type(what: str, value: str, expected: str) -> SetsailError:
    return SetsailError(
        "request.media_type", what, field="content-type", value=value, expected=expected, todo="send one of those"
    )


class _Split(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A data frame as `DataFrame.to_dict(orient="split")` writes it."""

    data: Any
    columns: list[Any] | None = None
    index: list[Any] | None = None


class _Sent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A body that holds nothing unusual, read straight from its bytes; everything else goes the general way."""

    dataframe_split: _Split | None = None
    dataframe_records: Any = None
    instances: Any = None
    inputs: Any = None
    params: Any = None


_read: Final = msgspec.json.Decoder(_Sent).decode


def _json(raw: bytes | memoryview) -> Body:
    return unread(raw) or _general(raw)


def _general(raw: bytes | memoryview) -> Body:
    body = read_json(raw)
    return from_json(parse(raw)) if body is None else body


def unread(raw: bytes | memoryview) -> Digits | None:
    """A small body of one row of numbers like one that was read before; None for every other one."""
    if type(raw) is not bytes or len(raw) >= packed.LONG:
        return None
    return (_ROWS if b"[[" in raw else _OBJECTS).find(raw)


def _learn(raw: bytes, count: int) -> Form | None:
    try:
        body = read_json(raw)
    except SetsailError:
        return None
    if type(body) is Rows and body.names is None:
        return one_row(count) if body.rows == [[]] else None
    if type(body) is Rows:
        values: list[Any] = [[]] if b"[[" in raw else [[[]] * count]
        return _frame_of(count, body.names) if body.rows == values else None
    if type(body) is not Columns or list(body.columns.values()) != [[[]]]:
        return None
    (name,) = body.columns
    return one_row(count, name, "ignoring", name=name)


def _frame_of(count: int, names: tuple[str, ...] | None, *kind: str) -> Form | None:
    """A frame of one row, if it has so many columns."""
    if names is None or len(names) != count:
        return None
    return one_row(count, "frame", names, *kind, names=names, frame=True)


_ROWS: Final = Memo(b"[[", b"", _learn, _general)
_OBJECTS: Final = Fields(RECORDS, _learn, _general)


def read_json(raw: bytes | memoryview) -> Body | None:
    """A body with exactly one of KEYS, `params` and nothing else, fast; None for every other one."""
    raw = bytes(raw)
    sent = _long(raw) if len(raw) >= packed.LONG else None
    if sent is None:
        try:
            sent = _read(raw)
        except UNREAD:
            return None
    given = [name for name in _FORMS if getattr(sent, name) is not None]
    return _FORMS[given[0]](getattr(sent, given[0])) if len(given) == 1 else None


_OPENING: Final = re.compile(rb'"(?:instances|inputs|data)"\s*:\s*\[')


def _long(raw: bytes) -> _Sent | None:
    """The same with numbers as an array; None where the body has anything else than one long list of them."""
    opening = _OPENING.search(raw)
    if opening is None:
        return None
    start, end = opening.end() - 1, raw.rfind(b"]") + 1
    rest = packed.cut(raw, start, end)
    if b"\\" in rest:  # without one, the opening is a key and its list, not part of a text
        return None
    try:
        sent = _read(rest)
    except UNREAD:
        return None
    split = sent.dataframe_split
    held = [split is not None and split.data == [], sent.instances == [], sent.inputs == []]
    values = packed.numbers(raw[start:end]) if sum(held) == 1 else None
    if values is None:
        return None
    if split is not None:
        split.data = values
    elif held[1]:
        sent.instances = values
    else:
        sent.inputs = values
    return sent


def from_json(value: Any) -> Body:
    """The general way: every fault is named, and keys that MLflow does not look at are left alone.

    Raises:
        SetsailError: `request.form`; `request.unsupported` for a language model's body.
    """
    if isinstance(value, dict) and (found := [name for name in _LLM if name in value]):
        raise SetsailError(
            "request.unsupported", f"`{found[0]}` makes this a body for a language model, which is not served here",
            field=found[0], expected=_ONE, todo="serve language models with an engine made for them, such as vLLM",
        )  # fmt: skip
    given = [name for name in _FORMS if name in value] if isinstance(value, dict) else []
    if len(given) != 1:
        raise SetsailError(
            "request.form", "the body needs exactly one of MLflow's input fields",
            value=sorted(value) if isinstance(value, dict) else value, expected=_ONE,
        )  # fmt: skip
    if "signature_name" in value:
        raise SetsailError("request.form", "`signature_name` is not supported by MLflow", field="signature_name",
                           value=value["signature_name"], todo="leave it out")  # fmt: skip
    return _FORMS[given[0]](value[given[0]])


_ONE: Final = "a JSON object with one of " + ", ".join(sorted(KEYS))


def _split(value: Any) -> Body:
    """A frame: its rows, and its columns' names where they are names."""
    frame = value if type(value) is _Split else _frame(value)
    columns, rows = frame.columns, frame.data
    if not isinstance(rows, list | Numbers) or any(
        not isinstance(part, list | None) for part in (columns, frame.index)
    ):
        raise _no_frame("`data` and, where they are there, `columns` and `index` are lists", value)
    if frame.index is not None and len(frame.index) != len(rows):
        raise _no_frame(f"`index` has {len(frame.index)} entries and `data` {len(rows)} rows", frame.index)
    if columns is None or all(type(name) is int for name in columns):
        return Rows(rows)
    names = tuple(name if type(name) is str else str(name) for name in columns)
    if len(set(names)) != len(names):
        raise _no_frame("`columns` names a column twice", columns)
    return Rows(rows, names)


def _frame(value: Any) -> _Split:
    if not isinstance(value, dict) or "data" not in value or not value.keys() <= {"data", "columns", "index"}:
        raise _no_frame("a frame has `data` and, if it likes, `columns` and `index`", value)
    return _Split(**value)


def _no_frame(what: str, value: Any) -> SetsailError:
    return SetsailError(
        "request.form", what, field="dataframe_split", value=value,
        expected='{"columns": [name, …], "data": [[value, …], …]}',
    )  # fmt: skip


def _records(value: Any) -> Body:
    """Objects, one a row. A name that a row lacks is a missing value in it, as pandas has it."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise SetsailError("request.form", "the records are no list of objects", field="dataframe_records", value=value,
                           expected='[{"name": value, …}, …]')  # fmt: skip
    if not value:
        return Rows(value)
    if any(row.keys() != value[0].keys() for row in value):
        names = tuple(dict.fromkeys(chain.from_iterable(value)))
        return Rows([[row.get(name) for name in names] for row in value], names)
    return _named(value)


def _values(value: Any) -> Body:
    """`instances` and `inputs`: rows, named rows, columns by name, or one value."""
    if isinstance(value, dict):
        return Columns(value, True)
    if not isinstance(value, list):
        return Rows(value if isinstance(value, Numbers) else [value])
    if not value or not isinstance(value[0], dict):
        return Rows(value)
    for index, row in enumerate(value):
        if not isinstance(row, dict) or row.keys() != value[0].keys():
            raise SetsailError(
                "request.form", f"row {index} does not have the names of row 0", value=row,
                expected=", ".join(map(str, value[0])), row=index,
            )  # fmt: skip
    return _named(value)


def _named(rows: list[dict[str, Any]]) -> Body:
    """Rows that all have the names of the first."""
    names = tuple(rows[0])
    return Rows([list(row.values()) if tuple(row) == names else [row[name] for name in names] for row in rows], names)


_FORMS: Final[Mapping[str, Callable[[Any], Body]]] = {
    "dataframe_split": _split, "dataframe_records": _records, "instances": _values, "inputs": _values,
}  # fmt: skip


def _csv(raw: bytes | memoryview) -> Body:
    digits = _LINES.find(bytes(raw)) if len(raw) < packed.LONG else None
    return _table(raw) if digits is None else digits


def _learn_header(raw: bytes, count: int) -> Form | None:
    return _frame_of(count, header_of(raw, count), "csv")


def _table(raw: bytes | memoryview) -> Body:
    """With a header, as `DataFrame.to_csv` writes it; a column without a name is its index, and ignored."""
    table = cells(raw)
    return Cells(table.header, table.rows, ignore_unknown=True, nulls=_NA)


_LINES: Final = Lines(_learn_header, _table)


def _parquet(raw: bytes | memoryview) -> Body:
    body: Body = import_module(_PARQUET).tensors(raw)
    return body


_READERS: Final[Mapping[str, Callable[[bytes | memoryview], Body]]] = {JSON: _json, CSV: _csv, PARQUET: _parquet}


# -- the answer --------------------------------------------------------------------------------------------------------


def _encode(response: Response) -> HttpReply:
    outputs = response.outputs
    if type(outputs) is Share:
        return HttpReply(200, outputs.text(_bodies, response), JSON_HEADERS)
    told = value_json({name: outputs[name] for name in response.defaults})
    return HttpReply(200, b'{"predictions":' + told + b"}", JSON_HEADERS)


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    rows = value_rows({name: outputs[name] for name in response.defaults})
    return joined(((b'{"predictions":[', rows),), b"]}")


ROUTES: Final = (
    Route("POST", "/invocations", invocations, WIRE, "a prediction of the only model served", predicts=True),
    PING,
    HEALTH,
    VERSION,
)
