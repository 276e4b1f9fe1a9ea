"""The servers that speak the protocol, where they differ: one row each.

The protocol leaves open with which status a fault comes and whether health is told in a body, and its servers have
decided each for itself. What is not in a row is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply, error_reply
from setsail.protocols.routes import Wire
from setsail.protocols.values import dump

__all__ = ["KSERVE", "MLSERVER", "OURS", "TRITON", "WIRE", "Dialect"]


class Dialect(Struct, frozen=True):
    """How one server speaks.

    Attributes:
        bare: health, and that a model was loaded or unloaded, are told by the status alone.
        not_ready: the status of a server or model that is not.
        lenient: a model that nobody knows is not ready, rather than not found.
        versions: False: a path that names a version is refused.
        any_name: the one input of a model is taken by any name.
    """

    wire: Wire
    bare: bool = False
    not_ready: int = 503
    lenient: bool = False
    versions: bool = True
    any_name: bool = False


def render_error(error: SetsailError) -> HttpReply:
    return error_reply(error, dump({"error": str(error)}))


def _renderer(statuses: Mapping[str, int]) -> Callable[[SetsailError], HttpReply]:
    """The same with other statuses for some codes or families."""

    def render(error: SetsailError) -> HttpReply:
        reply = render_error(error)
        status = statuses.get(error.code) or statuses.get(error.kind.family)
        return replace(reply, status=status) if status else reply

    return render


def _wire(statuses: Mapping[str, int]) -> Wire:
    return Wire(_NAME, _TITLE, _PAGE, _renderer(statuses) if statuses else render_error)


_NAME, _TITLE, _PAGE = "open-inference", "Open Inference Protocol v2", "docs/wires/open-inference.md"
# Triton knows eleven faults; a full queue and a time-out in it are UNAVAILABLE, and what is too large INVALID_ARG.
_TRITON: Final = {
    "exhausted": 503, "deadline": 503, "storage": 503,
    **dict.fromkeys(("too_large", "media_type", "expectation", "conflict", "cancelled"), 400),
}  # fmt: skip
# FastAPI refuses what is not of a request's form before MLServer sees it.
_MLSERVER: Final = {"request.json": 422, "request.form": 422, "model.not_ready": 400}

WIRE: Final = _wire({})
OURS: Final = Dialect(WIRE)
TRITON: Final = Dialect(_wire(_TRITON), bare=True, not_ready=400, lenient=True)
KSERVE: Final = Dialect(WIRE, versions=False, any_name=True)
MLSERVER: Final = Dialect(_wire(_MLSERVER), bare=True, not_ready=400, any_name=True)
