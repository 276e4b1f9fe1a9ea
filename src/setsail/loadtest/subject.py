"""Who is measured, with which requests."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct

from setsail.loadtest.inputs import Inputs, cut
from setsail.loadtest.orders import Target
from setsail.loadtest.targets import Place
from setsail.loadtest.wires import Piece, Wire, http_request
from setsail.signature import Signature

__all__ = ["Subject", "requests", "target_of"]

_DISTINCT, _DISTINCT_BYTES = 64, 32 << 20  # requests that are sent in turn, and their bytes at most
_BATCH, _BATCH_BYTES = 128, 4 << 20  # an offline request's rows and, nearly, bytes at most


class Subject(Struct, frozen=True):
    """Who is measured, and with what. `pid` and `command` are of a server that was started for it.

    `asked`: the name of the signature that is measured, "" for the default one.
    """

    place: Place
    signature: Signature
    inputs: Inputs
    headers: Mapping[str, str] = {}
    pid: int | None = None
    command: str = ""
    workers: int = 0
    asked: str = ""


def requests(subject: Subject, wire: Wire) -> tuple[list[bytes], list[bytes], int]:
    """Requests of one row, requests of many (none without a batch dimension), and how many rows those have."""
    place, specs = subject.place, subject.signature.inputs
    path = wire.path.format(model=quote(place.model))

    def make(piece: Piece) -> bytes:
        body, headers = wire.body(place.model, specs, piece, subject.asked)
        if wire.channel == "grpc":
            return body
        return http_request(path, place.authority, {**headers, **subject.headers}, body)

    (first,) = (make(piece) for piece in cut(subject.inputs, 1, 1))
    most = max(1, min(_DISTINCT, _DISTINCT_BYTES // len(first)))
    singles = [make(piece) for piece in cut(subject.inputs, 1, most)]
    if not subject.inputs.count:
        return singles, [], 0
    size = max(1, min(_BATCH, _BATCH_BYTES // max(map(len, singles))))
    return singles, [make(piece) for piece in cut(subject.inputs, size, 4)], size


def target_of(subject: Subject, wire: Wire, requests: list[bytes]) -> Target:
    place = subject.place
    return Target(
        wire.channel, place.host, place.port, place.tls, requests, wire.path if wire.channel == "grpc" else "",
        [(name.lower(), value) for name, value in subject.headers.items()],
    )  # fmt: skip
