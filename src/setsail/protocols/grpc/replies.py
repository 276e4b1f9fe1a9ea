"""The header block of a plain HTTP reply over HTTP/2; statuses and headers repeat, so their part is rendered once."""

from __future__ import annotations

import re
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.http import HttpReply
from setsail.protocols.http2.fields import encode, encode_status

__all__ = ["reply_block"]

_OF_HTTP_1: Final = frozenset(("connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade"))
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_VALUE: Final = re.compile(r"[\t !-~\x80-\xff]*").fullmatch
_KEPT: Final = 512
_prefixes: dict[tuple[int, tuple[tuple[str, str], ...]], bytes] = {}


def reply_block(reply: HttpReply, date: bytes) -> bytes:
    """Raises `server.fault` for a header that a client would read as something else."""
    block = _prefixes.get((reply.status, reply.headers)) or _prefix(reply)
    own = [_pair("x-request-id", reply.id)] if reply.id else []
    block += encode([*own, ("date", date.decode("ascii"))])
    if reply.status in (204, 304):
        return block
    return block + encode([("content-length", str(len(reply.body)))])


def _prefix(reply: HttpReply) -> bytes:
    pairs = [_pair(name, value) for name, value in reply.headers]
    block = encode_status(reply.status) + encode([pair for pair in pairs if pair[0] not in _OF_HTTP_1])
    if len(_prefixes) >= _KEPT:
        _prefixes.clear()
    _prefixes[reply.status, reply.headers] = block
    return block


def _pair(name: str, value: str) -> tuple[str, str]:
    lower, stripped = name.lower(), value.strip()
    if not _NAME(lower) or not _VALUE(stripped):
        raise SetsailError(
            "server.fault", "a reply's header is none", field=name, value=value, expected="one line of text"
        )
    return lower, stripped
