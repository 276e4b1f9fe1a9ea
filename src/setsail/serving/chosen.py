"""The lease of a request whose version a route chose, where somebody wants to know what became of it.

It is a `Loaded` without a line of its own, so that the intake asks for one and can give it one that watches
(`shadows.py`). A request that came by no such route never meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import Request
from setsail.routing import Route, Sticky
from setsail.serving.leases import Loaded
from setsail.serving.routes import Picker
from setsail.serving.table import Entry, Table
from setsail.signature import Signature
from setsail.tensors import NULL

__all__ = ["Chosen", "chosen", "key_of", "place_of"]


class Chosen(Loaded):
    """A lease on `own`, whose runner and facts it has."""

    __slots__ = ("own", "route")

    def __init__(self, own: Loaded, route: Route) -> None:  # one a request: no lock and no count of its own
        self.own, self.route = own, route
        self.runner, self.facts, self.line = own.runner, own.facts, None

    def under(self, name: str) -> Loaded:
        """Another signature is watched as the version is."""
        other = self.own.others.get(name)
        return self if other is None else Chosen(other, self.route)

    def __getattr__(self, name: str) -> Any:
        """All else is the version's own."""
        return getattr(self.own, name)

    def acquire(self) -> bool:
        return self.own.acquire()

    def release(self) -> None:
        self.own.release()

    def retire(self, after: Callable[[], None]) -> None:
        self.own.retire(after)


def chosen(table: Table, picker: Picker, request: Request, asker: object) -> Entry:
    """The version that answers a request which names none.

    Args:
        asker: who is called with the answer; the headers of a request are its attribute `headers`.

    Raises:
        SetsailError: `model.not_ready` when no version of the route is.
    """
    main = table.find(request.model)
    sticky = picker.route.sticky
    key = None
    if sticky is not None and main.loaded is not None:
        signature = main.loaded.under(request.signature).runner.signature
        key = key_of(sticky, request, getattr(asker, "headers", None), signature)
    version = picker.choose(key)
    entry = None if version is None else table.get(request.model.name, version)
    return main if entry is None else entry


def key_of(sticky: Sticky, request: Request, headers: Mapping[str, str] | None, signature: Signature) -> str | None:
    """What a request sticks by; None where it has nothing of the kind: then it goes by the shares alone.

    Of an input it is the first row's value, as the model would see it: so 42, 42.0 and "42" in a CSV are one key. A
    request that does not fit the model has none; whoever runs it tells the fault.
    """
    if sticky.by == "header":
        return (headers.get(sticky.name) or None) if headers is not None else None
    try:
        inputs = bind(signature, request.body)
    except SetsailError:
        return None
    found = place_of(sticky.name, signature)
    if found is None:
        return None
    name, column = found
    value = (inputs[name].ravel() if column is None else inputs[name][:, column])[:1].tolist()
    return _text(value[0]) if value else None


def place_of(name: str, signature: Signature) -> tuple[str, int | None] | None:
    """The input that a key means, and which of its columns; None where the model has no such input.

    A column is meant by its name, or by its number from 0 where columns have none.
    """
    if any(spec.name == name and len(spec.shape) == 1 for spec in signature.inputs):
        return name, None
    table = signature.table
    if table is not None and name in table.columns:
        return table.name, table.columns.index(name)
    for spec in signature.inputs if table is None else ():
        width = spec.shape[1] if len(spec.shape) == 2 and len(signature.inputs) == 1 else None
        if isinstance(width, int) and name.isascii() and name.isdigit() and len(name) < 9 and int(name) < width:
            return spec.name, int(name)
    return None


def _text(value: Any) -> str | None:
    if value == NULL or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
