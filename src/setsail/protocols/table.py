"""Every path a client may use: the one table that routing, documentation and tests read.

A wire owns its prefix, so that an error has the wire's own shape even where no route matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols import open_inference, plain, tf_serving
from setsail.protocols.http import HttpRequest
from setsail.protocols.routes import Exchange, Params, Route, Wire

__all__ = ["ROUTES", "WIRES", "Match", "allowed", "find", "route", "wire_of"]

WIRES: Final = (open_inference.WIRE, tf_serving.WIRE, plain.WIRE)
ROUTES: Final = (*open_inference.ROUTES, *tf_serving.ROUTES, *plain.ROUTES)
# A part in braces matches no slash, and every first part is literal: few routes are left to try for a path.
_Key = tuple[int, str]
_PREFIXES: Final = (("/v2", open_inference.WIRE), ("/v1", tf_serving.WIRE))


def _key(path: str) -> _Key:
    return path.count("/"), path[1:].partition("/")[0]


_INDEX: Final[Mapping[_Key, tuple[Route, ...]]] = {
    key: tuple(r for r in ROUTES if _key(r.pattern) == key) for key in {_key(r.pattern) for r in ROUTES}
}


class Match(Struct, frozen=True):
    """A route and the parts of the path it names. Nothing of the body is read yet."""

    route: Route
    params: Params

    def decode(self, request: HttpRequest) -> Exchange:
        return self.route.decode(request, self.params)


def wire_of(path: str) -> Wire:
    """The wire in whose shape an error at this path is told."""
    return next((wire for prefix, wire in _PREFIXES if path == prefix or path.startswith(prefix + "/")), plain.WIRE)


def allowed(path: str) -> tuple[str, ...]:
    """The methods of a path, for `Allow`; empty where nothing answers."""
    methods = {r.method for r in _INDEX.get(_key(path), ()) if r.regex.fullmatch(path)}
    return (*sorted(methods), *(("HEAD",) if "GET" in methods else ()), *(("OPTIONS",) if methods else ()))


def find(method: str, path: str) -> Match:
    """The first route that fits. HEAD is answered as GET; the server leaves the body out.

    Raises:
        SetsailError: `request.path`, or `request.method` with the fact `allow`.
    """
    wanted = "GET" if method == "HEAD" else method
    for row in _INDEX.get(_key(path), ()):
        if row.method == wanted and (match := row.regex.fullmatch(path)):
            return Match(row, match.groupdict())
    methods = allowed(path)
    if not methods:
        raise SetsailError("request.path", "no wire answers here", field="path", value=path)
    allow = ", ".join(methods)
    raise SetsailError(
        "request.method", f"{path} does not take {method}", field="method", value=method, expected=allow, allow=allow
    )


def route(request: HttpRequest) -> Exchange:
    """A whole request to what it asks. Raises what `find` and the wire's decoder raise."""
    return find(request.method, request.path).decode(request)
