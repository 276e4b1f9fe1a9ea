"""What the routes give that predict nothing: status, metadata, health, the repository. One row a shape.

A row is for the routes of a wire whose pattern ends as its expression says; the first that fits is taken.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from setsail.catalog import STATES
from setsail.protocols.openapi.tensors import Schema, array, record, text

__all__ = ["Answer", "answer"]


class Answer(NamedTuple):
    """Bodies of one route; `statuses` beside 200 are answered with the same schema. None is a body that is no JSON."""

    wire: str
    method: str
    pattern: str  # a regular expression, matched at the pattern's end
    schema: Schema | None
    statuses: tuple[int, ...] = ()
    request: Schema | None = None


_YES: Final[Schema] = {"type": "boolean"}
_NAMES: Final = record({"models": array(text())})
_NUMBER_TEXT: Final = text("int64 as text, as protobuf writes it", pattern="^[0-9]+$")

_TF_STATUS: Final = record({
    "version": _NUMBER_TEXT,
    "state": {"enum": sorted({state.tf for state in STATES.values()})},
    "status": record({"error_code": text(), "error_message": text()}),
})  # fmt: skip
_TF_DIM: Final = record({"size": text("-1 is any size", pattern="^-?[0-9]+$"), "name": text()})
_TF_TENSOR: Final = record({
    "dtype": text(pattern="^DT_"),
    "tensor_shape": record({"dim": array(_TF_DIM), "unknown_rank": _YES}),
    "name": text(),
})  # fmt: skip
_TF_TENSORS: Final[Schema] = {"type": "object", "additionalProperties": _TF_TENSOR}
_TF_SIGNATURE: Final = record(
    {"inputs": _TF_TENSORS, "outputs": _TF_TENSORS, "method_name": text(), "defaults": {"type": "object"}}
)
_TF_METADATA: Final = record({
    "model_spec": record({"name": text(), "signature_name": text(), "version": _NUMBER_TEXT}),
    "metadata": record({
        "signature_def": record({"signature_def": {"type": "object", "additionalProperties": _TF_SIGNATURE}})
    }),
})  # fmt: skip

_OIP_TENSOR: Final = record({"name": text(), "datatype": text(), "shape": array({"type": "integer"})}, exact=False)
_OIP_METADATA: Final = record(
    {"name": text(), "versions": array(text()), "platform": text(), "inputs": array(_OIP_TENSOR),
     "outputs": array(_OIP_TENSOR), "properties": {"type": "object"}},
    "properties", exact=False,
)  # fmt: skip
_OIP_ENTRY: Final = record({
    "name": text(), "version": text(), "state": {"enum": sorted({state.oip for state in STATES.values()})},
    "reason": text(),
})  # fmt: skip
_LABEL: Final = record({"id": text(), "label": {}})
_PARAMETERS: Final = record({"parameters": {"type": "object"}}, "parameters", exact=False)
_VERSIONED: Final = r"/v2/models/\{model\}(/versions/\{version\})?"
_V1: Final = r"/v1/models/\{model\}(/versions/\{version\}|/labels/\{label\})?"
_OBJECT: Final[Schema] = {"type": "object"}
_STATISTICS: Final = record({"model_stats": array(_OBJECT)})

ROWS: Final = (
    Answer("tf-serving", "GET", r"^/", record({"status": {"const": "alive"}})),
    Answer("tf-serving", "GET", r"^/v1/models", _NAMES),
    Answer(
        "tf-serving", "GET", _V1,
        record({"name": text(), "ready": _YES, "model_version_status": array(_TF_STATUS)}), (503,),
    ),
    Answer("tf-serving", "GET", _V1 + "/metadata", _TF_METADATA),
    Answer(
        "open-inference", "GET", r"^/v2",
        record({"name": text(), "version": text(), "extensions": array(text())}),
    ),
    Answer("open-inference", "GET", r"^/v2/health/live", record({"live": _YES})),
    Answer("open-inference", "GET", r"^/v2/health/ready", record({"ready": _YES}), (503,)),
    Answer("open-inference", "GET", r"^/v2/models", _NAMES),
    Answer("open-inference", "GET", r"^/v2/models(/\{model\}(/versions/\{version\})?)?/stats", _STATISTICS),
    Answer("open-inference", "GET", _VERSIONED + "/config", _OBJECT),
    Answer("open-inference", "GET", _VERSIONED, _OIP_METADATA),
    Answer("open-inference", "GET", _VERSIONED + "/ready", record({"name": text(), "ready": _YES}), (503,)),
    Answer(
        "open-inference", "POST", r"^/v2/repository/index", array(_OIP_ENTRY),
        request=record({"ready": _YES}, "ready", exact=False),
    ),
    Answer(
        "plain", "POST", r"/feedback",
        record({"results": {"type": "object", "additionalProperties": {"type": "integer"}},
                "not_joined": {"type": "object", "additionalProperties": text()}}),
        request={"anyOf": [_LABEL, array(_LABEL), record({"ids": array(text()), "labels": array({})})]},
    ),
    Answer("open-inference", "POST", r"/load", record({"name": text(), "load": _YES}), request=_PARAMETERS),
    Answer("open-inference", "POST", r"/unload", record({"name": text(), "unload": _YES}), request=_PARAMETERS),
    Answer("mlflow", "GET", r"^/(ping|health)", None, (404,)),  # a line's end, which calls itself JSON
    Answer("mlflow", "GET", r"^/version", None),  # a number with two points, which does too
    Answer("torchserve", "GET", r"^/ping", record({"status": {"enum": ["Healthy", "Unhealthy"]}}), (500,)),
    Answer("torchserve", "GET", r"^/api-description", _OBJECT),
    Answer("torchserve", "OPTIONS", r"^/predictions/.*", _OBJECT),
)  # fmt: skip


def answer(wire: str, method: str, pattern: str) -> Answer | None:
    """The row of a route; None where what it gives is not said."""
    rows = (row for row in ROWS if row.wire == wire and row.method == method)
    return next((row for row in rows if re.search(row.pattern + "$", pattern)), None)
