"""The wire for people: `POST /predict/<model>` with JSON or CSV (docs/wires/plain.md).

A JSON list is rows, a JSON object is columns by name, or one row when none of its values is a list. CSV has a header
line. The answer is JSON, or CSV to whoever asks for `Accept: text/csv`. What a hand-written client sends, a body in
the manner of a tutorial or a form, is answered with `prediction`, too (docs/wires/flask.md).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, Digits, ModelRef, Request, Response
from setsail.protocols import payload
from setsail.protocols.http import JSON, JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.identified import HEADER, identified
from setsail.protocols.multipart import FORM, MULTIPART
from setsail.protocols.payload import CSV, CSV_TYPES
from setsail.protocols.routes import Exchange, Params, Route, Wire, model_ref
from setsail.protocols.values import (
    STRICT,
    array_json,
    dump,
    joined,
    key_json,
    row_texts,
    texts,
    value_json,
    value_rows,
)
from setsail.shares import Share
from setsail.signature import TensorSpec
from setsail.tensors import Array

__all__ = ["CSV", "ONLY_MODEL", "ROUTES", "WIRE", "encode_prediction"]

ONLY_MODEL: Final = ""  # the model of `POST /predict`: the only one served; the server resolves it


def render_error(error: SetsailError) -> HttpReply:
    facts = error.to_json()
    return error_reply(error, dump({"error": facts.pop("message"), **{k: _fact(v) for k, v in facts.items()}}))


def _fact(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


WIRE: Final = Wire("plain", "Plain JSON and CSV", "docs/wires/plain.md", render_error)


def _predict(request: HttpRequest, params: Params) -> Exchange:
    model = model_ref(params) if "model" in params else ModelRef(ONLY_MODEL)
    outputs = _chosen(request.query) if request.query else None
    body = payload.read(request.body, request.headers.get("content-type", ""))
    if HEADER in request.headers:
        return identified(request, _exchange(request, model, body, outputs))
    return _exchange(request, model, body, outputs)


def _exchange(request: HttpRequest, model: ModelRef, body: Body, outputs: tuple[str, ...] | None) -> Exchange:
    if "csv" in request.headers.get("accept", "").lower() and _wants_csv(request):
        return Exchange(Request(model, body, outputs), _encode_csv)
    encode = encode_prediction if _is_tutorial(body) or _is_form(request, body) else _encode_json
    return Exchange(Request(model, body, outputs), encode)


def _is_tutorial(body: Body) -> bool:
    """Whether the one name of the body may be a word for all of it."""
    return body.form.loose if type(body) is Digits else type(body) is Columns and body.loose


def _is_form(request: HttpRequest, body: Body) -> bool:
    """Whether the body was a form: curl says so of JSON, too, whose objects never are cells."""
    told = request.headers.get("content-type", "")
    if told == JSON:
        return False
    if type(body) is Digits:
        return body.form.note == payload.FORM_NOTE or told.startswith(MULTIPART)
    return told.startswith(MULTIPART) or (type(body) is Cells and told.startswith(FORM))


def _chosen(query: str) -> tuple[str, ...] | None:
    asked = [v for k, v in parse_qsl(query) if k == "outputs"]
    return tuple(name for text in asked for name in text.split(",") if name) or None


# -- the answer --------------------------------------------------------------------------------------------------------


def _wants_csv(request: HttpRequest) -> bool:
    """Whether CSV is accepted and JSON is not named before it."""
    types = [payload.kind_of(part) for part in request.headers.get("accept", "").split(",")]
    known = [t for t in types if t in CSV_TYPES or t in (JSON, "*/*", "application/*")]
    return bool(known) and known[0] in CSV_TYPES


def _encode_json(response: Response) -> HttpReply:
    if type(response.outputs) is Share:
        return HttpReply(200, response.outputs.text(_bodies, response), JSON_HEADERS)
    fields = [key_json(name) + array_json(array, STRICT) for name, array in response.outputs.items()]
    return HttpReply(200, _top(response.model, response.version) + b",".join(fields) + b"}}", JSON_HEADERS)


def encode_prediction(response: Response) -> HttpReply:
    """The same with the default output as `prediction`: an entry a row, an object each where it is several outputs."""
    if type(response.outputs) is Share:
        return HttpReply(200, response.outputs.text(_predictions, response), JSON_HEADERS)
    fields = [key_json(name) + array_json(array, STRICT) for name, array in response.outputs.items()]
    defaults = {name: response.outputs[name] for name in response.defaults}
    told = value_json(defaults, STRICT, rows=response.signature.batched)
    body = _top(response.model, response.version) + b",".join(fields) + b'},"prediction":' + told + b"}"
    return HttpReply(200, body, JSON_HEADERS)


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    return joined(_fields(response, outputs), b"]}}")


def _predictions(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The same as `encode_prediction` has it. Only batches are shared, so every output has rows."""
    told = value_rows({name: outputs[name] for name in response.defaults}, STRICT)
    return joined((*_fields(response, outputs), (b']},"prediction":[', told)), b"]}")


