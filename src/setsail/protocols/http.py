"""HTTP messages as values: what a server hands to a wire and gets back. No sockets here.

`path` is percent-decoded and without the prefix an application is mounted under; header names are lower-case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from setsail.errors import SetsailError

__all__ = ["JSON", "JSON_HEADERS", "HttpReply", "HttpRequest", "error_reply"]

JSON: Final = "application/json"
JSON_HEADERS: Final = (("content-type", JSON),)  # one object, so that a server may remember what it becomes on its wire
_FACTS: Final = (
    ("allow", "allow"),  # RFC 9110 §15.5.6
    ("accept_encoding", "accept-encoding"),  # §12.5.3
    ("challenge", "www-authenticate"),  # §11.6.1
    ("retry_after", "retry-after"),  # §10.2.3, seconds
    ("id", "x-setsail-error-id"),
)


class HttpRequest(Struct, frozen=True):
    """One request, its body already complete and decompressed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


class HttpReply(Struct, frozen=True):
    """One answer. The server adds Content-Length.

    `id` is told as `x-request-id`. It is apart from the headers, because servers remember what those become on the
    wire, and no two replies have one id.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    id: str = ""

    def plus(self, headers: tuple[tuple[str, str], ...]) -> HttpReply:
        """The same with more headers."""
        return HttpReply(self.status, self.body, (*self.headers, *headers), self.id)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """All headers, the id among them."""
        return (*self.headers, ("x-request-id", self.id)) if self.id else self.headers


def error_reply(error: SetsailError, body: bytes) -> HttpReply:
    """A wire's JSON body for an error, with the headers every wire sends.

    `x-setsail-error` is the code; others come from the error's facts, such as the id the log has the details under.
    """
    headers = [("content-type", JSON), ("x-setsail-error", error.code)]
    headers += [(header, str(error.facts[fact])) for fact, header in _FACTS if fact in error.facts]
    return HttpReply(error.family.http, body, tuple(headers))
