"""Traces: where in its trace a client's request stands (W3C Trace Context, level 1), and the span that we add to it.

A `traceparent` that is not right is no traceparent (§3.2.2.5): the request is served all the same, in no trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

__all__ = ["Parent", "Span", "parent_of"]

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


class Parent(Struct, frozen=True):
    """The client's span.

    Attributes:
        trace, span: lower-case hex of 32 and 16 digits, neither all zeros.
        sampled: the client records it.
        state: `tracestate` as it came, for whoever passes it on.
    """

    trace: str
    span: str
    sampled: bool
    state: str = ""


class Span(Struct, frozen=True):
    """One request that was answered.

    Attributes:
        began, ended: on the clock of `time.perf_counter`.
        stages: name, beginning and seconds of each.
        failed: it was the server's fault.
    """

    name: str
    began: float
    ended: float
    attributes: Mapping[str, str | int | float]
    stages: Sequence[tuple[str, float, float]]
    failed: bool


def parent_of(headers: Mapping[str, str]) -> Parent | None:
    """What `traceparent` says; None where there is none, or none that means anything.

    Args:
        headers: by lower-case name, or gRPC metadata; repeated ones joined by commas, which no traceparent has.
    """
    given = headers.get("traceparent")
    found = None if given is None else _FORM.fullmatch(given.strip(" \t"))
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    # Later versions may add fields at the end; 00 has none, and ff is no version.
    if version == "ff" or (version == "00" and rest is not None) or not trace.strip("0") or not span.strip("0"):
        return None
    return Parent(trace, span, bool(int(flags, 16) & _SAMPLED), headers.get("tracestate", ""))
