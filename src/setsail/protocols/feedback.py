"""Labels that come back: `POST /v1/models/{model}/feedback` (docs/watching.md).

`{"id": "r1", "label": 1}` of one request, or `{"ids": […], "labels": […]}`, or a list of the first. The label of a
request of several rows is a list. The id is what the request was sent with: `X-Request-Id`, or the `id` of the Open
Inference Protocol; answers repeat it.
"""

from __future__ import annotations

from typing import Any, Final

from setsail.catalog import Feedback, Label
from setsail.errors import SetsailError
from setsail.protocols.http import JSON_HEADERS, HttpReply, HttpRequest
from setsail.protocols.plain import WIRE
from setsail.protocols.routes import Exchange, Params, Route, model_ref
from setsail.protocols.values import dump, parse

__all__ = ["ROUTES"]

_MOST: Final = 10_000  # labels of one message
_EXPECTED: Final = '{"id": "…", "label": …}, a list of such, or {"ids": […], "labels": […]}'


def _feedback(request: HttpRequest, params: Params) -> Exchange:
    labels = _labels(parse(request.body))
    if len(labels) > _MOST:
        raise SetsailError("request.form", "too many labels in one message", field="ids", value=len(labels),
                           expected=f"at most {_MOST}")  # fmt: skip
    model = model_ref(params)
    return Exchange(Feedback(model.name, tuple(labels), model.version), lambda told: _answer(labels, told))


def _labels(body: Any) -> list[Label]:
    if isinstance(body, dict) and body.keys() == {"ids", "labels"}:
        ids, labels = body["ids"], body["labels"]
        if not isinstance(ids, list) or not isinstance(labels, list) or len(ids) != len(labels):
            raise SetsailError("request.form", "there is not one label for each id", field="labels", expected=_EXPECTED)
        return [_label(key, label) for key, label in zip(ids, labels, strict=True)]
    items = body if isinstance(body, list) else [body]
    if not items or any(not isinstance(item, dict) or item.keys() != {"id", "label"} for item in items):
        raise SetsailError("request.form", "the body is no feedback", value=body, expected=_EXPECTED)
    return [_label(item["id"], item["label"]) for item in items]


def _label(key: Any, label: Any) -> Label:
    if not isinstance(key, str) or not key:
        raise SetsailError("request.form", "an id is no text", field="id", value=key, expected=_EXPECTED)
    for one in label if isinstance(label, list) else [label]:
        if not isinstance(one, str | int | float | bool):
            raise SetsailError("request.form", "a label is no value", field="label", value=one,
                               expected="a text, a number, true or false; or a list of them")  # fmt: skip
    return Label(key, label)


def _answer(labels: list[Label], told: tuple[str, ...]) -> HttpReply:
    """How many of each, and those that were not joined by their ids."""
    counts = {result: told.count(result) for result in sorted(set(told))}
    rest = {label.id: result for label, result in zip(labels, told, strict=True) if result != "joined"}
    return HttpReply(200, dump({"results": counts, "not_joined": rest}), JSON_HEADERS)


ROUTES: Final = (
    Route("POST", "/v1/models/{model}/feedback", _feedback, WIRE, "labels of earlier predictions"),
    Route("POST", "/v1/models/{model}/versions/{version}/feedback", _feedback, WIRE, "labels of one version's"),
)
