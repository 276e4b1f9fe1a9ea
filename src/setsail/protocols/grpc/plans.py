"""What the header block of a request means: a gRPC call of a method, a plain request, or a fault.

It follows from the block alone, so it is worked out once and kept with the decoded block (`Head.plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols.grpc.framing import ENCODINGS
from setsail.protocols.grpc.method import UNARY, Method
from setsail.protocols.grpc.status import seconds
from setsail.protocols.http1.head import read_target
from setsail.protocols.http2.fields import Head
from setsail.protocols.http2.streams import Limits

__all__ = ["Plan", "plan_of", "too_large"]


class Plan(Struct):
    """What a header block means. `notes` is the server's: it is None until the server sets it, once a block.

    Attributes:
        method: None when the request is not gRPC.
        timeout: seconds that the client waits, None for ever.
        simple: a unary call without a fault: what most requests are.
        fault: why it is refused before its body.
    """

    method: Method | None
    head: Head
    path: str = ""
    query: str = ""
    timeout: float | None = None
    encoding: str = "identity"
    takes_gzip: bool = False
    simple: bool = False
    fault: SetsailError | None = None
    notes: Any = None


def plan_of(head: Head, limits: Limits, methods: Mapping[str, Method]) -> Plan:
    """The plan of a header block that has none yet. A fault is part of it: nothing is raised."""
    kind = head.headers.get("content-type", "")
    path, _, _ = head.path.partition("?")
    try:
        _check_head(head, limits)
        grpc = _is_grpc(kind)
        plan = _grpc_plan(head, path, kind, methods) if grpc else _plain_plan(head, path, limits, methods)
    except SetsailError as fault:
        method = _refused(path, methods) if _is_grpc(kind) else None
        plan = Plan(method, head, path, fault=fault.kept())
    head.plan = plan
    return plan


def _grpc_plan(head: Head, path: str, kind: str, methods: Mapping[str, Method]) -> Plan:
    headers = head.headers
    suffix = kind[len("application/grpc") :].partition(";")[0].strip().lower()
    method = methods.get(path)
    if head.method != "POST" or method is None:
        raise SetsailError("request.unsupported", "there is no such gRPC method", field=":path", value=path)
    if suffix not in ("", "+proto"):
        raise SetsailError(
            "request.media_type", "the messages are not protobuf", field="content-type", value=kind,
            expected="application/grpc",
        )  # fmt: skip
    encoding = headers.get("grpc-encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise SetsailError(
            "request.encoding", "the messages' encoding is not one we decode", field="grpc-encoding",
            value=encoding, expected=" or ".join(ENCODINGS),
        )  # fmt: skip
    timeout = headers.get("grpc-timeout")
    takes = [part.strip() for part in headers.get("grpc-accept-encoding", "").lower().split(",")]
    return Plan(
        method, head, path, "", None if timeout is None else seconds(timeout), encoding, "gzip" in takes,
        method.kind == UNARY,
    )  # fmt: skip


def _plain_plan(head: Head, path: str, limits: Limits, methods: Mapping[str, Method]) -> Plan:
    if path in methods:
        raise SetsailError(
            "request.media_type", "this path is a gRPC method", field="content-type",
            value=head.headers.get("content-type", ""), expected="application/grpc",
        )  # fmt: skip
    if head.method == "CONNECT":
        raise SetsailError("request.unsupported", "this server is no proxy", field=":method", value="CONNECT")
    if head.length > limits.message:
        raise too_large(limits.message)
    expect = head.headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise SetsailError(
            "request.expectation", "the expectation is unknown", field="expect", value=expect,
            expected="100-continue",
        )  # fmt: skip
    head.headers.setdefault("host", head.authority)
    decoded, query = read_target(head.path, head.method)
    return Plan(None, head, decoded, query)


def _is_grpc(kind: str) -> bool:
    """`application/grpc`, alone, with a format (`+proto`) or parameters; `application/grpc-web` is another protocol."""
    return kind[:16].lower() == "application/grpc" and (len(kind) == 16 or kind[16] in "+; ")


def _check_head(head: Head, limits: Limits) -> None:
    if len(head.pairs) > limits.headers:
        raise SetsailError(
            "request.head_too_large", "the request has too many headers", value=len(head.pairs),
            expected=f"at most {limits.headers}",
        )  # fmt: skip


def _refused(path: str, methods: Mapping[str, Method]) -> Method:
    """What a call is taken for that is refused before its message: counted, and ended, as its wire does."""
    known = methods.get(path)
    if known is None:
        return Method(path, UNARY, _never)
    return Method(path, UNARY, _never, wire=known.wire, status=known.status)


def _never(message: bytes | memoryview) -> Any:
    raise AssertionError("a call that was refused has no message")


def too_large(limit: int) -> SetsailError:
    return SetsailError(
        "request.too_large", "the body is larger than the limit", field="body", expected=f"at most {limit} bytes"
    )
