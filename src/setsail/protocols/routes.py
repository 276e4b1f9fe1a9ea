"""What a wire is made of: a table of routes, each from a request to an ask and from its answer to a reply.

A pattern is a path whose `{name}` parts match one segment without `/` and `:`. The decoder gets them as a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from msgspec import Struct

from setsail.catalog import Ask
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.protocols.http import HttpReply, HttpRequest

__all__ = ["Exchange", "Params", "Route", "Wire", "model_ref"]

Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol: its name in metrics and docs, its page, and the shape of its errors.

    `preflight` is the status that OPTIONS is answered with; `ident` gives the `x-request-id` of an error out of a
    request's headers, where the original tells one.
    """

    name: str
    title: str
    page: str
    render_error: Callable[[SetsailError], HttpReply] = field(repr=False)
    preflight: int = 204
    ident: Callable[[Mapping[str, str]], str] | None = field(default=None, repr=False)

    def refusal(self, fault: SetsailError) -> HttpReply:
        """`render_error`, but once for all whom one fault is told."""
        if fault.written is None:
            return self.render_error(fault)
        reply: HttpReply | None = fault.written.get(self.name)
        if reply is None:
            reply = fault.written[self.name] = self.render_error(fault)
        return reply


class Exchange(Struct, frozen=True):
    """What to ask the house, and how its answer is written. `encode` may raise SetsailError."""

    ask: Request | Ask
    encode: Callable[[Any], HttpReply]


@dataclass(frozen=True)
class Route:
    """One row of the routing table.

    `predicts`: its requests run the model that the path names. `any_case`: what the pattern says may come in any case.
    `anywhere`: it fits every path that no other row fits.
    """

    method: str
    pattern: str
    decode: Callable[[HttpRequest, Params], Exchange]
    wire: Wire
    summary: str
    predicts: bool = False
    any_case: bool = False
    anywhere: bool = False
    regex: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = re.split(r"\{(\w+)\}", self.pattern)
        text = "".join(f"(?P<{p}>[^/:]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts))
        flags = re.IGNORECASE | re.ASCII if self.any_case else re.DOTALL
        object.__setattr__(self, "regex", re.compile("/.*" if self.anywhere else text, flags))


def model_ref(params: Params) -> ModelRef:
    """The model a path means. A version that is no positive integer is one that does not exist: `model.version`."""
    return _model_ref(params["model"], params.get("version"), params.get("label"))


@lru_cache(1024)
def _model_ref(name: str, version: str | None, label: str | None) -> ModelRef:
    if version is None:
        return ModelRef(name, label=label)
    if not (version.isascii() and version.isdigit() and 0 < len(version) < 19 and int(version)):
        raise SetsailError(
            "model.version",
            f"model {name!r} has no version {version!r}",
            field="version",
            value=version,
            expected="a positive integer",
            model=name,
            version=version,
        )
    return ModelRef(name, int(version))
