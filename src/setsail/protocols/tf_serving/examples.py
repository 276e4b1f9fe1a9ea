"""`:classify` and `:regress`: rows as tf.Examples in JSON, each an object of features.

The original turns them into serialized tf.Examples, whose floats have 32 bits; here a number keeps the digits it came
with, and true stays true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.messages import Columns, Request, Response
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.tf_serving.predict import decode_b64
from setsail.protocols.tf_serving.results import classes, regressed
from setsail.protocols.tf_serving.wire import answered
from setsail.protocols.values import array_json, dump, parse_first
from setsail.signature import DEFAULT

__all__ = ["classify", "columns", "regress"]

Features = Mapping[str, Sequence[Any]]


def classify(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(_asked(request, params), _classified)


def regress(request: HttpRequest, params: Params) -> Exchange:
    return Exchange(
        _asked(request, params), lambda answer: answered(b'{"results":', array_json(regressed(answer)), b"}")
    )


def _classified(response: Response) -> HttpReply:
    labels, scores = classes(response)
    if scores is None:
        return answered(b'{"results":', dump([[[label, 0.0] for label in row] for row in labels]), b"}")
    if not scores.size:
        return answered(b'{"results":', dump([[] for _ in labels]), b"}")
    told = (line.split(b",") for line in array_json(scores)[2:-2].split(b"],["))
    rows = [
        b"[" + b",".join(b"[%s,%s]" % (dump(label), score) for label, score in zip(row, line, strict=True)) + b"]"
        for row, line in zip(labels, told, strict=True)
    ]
    return answered(b'{"results":[', b",".join(rows), b"]}")


# -- the request -------------------------------------------------------------------------------------------------------


def _asked(request: HttpRequest, params: Params) -> Request:
    body = parse_first(request.body)
    examples = body.get("examples") if isinstance(body, dict) else None
    if not isinstance(examples, list):
        raise _form("the body has no list of examples", "examples", examples, '{"examples": [{feature: value, …}, …]}')
    signature = body.get("signature_name", DEFAULT)
    if not isinstance(signature, str):
        raise _form("signature_name is no text", "signature_name", signature, "a name")
    context = _features("context", body["context"]) if "context" in body else {}
    rows = [{**context, **_features(f"examples[{index}]", value)} for index, value in enumerate(examples)]
    return Request(model_ref(params), columns(rows), None, signature)


def columns(rows: Sequence[Features]) -> Columns:
    """Examples as columns; one that lacks a feature of another has a missing value there. What is unknown is ignored.

    Raises:
        SetsailError: `input.empty` without examples.
    """
    if not rows:
        raise SetsailError("input.empty", "the request has no examples", field="examples", expected="at least one")
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns({name: [row.get(name) or [None] for row in rows] for name in names}, True)


def _features(where: str, value: Any) -> Features:
    if not isinstance(value, dict):
        raise _form(f"{where} is no object", where, value, "{feature: value or list of values, …}")
    return {name: _feature(f"{where}.{name}", values) for name, values in value.items()}


_KINDS: Final[Mapping[type, str]] = {bool: "int64", int: "int64", float: "float", str: "bytes", bytes: "bytes"}


def _feature(where: str, value: Any) -> list[Any]:
    """One feature: a value, or a flat list of values of one kind."""
    value = decode_b64(value)
    values = value if isinstance(value, list) else [value]
    kinds = {_KINDS.get(type(v)) for v in values}
    if None in kinds or len(kinds) > 1:
        raise _form(f"feature {where} is no value and no flat list of values of one kind", where, value,
                    "numbers with a point, or integers, or texts")  # fmt: skip
    return values


def _form(what: str, field: str, value: Any, expected: str) -> SetsailError:
    return SetsailError("request.form", what, field=field, value=value, expected=expected)
