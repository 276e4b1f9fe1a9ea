"""HTTP messages as values: what a server hands to a wire and gets back. No sockets here.

`path` is percent-decoded and without the prefix an application is mounted under; header names are lower-case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from setsail.errors import SetsailError

__all__ = ["JSON", "HttpReply", "HttpRequest", "error_reply"]

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body already complete and decompressed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One answer. The server adds Content-Length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def error_reply(error: SetsailError, body: bytes) -> HttpReply:
    """A wire's JSON body for an error, with the headers every wire sends.

    `x-setsail-error` is the code. `allow` and `accept-encoding` (RFC 9110 §15.5.6, §12.5.3) and the id under which
    the log has the details come from the error's facts.
    """
    headers = [("content-type", JSON), ("x-setsail-error", error.code)]
    for fact, header in (("allow", "allow"), ("accept_encoding", "accept-encoding"), ("id", "x-setsail-error-id")):
        if fact in error.facts:
            headers.append((header, str(error.facts[fact])))
    return HttpReply(error.family.http, body, tuple(headers))
