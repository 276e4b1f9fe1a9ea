"""Every path a client may use: the one table that routing, documentation and tests read.

A wire owns its prefix, so that an error has the wire's own shape even where no route matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols import feedback, graphpipe, invocations, open_inference, plain, tf_serving
from setsail.protocols.http import HttpRequest
from setsail.protocols.routes import Exchange, Params, Route, Wire
from setsail.protocols.torchserve import inference as torchserve

__all__ = ["DATA", "Match", "Table"]


class Match(Struct, frozen=True):
    """A route and the parts of the path it names. Nothing of the body is read yet."""

    route: Route
    params: Params

    def decode(self, request: HttpRequest) -> Exchange:
        return self.route.decode(request, self.params)


class Table:
    """The paths of one port.

    A part in braces matches no slash, and the first part of a pattern is literal or tried last: few routes are left to
    try for a path.

    Args:
        routes: of two that fit a request, the first is taken.
        prefixes: which wire owns what is under them; the first that fits.
        other: the wire that owns everything else.
    """

    def __init__(self, routes: Sequence[Route], prefixes: Sequence[tuple[str, Wire]], other: Wire) -> None:
        self.routes = tuple(routes)
        self.wires = tuple(dict.fromkeys(row.wire for row in routes))
        self._prefixes, self._other = tuple(prefixes), other
        self._anywhere = tuple(row for row in routes if row.anywhere)
        placed = [row for row in routes if not row.anywhere]
        keys = {_key(row.pattern) for row in placed}
        self._index = {key: tuple(row for row in placed if _key(row.pattern) == key) for key in keys}

    @classmethod
    def of(cls, *routes: Route, other: Wire | None = None) -> Table:
        """A table in which the wire of a path's first part is that of the first route there; `other` has the rest."""
        owners: dict[str, Wire] = {}
        for row in routes:
            if (first := _key(row.pattern)[1]) not in ("", _ANY):
                owners.setdefault("/" + first, row.wire)
        return cls(routes, tuple(owners.items()), other or routes[0].wire)

    def wire_of(self, path: str) -> Wire:
        """The wire in whose shape an error at this path is told."""
        folded = path.lower()
        owners = (wire for prefix, wire in self._prefixes if folded == prefix or folded.startswith(prefix + "/"))
        return next(owners, self._other)

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods of a path, for `Allow`; empty where nothing answers."""
        methods = {row.method for row in self._near(path) if row.regex.fullmatch(path)}
        told = methods | ({"OPTIONS"} if methods else set()) | ({"HEAD"} if "GET" in methods else set())
        return tuple(sorted(told, key=lambda method: (method in ("HEAD", "OPTIONS"), method)))

    def answers(self, method: str, path: str) -> bool:
        """Whether there is a route of its own."""
        return any(row.method == method and row.regex.fullmatch(path) for row in self._near(path))

    def find(self, method: str, path: str) -> Match:
        """The first route that fits. HEAD is answered as GET; the server leaves the body out.

        Raises:
            SetsailError: `request.path`, or `request.method` with the fact `allow`.
        """
        wanted = "GET" if method == "HEAD" else method
        for row in self._near(path):
            if row.method == wanted and (match := row.regex.fullmatch(path)):
                return Match(row, match.groupdict())
        methods = self.allowed(path)
        if not methods:
            raise SetsailError(
                "request.path", "no wire answers here", field="path", value=path, method=method, path=path
            )
        allow = ", ".join(methods)
        raise SetsailError(
            "request.method", f"{path} does not take {method}", field="method", value=method, expected=allow,
            allow=allow, method=method, path=path,
        )  # fmt: skip

    def route(self, request: HttpRequest) -> Exchange:
        """A whole request to what it asks. Raises what `find` and the wire's decoder raise."""
        return self.find(request.method, request.path).decode(request)

    def _near(self, path: str) -> tuple[Route, ...]:
        depth, first = _key(path)
        return self._index.get((depth, first), ()) + self._index.get((depth, _ANY), ()) + self._anywhere


_ANY: Final = "{}"


def _key(path: str) -> tuple[int, str]:
    """How many parts, and the first of them where it is literal: in small letters, because some wires take either."""
    first = path[1:].partition("/")[0].lower()
    return path.count("/"), _ANY if "{" in first else first


# The data port, where every wire is answered. Whose the paths are that several servers have: `/v1/models` is TensorFlow
# Serving's and KServe's in one, `/invocations` MLflow's or SageMaker's by what is sent, `/ping` has TorchServe's body,
# of which others read the status alone. `/models` is on ports that imitate one server, because there two disagree.
DATA: Final = Table.of(
    *open_inference.ROUTES,
    *tf_serving.ROUTES,
    *plain.ROUTES,
    *feedback.ROUTES,
    *invocations.ROUTES,
    *torchserve.ROUTES,
    *graphpipe.ROUTES,
    other=plain.WIRE,
)
