"""How a gRPC call ends: statuses as trailers, time-outs as headers (gRPC over HTTP/2, "PROTOCOL-HTTP2")."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.grpc.method import fault_metadata, status_of
from setsail.protocols.http2.fields import encode

__all__ = ["OK", "fault_trailers", "percent_encoded", "seconds", "trailers"]

_UNSAFE: Final = re.compile(rb"[^ -$&-~]")  # everything but printable ASCII without '%'
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_LONGEST: Final = 1000  # octets of a message: header lists are small, and clients refuse larger ones
OK: Final = encode([("grpc-status", "0")])


def trailers(status: int, text: str = "", metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A block of trailers."""
    if not status and not text and not metadata:
        return OK
    pairs = [("grpc-status", str(status))]
    if text:
        pairs.append(("grpc-message", percent_encoded(text)))
    return encode([*pairs, *metadata])


def fault_trailers(fault: SetsailError, status_of: Callable[[SetsailError], tuple[int, str]] = status_of) -> bytes:
    """What every wire says of a fault: its text, its code, the id the log has it under, when to try again."""
    status, text = status_of(fault)
    metadata = fault_metadata(fault)
    if "retry_after" in fault.facts:
        metadata = (*metadata, ("grpc-retry-pushback-ms", str(int(fault.facts["retry_after"] * 1000))))
    return trailers(status, text, metadata)


def percent_encoded(text: str) -> str:
    """A `grpc-message`."""
    octets = text.encode("utf-8", "replace")[:_LONGEST]
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], octets).decode("ascii")


def seconds(timeout: str) -> float:
    """A `grpc-timeout`. Raises `request.malformed`."""
    found = _TIMEOUT(timeout)
    if found is None:
        raise SetsailError(
            "request.malformed", "the time-out cannot be read", field="grpc-timeout", value=timeout,
            expected="up to eight digits and one of H M S m u n",
        )  # fmt: skip
    return int(found[1]) * _UNITS[found[2]]
