"""A connection in miniature: pieces of bytes go in as a socket would bring them, requests come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from setsail.protocols.budget import Budget
from setsail.protocols.http1.head import Heads, Limits
from setsail.protocols.http1.reader import Reader


@dataclass
class Heard:
    """What a connection held: (method, path, body) of each request, and the code of the fault."""

    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    fault: str | None = None


def listen(pieces: Iterable[bytes], limits: Limits = Limits(), *, direct: bool = False, eof: bool = False) -> Heard:  # noqa: B008
    """Bring the pieces to a reader, into its own room with `direct`. The budget has to come back whole."""
    budget = Budget(1 << 30)
    reader, heard = Reader(Heads(limits), budget, limits), Heard()
    for piece in pieces:
        _bring(reader, piece, direct)
        while reader.messages:
            message = reader.messages.popleft()
            heard.requests.append((message.head.method, message.head.path, bytes(message.body)))
            budget.give(message.taken)
    if eof:
        reader.eof()
    heard.fault = reader.fault.code if reader.fault else None
    reader.close()
    assert budget.taken == 0
    return heard


def _bring(reader: Reader, piece: bytes, direct: bool) -> None:
    while piece and direct and (room := reader.room()) is not None:
        n = min(len(room), len(piece))
        room[:n] = piece[:n]
        reader.filled(n)
        piece = piece[n:]
    # As from a scratch buffer that the next read overwrites.
    scratch = bytearray(piece)
    reader.feed(memoryview(scratch))
    scratch[:] = b"\xff" * len(scratch)
