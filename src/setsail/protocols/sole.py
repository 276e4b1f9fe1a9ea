"""Which model a path without a name means: the only one served, unless the request says another.

MLflow and SageMaker have one model behind `/invocations`. With several, a client names it: `?model_name=` (and
`model_version`) as TorchServe's path of this name takes it, or the header by which SageMaker's clients name a target.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from setsail.messages import ModelRef
from setsail.protocols.http import HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.routes import model_ref

__all__ = ["TARGET", "asked_model"]

TARGET: Final = "x-amzn-sagemaker-target-model"
_SOLE: Final = ModelRef(ONLY_MODEL)


def asked_model(request: HttpRequest) -> ModelRef:
    """The model meant. Raises `model.version` for a version that is no positive integer."""
    if request.query:
        asked = dict(parse_qsl(request.query))
        if "model_name" in asked:
            named = {"model": asked["model_name"]}
            return model_ref(named | ({"version": asked["model_version"]} if "model_version" in asked else {}))
    target = request.headers.get(TARGET)
    return _SOLE if target is None else ModelRef(target.removesuffix(".tar.gz"))
