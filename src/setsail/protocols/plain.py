"""The wire for people: `POST /predict/<model>` with JSON or CSV (docs/wires/plain.md).

A JSON list is rows, a JSON object is columns by name, or one row when none of its values is a list. CSV has a header
line. The answer is JSON, or CSV to whoever asks for `Accept: text/csv`.
"""

from __future__ import annotations

import csv
import io
import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from setsail.errors import SetsailError
from setsail.messages import Body, Cells, Columns, ModelRef, Request, Response, Rows
from setsail.protocols import packed
from setsail.protocols.http import JSON, JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.routes import Exchange, Params, Route, Wire, model_ref
from setsail.protocols.values import STRICT, array_json, dump, key_json, parse, texts
from setsail.signature import TensorSpec
from setsail.tensors import Array

__all__ = ["CSV", "ONLY_MODEL", "ROUTES", "WIRE"]

CSV: Final = "text/csv"
ONLY_MODEL: Final = ""  # the model of `POST /predict`: the only one served; the server resolves it
# What is read as JSON: no type at all, and what curl -d and fetch() send by default.
_JSON_TYPES: Final = frozenset(("", JSON, "text/json", "text/plain", "application/x-www-form-urlencoded"))
_CSV_TYPES: Final = frozenset((CSV, "application/csv"))


def render_error(error: SetsailError) -> HttpReply:
    facts = error.to_json()
    return error_reply(error, dump({"error": facts.pop("message"), **{k: _fact(v) for k, v in facts.items()}}))


def _fact(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


WIRE: Final = Wire("plain", "Plain JSON and CSV", "docs/wires/plain.md", render_error)


def _predict(request: HttpRequest, params: Params) -> Exchange:
    model = model_ref(params) if "model" in params else ModelRef(ONLY_MODEL)
    outputs = _chosen(request.query) if request.query else None
    wants_csv = "csv" in request.headers.get("accept", "").lower() and _wants_csv(request)
    return Exchange(Request(model, _body(request), outputs), _encode_csv if wants_csv else _encode_json)


def _chosen(query: str) -> tuple[str, ...] | None:
    asked = [v for k, v in parse_qsl(query) if k == "outputs"]
    return tuple(name for text in asked for name in text.split(",") if name) or None


def _body(request: HttpRequest) -> Body:
    kind = request.headers.get("content-type", "")
    if kind != JSON:
        kind = kind.partition(";")[0].strip().lower()
    if kind in _CSV_TYPES:
        return _cells(request.body)
    if kind in _JSON_TYPES or kind.endswith("+json"):
        try:
            long = _numbers(bytes(request.body).strip()) if len(request.body) >= packed.LONG else None
            return long or _json_body(parse(request.body))
        except SetsailError as fault:
            if fault.code == "request.json":  # a CSV file sent without saying so is the likeliest cause
                fault.todo = f"send JSON, or the header `Content-Type: {CSV}` if this is CSV"
            raise
    raise SetsailError(
        "request.media_type", "a body of this type is not read here", field="content-type", value=kind,
        expected=f"{JSON} or {CSV}",
    )  # fmt: skip


_NAMED: Final = re.compile(rb'\{\s*"([^"\\]{1,256})"\s*:\s*\[')


def _numbers(raw: bytes) -> Body | None:
    """Rows, or the one input named, as an array; None where the body is anything else than one long list of numbers."""
    if raw.startswith(b"["):
        values = packed.numbers(raw)
        return None if values is None else Rows(values)
    opening, end = _NAMED.match(raw), raw.rfind(b"]") + 1
    if opening is None or raw[end:].strip() != b"}":
        return None
    values = packed.numbers(raw[opening.end() - 1 : end])
    try:
        return None if values is None else Columns({opening[1].decode(): values})
    except UnicodeDecodeError:
        return None


def _json_body(value: Any) -> Body:
    if isinstance(value, list):
        return Rows(value)
    if isinstance(value, dict):
        return Columns(value) if any(isinstance(v, list) for v in value.values()) else Rows([value])
    if value is None:
        raise SetsailError(
            "request.form", "the body is null", expected='rows [[1, 2], …], columns {"a": [1, …]} or one row {"a": 1}'
        )
    return Rows([value])  # a bare value is one row of a model with a single input


def _cells(body: bytes | memoryview) -> Cells:
    try:
        text = bytes(body).decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise SetsailError(
            "request.csv", f"the body is not CSV: {fault}", expected="UTF-8 with a header line"
        ) from fault
    if not lines:
        raise SetsailError("request.csv", "the body is empty", expected="a header line with the input names")
    return Cells(tuple(name.strip() for name in lines[0]), lines[1:])


# -- the answer --------------------------------------------------------------------------------------------------------


def _wants_csv(request: HttpRequest) -> bool:
    """Whether CSV is accepted and JSON is not named before it."""
    types = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    known = [t for t in types if t in _CSV_TYPES or t in (JSON, "*/*", "application/*")]
    return bool(known) and known[0] in _CSV_TYPES


def _encode_json(response: Response) -> HttpReply:
    fields = [key_json(name) + array_json(array, STRICT) for name, array in response.outputs.items()]
    return HttpReply(200, _top(response.model, response.version) + b",".join(fields) + b"}}", JSON_HEADERS)


@lru_cache(1024)
def _top(model: str, version: int) -> bytes:
    return dump({"model": model, "version": version})[:-1] + b',"outputs":{'


def _encode_csv(response: Response) -> HttpReply:
    columns: dict[str, list[Any]] = {}
    for name, array in response.outputs.items():
        columns |= _csv_columns(response.signature.output(name), array)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    lengths = {len(c) for c in columns.values()}
    if len(lengths) > 1:
        raise _no_table("the outputs have different numbers of rows")
    writer.writerows(zip(*columns.values(), strict=True))
    return HttpReply(200, out.getvalue().encode(), (("content-type", f"{CSV}; charset=utf-8"),))


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
