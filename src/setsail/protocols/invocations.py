"""`POST /invocations` on the data port, where MLflow's clients and SageMaker's both knock. The rule, in one place:

1. Parquet is MLflow's.
2. CSV is MLflow's when its first line is a header: no cell reads as a number, and none but the first (an index, as
   pandas writes it) is empty. With a parameter other than `charset` in its content type, or with an Accept that asks
   for something else than JSON, it is SageMaker's, which has no header.
3. JSON is MLflow's when it is an object with one of MLflow's four keys (`scoring.KEYS`).
4. Everything else is SageMaker's.

Where MLflow's answer is right, `Accept` is not looked at, as MLflow does not. A text-only CSV without a header looks
like a header: on a port of the flavour `sagemaker` it is not. Faults are told in MLflow's shape either way, because
SageMaker's callers get whatever text there is.
"""

from __future__ import annotations

import csv
import re
from functools import cache, lru_cache, partial
from importlib import import_module
from typing import Any, Final

from setsail.protocols.http import JSON, HttpRequest
from setsail.protocols.multipart import FORM
from setsail.protocols.payload import CSV_TYPES, JSON_TYPES, kind_of
from setsail.protocols.routes import Exchange, Params, Route
from setsail.protocols.scoring import HEALTH, KEYS, PARQUET, VERSION, WIRE
from setsail.protocols.sole import asked_model
from setsail.protocols.values import parse
from setsail.protocols.verbatim import verbatim

__all__ = ["ROUTES"]

_JSON_TYPES: Final = JSON_TYPES | {FORM}
_ANY: Final = frozenset(("", "*/*", JSON))
_KEYS: Final = tuple(f'"{name}"'.encode() for name in sorted(KEYS))
_NUMBER: Final = re.compile(rb"-?[0-9]{1,32}(?:\.[0-9]{1,32})?[,\r\n]")  # a number that is the first cell
_LINE: Final = 64 << 10  # bytes in which the first line must end


@cache
def _wire(name: str) -> Any:
    """A wire's module, imported with the first request that may be its: every start would wait for it otherwise."""
    return import_module(f"setsail.protocols.{name}")


def _invocations(request: HttpRequest, params: Params) -> Exchange:
    return verbatim(request, partial(_read, request, params), partial(asked_model, request))


def _read(request: HttpRequest, params: Params) -> Exchange:
    header = request.headers.get("content-type", "")
    kind = JSON if header == JSON else kind_of(header)
    if kind in _JSON_TYPES:
        return _json(request)
    if kind == PARQUET or (kind in CSV_TYPES and _has_header(request, header)):
        exchange: Exchange = _wire("mlflow").invocations(request, params)
        return exchange
    return _sagemaker(request)


def _json(request: HttpRequest) -> Exchange:
    if request.body[:1] == b"[":
        return _sagemaker(request)
    mlflow = _wire("mlflow")
    body = mlflow.unread(request.body) or mlflow.read_json(request.body)
    if body is None:
        raw = bytes(request.body)
        value = parse(raw) if raw.lstrip()[:1] == b"{" and any(key in raw for key in _KEYS) else {}
        if KEYS.isdisjoint(value):
            return _sagemaker(request)
        body = mlflow.from_json(value)
    exchange: Exchange = mlflow.exchange(request, body)
    return exchange


def _sagemaker(request: HttpRequest) -> Exchange:
    wire = _wire("sagemaker")
    exchange: Exchange = wire.exchange(request, asked_model(request), wire.TERMS.accept)
    return exchange


def _has_header(request: HttpRequest, content_type: str) -> bool:
    """Whether a CSV is MLflow's."""
    if _NUMBER.match(request.body):  # no name is a number
        return False
    if not _plain(content_type) or request.headers.get("accept", "") not in _ANY:
        return False
    end = bytes(request.body[:_LINE]).find(b"\n")
    line = bytes(request.body[: end if end >= 0 else _LINE])
    return _named(line) if len(line) > _SHORT else _remembered(line)


@lru_cache(64)
def _plain(content_type: str) -> bool:
    parameters = [part.partition("=")[0].strip().lower() for part in content_type.split(";")[1:]]
    return all(name in ("charset", "") for name in parameters)


def _named(line: bytes) -> bool:
    """Whether the first line of a table is names."""
    try:
        names = next(csv.reader([line.decode("utf-8-sig", "replace").strip()]), [])
    except csv.Error:  # MLflow's reader tells what is wrong with it
        return True
    return bool(names) and all(map(_is_name, names[1:])) and (names[0] == "" or _is_name(names[0]))


_SHORT: Final = 2048
_remembered: Final = lru_cache(256)(_named)


def _is_name(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return bool(cell.strip())
    return False


ROUTES: Final = (
    Route("POST", "/invocations", _invocations, WIRE, "a prediction of the only model served", predicts=True),
    HEALTH,
    VERSION,
)
