"""What the measuring process and the driving one say to each other, over pipes: length, then MessagePack."""

from __future__ import annotations

import struct
from typing import IO, Any, Final

import msgspec
from msgspec import Struct, field

__all__ = ["Answer", "Began", "Order", "Outcome", "Progress", "Target", "receive", "send"]

_LENGTH: Final = struct.Struct(">I")


class Target(Struct, frozen=True, tag=True):
    """Whom to ask, and how.

    Attributes:
        channel: "http", or "grpc" by way of grpcio.
        method: gRPC's full method name.
        metadata: gRPC's headers; HTTP's are in the requests' bytes.
        requests: whole requests as bytes: HTTP's with their heads, gRPC's messages.
    """

    channel: str
    host: str
    port: int
    tls: bool
    requests: list[bytes]
    method: str = ""
    metadata: list[tuple[str, str]] = []


class Order(Struct, frozen=True, tag=True):
    """What to measure.

    Attributes:
        kind: "ask" (each request once, in order, answers wanted), "closed" or "open".
        first, count: which of the target's requests.
        clients: connections; in an open loop the most of them.
        warm: seconds of the same load before the clock begins.
        times: float64: when requests of an open loop arrive, in seconds since the beginning.
        timeout: seconds that the last answers get when time is up.
    """

    kind: str
    first: int
    count: int
    clients: int = 1
    seconds: float = 0.0
    warm: float = 0.0
    times: bytes = b""
    timeout: float = 10.0


class Answer(Struct, frozen=True):
    """One answer. `code` is "200" or "OK" where all is well."""

    request: int
    code: str
    headers: dict[str, str]
    body: bytes


class Began(Struct, frozen=True, tag=True):
    """The clock has begun."""


class Progress(Struct, frozen=True, tag=True):
    fraction: float
    answered: int


class Outcome(Struct, frozen=True, tag=True):
    """What was measured.

    Attributes:
        seconds: how long the clock ran.
        latencies: float64 seconds of every good answer.
        in_time: good answers that came while the clock ran.
        errors: how many of each code.
        client_cpu: CPU time of the driving process as a share of one core.
        client_wait: the share of the time that it could have run but had no core (Linux).
        compared: how many answers were held against the first one to the same request.
        differing: of those, some whose bytes are not equal.
        lag: float64 seconds by which requests of an open loop left late though a connection was free.
        cut: it was interrupted.
    """

    seconds: float
    latencies: bytes = b""
    in_time: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    client_cpu: float = 0.0
    client_wait: float = 0.0
    compared: int = 0
    differing: list[Answer] = []
    answers: list[Answer] = []
    lag: bytes = b""
    cut: bool = False
    fault: str = ""


Message = Target | Order | Began | Progress | Outcome
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode


def send(pipe: IO[bytes], message: Message) -> None:
    data = _encode(message)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message, or None at the end of the pipe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    return _decode(data) if len(data) == length else None
