"""What every message of TensorFlow Serving's begins with, and how its calls end with a fault."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols import routes
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.tf_serving.wire import told
from setsail.signature import DEFAULT

__all__ = ["WIRE", "model_ref", "named", "signature", "status"]

WIRE: Final = "tf-serving-grpc"
_SPEC: Final = 0x0A  # tag of the field 1 of every request, but those of several tasks
_STATUSES: Final[Mapping[str, int]] = {
    "model.signature": 9,  # FAILED_PRECONDITION
    "model.not_ready": 5,  # NOT_FOUND: the original knows a version only while it is ready
    "model.failed": 5,
}


def status(fault: SetsailError) -> tuple[int, str]:
    """The canonical status code and the text of a fault."""
    return _STATUSES.get(fault.code, fault.family.grpc), told(fault)


def model_ref(spec: Any) -> ModelRef:
    """The model that a ModelSpec means. Raises `request.form` without a name, `model.version` for 0 and below."""
    if not spec.name:
        raise SetsailError("request.form", "the request names no model", field="model_spec.name", expected="a name")
    if spec.HasField("version"):
        return routes.model_ref({"model": spec.name, "version": str(spec.version.value)})
    return ModelRef(spec.name, label=spec.version_label or None)


def signature(spec: Any) -> str:
    return spec.signature_name or DEFAULT


def named(data: bytes | memoryview) -> ModelRef | None:
    """The model that a message names where its spec comes first; None for any other, which says so when it is read.

    Nobody may conclude more from it than whether that model takes requests at this moment.
    """
    if len(data) < 2 or data[0] != _SPEC or data[1] > 0x7F:
        return None
    return _named(bytes(data[2 : 2 + data[1]]))


@lru_cache(1024)
def _named(spec: bytes) -> ModelRef | None:
    try:
        return model_ref(parse(message("tensorflow.serving.ModelSpec"), spec))
    except SetsailError:
        return None
