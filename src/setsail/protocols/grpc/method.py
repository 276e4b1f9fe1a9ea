"""One gRPC method as a row: how its messages become asks, and how answers and faults become messages and statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from setsail.catalog import Ask
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.protocols import routes

__all__ = ["EACH", "UNARY", "WATCH", "WIRE", "Exchange", "Method", "fault_metadata", "model_ref", "status_of"]

WIRE: Final = "open-inference-grpc"  # its name in metrics and docs
UNARY, EACH, WATCH = "unary", "each", "watch"
_FACTS: Final = (("retry_after", "retry-after"), ("id", "x-setsail-error-id"))


class Exchange(Struct, frozen=True):
    """What `routes.Exchange` is to HTTP: what to ask the house, and its answer as a message. `encode` may raise."""

    ask: Request | Ask
    encode: Callable[[Any], bytes]


def status_of(fault: SetsailError) -> tuple[int, str]:
    """The canonical status code and the text of a fault: the text is every wire's."""
    return fault.family.grpc, str(fault)


class Method(Struct, frozen=True):
    """A method.

    Attributes:
        path: `/package.Service/Method`.
        kind: "unary"; "each" (both sides stream: every message is a request of its own, answered in order); "watch"
            (the one answer comes at once, and again whenever the encoded answer to the same ask differs).
        decode: a message to an Exchange whose `encode` gives bytes. Raises SetsailError.
        render_fault: for "each", a fault as an answer to the message it is about, after which the stream goes on. None:
            a fault ends the call with its status.
        keyless: answered without an API key.
        model: for what runs a model, which one a message means, told before it is decoded; None where it does not show.
        wire: its name in metrics and docs.
        status: how a fault ends a call.
    """

    path: str
    kind: str
    decode: Callable[[bytes | memoryview], Exchange]
    render_fault: Callable[[SetsailError, bytes | memoryview], bytes] | None = None
    keyless: bool = False
    model: Callable[[bytes | memoryview], ModelRef | None] | None = None
    wire: str = WIRE
    status: Callable[[SetsailError], tuple[int, str]] = status_of


def fault_metadata(fault: SetsailError) -> tuple[tuple[str, str], ...]:
    """What the HTTP wires say of a fault in headers, as trailing metadata."""
    facts = tuple((key, str(fault.facts[fact])) for fact, key in _FACTS if fact in fault.facts)
    return (("x-setsail-error", fault.code), *facts)


def model_ref(name: str, version: str) -> ModelRef:
    """The model a message means. A version that is no positive integer is one that does not exist: `model.version`."""
    if not version:
        return ModelRef(name)
    return routes.model_ref({"model": name, "version": version})
