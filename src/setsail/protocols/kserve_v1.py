"""KServe's V1 protocol on a port of its own (docs/wires/kserve.md).

Its paths are TensorFlow Serving's, and on the data port both have one wire. Here its clients get its own bodies: what
comes as `instances` or as `inputs` is rows, and the answer is `predictions`. A row may be a little table, of which
KServe's servers make a data frame: `{"age": {"0": 42, "1": 7}}`.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from setsail.catalog import Index, IsLive, IsReady, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import Columns, Digits, Request, Rows
from setsail.protocols.cloud_events import answering
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest, error_reply
from setsail.protocols.routes import Exchange, Params, Route, Wire, model_ref
from setsail.protocols.tf_serving.predict import COLUMNS, encode_rows, predict
from setsail.protocols.values import dump

__all__ = ["ROUTES", "WIRE"]


def render_error(error: SetsailError) -> HttpReply:
    return error_reply(error, dump({"error": str(error)}))


WIRE: Final = Wire("kserve-v1", "KServe V1", "docs/wires/kserve.md", render_error)


def _predict(request: HttpRequest, params: Params) -> Exchange:
    exchange = predict(request, params)
    ask = exchange.ask
    assert isinstance(ask, Request)
    body = ask.body
    if type(body) is Digits:  # rows, too, but of an input by its name
        named = body.form.name is not None
        return exchange if named or body.form.note != COLUMNS else Exchange(ask, encode_rows)
    if type(body) is Rows:
        rows = body.rows
    elif type(body) is Columns and not isinstance(body.columns, dict):
        rows = body.columns
    else:
        return exchange  # columns by name are nobody's but TensorFlow Serving's
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        rows = _opened(rows)
    if rows is getattr(body, "rows", None):
        return exchange
    if not isinstance(rows, list) and not hasattr(rows, "shape"):
        raise SetsailError("request.form", "`inputs` is no list", field="inputs", value=rows, expected="a list of rows")
    return Exchange(replace(ask, body=Rows(rows)), encode_rows)


def _opened(rows: list[Any]) -> list[Any]:
    """The rows of little tables, `{column: {index: value}}`; rows that are none are left alone."""
    if not any(isinstance(value, dict) for value in rows[0].values()):
        return rows
    found: list[Any] = []
    for table in rows:
        columns = list(table.values()) if isinstance(table, dict) else []
        if not columns or any(not isinstance(c, dict) or c.keys() != columns[0].keys() for c in columns):
            raise SetsailError(
                "input.ragged", "a table's columns do not have one index", field="instances", value=table,
                expected='{"column": {"0": value, …}, …} with equal indices',
            )  # fmt: skip
        found += [{name: column[index] for name, column in table.items()} for index in columns[0]]
    return found


def _explain(request: HttpRequest, params: Params) -> Exchange:
    raise SetsailError(
        "request.unsupported", "models are not explained here", field="path", value=request.path, expected=":predict",
        todo="send the same rows to :predict, or put an explainer in front",
    )  # fmt: skip


def _ready(request: HttpRequest, params: Params) -> Exchange:
    name = params["model"]

    def encode(ready: bool) -> HttpReply:
        if not ready:
            raise SetsailError("model.not_ready", f"model with name {name} is not ready", field="model", value=name)
        return HttpReply(200, dump({"name": name, "ready": True}), JSON_HEADERS)

    return Exchange(IsReady(model_ref(params)), encode)


def _names(request: HttpRequest, params: Params) -> Exchange:
    def encode(answer: tuple[VersionStatus, ...]) -> HttpReply:
        return HttpReply(200, dump({"models": list(dict.fromkeys(s.name for s in answer))}), JSON_HEADERS)

    return Exchange(Index(), encode)


def _alive(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(IsLive(), lambda yes: HttpReply(200, b'{"status":"alive"}', JSON_HEADERS))


ROUTES: Final = (
    Route("POST", "/v1/models/{model}:predict", answering(_predict), WIRE, "a prediction", predicts=True),
    Route("POST", "/v1/models/{model}:explain", _explain, WIRE, "refused: models are not explained"),
    Route("GET", "/v1/models/{model}", _ready, WIRE, "200 when the model is ready"),
    Route("GET", "/v1/models", _names, WIRE, "names of the models"),
    Route("GET", "/", _alive, WIRE, "200 while the process is up"),
)