def _fields(response: Response, outputs: Mapping[str, Array]) -> list[tuple[bytes, list[bytes]]]:
    """What the answers of all rows begin with, up to the last bracket of the last output."""
    lead = _top(response.model, response.version)
    columns = []
    for name, array in outputs.items():
        columns.append((lead + key_json(name) + b"[", row_texts(array, b"", STRICT)))
        lead = b"],"
    return columns


@lru_cache(1024)
def _top(model: str, version: int) -> bytes:
    return dump({"model": model, "version": version})[:-1] + b',"outputs":{'


_CSV_HEADERS: Final = (("content-type", f"{CSV}; charset=utf-8"),)


def _encode_csv(response: Response) -> HttpReply:
    if type(response.outputs) is Share:
        return HttpReply(200, response.outputs.text(_tables, response), _CSV_HEADERS)
    header, rows = _table(response, response.outputs)
    return HttpReply(200, header + b"".join(rows), _CSV_HEADERS)


def _tables(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    header, rows = _table(response, outputs)
    return [header + row for row in rows] or [header] * len(next(iter(outputs.values())))  # a table without columns


def _table(response: Response, outputs: Mapping[str, Array]) -> tuple[bytes, list[bytes]]:
    """The line of the names, and those of the rows."""
    columns: dict[str, list[Any]] = {}
    for name, array in outputs.items():
        columns |= _csv_columns(response.signature.output(name), array)
    lengths = {len(c) for c in columns.values()}
    if len(lengths) > 1:
        raise _no_table("the outputs have different numbers of rows")
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    header, *rows = lines.told
    return header, rows


class _Lines:
    """What a csv writer wrote, a line each."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def write(self, line: str) -> None:
        self.told.append(line.encode())


def _csv_columns(spec: TensorSpec, array: Array) -> dict[str, list[Any]]:
    """One column for a `[N]` output; one per class or position for `[N, k]`."""
    if array.ndim == 1:
        return {spec.name: _csv_values(array)}
    if array.ndim != 2:
        raise _no_table(f"output {spec.name!r} has {array.ndim} dimensions")
    names = spec.labels or spec.columns
    parts = names if len(names) == array.shape[1] else [str(i) for i in range(array.shape[1])]
    return {f"{spec.name}.{part}": _csv_values(array[:, i]) for i, part in enumerate(parts)}


def _csv_values(column: Array) -> list[Any]:
    """Cells that read back as the same value: `str` of a numpy scalar has the fewest digits of its dtype."""
    if column.dtype.kind in "OUST":
        return ["" if v is None else v for v in texts(column)]
    if column.dtype.kind == "b":
        return ["true" if v else "false" for v in column.tolist()]
    return [str(v) for v in column]


def _no_table(what: str) -> SetsailError:
    return SetsailError("request.media_type", f"{what}: no CSV table", field="accept", expected=JSON)


ROUTES: Final = tuple(
    Route("POST", pattern, _predict, WIRE, summary, predicts=True)
    for pattern, summary in (
        ("/predict", "a prediction of the only model served"),
        ("/predict/{model}", "a prediction"),
        ("/predict/{model}/versions/{version}", "a prediction of one version"),
    )
)
