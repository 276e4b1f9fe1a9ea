"""Moments of one request in 64, and of every request that is traced: when it was decoded, run, encoded.

The others carry None, which is all that they pay. What is noted goes to the meter's stages and, where
`--trace-endpoint` is set, into a span; without it nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import cycle, repeat
from time import perf_counter
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from setsail.errors import FAMILIES, KINDS, SetsailError
from setsail.messages import Response
from setsail.monitor.meter import Meter
from setsail.monitor.traces import Parent, Span, parent_of
from setsail.server.settings import Settings

__all__ = ["Marker", "Marks", "Run", "Tracing", "call_about", "open_tracer", "trace_of"]

_IN: Final = 64
About = Mapping[str, str | int | float]
NOTHING: Final[About] = {}


class Run(Protocol):
    """Of the batch whose answers are being handed out: when it began, and its parts in seconds."""

    begun: float
    merge: float
    run: float
    split: float


class Tracing(Protocol):
    """What is needed of `monitor.tracing.Tracer`, which is not imported where nothing is traced."""

    def wants(self, headers: Mapping[str, str]) -> tuple[Parent | None] | None: ...
    def finish(self, parent: Parent | None, span: Span) -> None: ...


class Marker:
    """Says whose moments are noted.

    Attributes:
        lots: `next` of it says whether to ask for `marks`.
    """

    def __init__(self, meter: Meter, tracer: Tracing | None = None) -> None:
        self.meter, self.tracer = meter, tracer
        self._timed = cycle((True, *(False,) * (_IN - 1)))
        self.lots: Iterator[bool] = self._timed if tracer is None else repeat(True)

    def marks(self, headers: Mapping[str, str], name: str, about: About) -> Marks | None:
        """Notes for a request that `lots` chose.

        Args:
            name: of the span.
            about: attributes of the span.
        """
        if self.tracer is None:
            return Marks(self)
        timed, wanted = next(self._timed), self.tracer.wants(headers)
        return Marks(self, timed, wanted, name, about) if timed or wanted is not None else None


class Marks:
    """The moments of one request, on the clock of `time.perf_counter`; 0 for what did not happen."""

    __slots__ = ("_about", "_marker", "_name", "_timed", "_wanted", "began", "decoded", "encoding")

    def __init__(
        self, marker: Marker, timed: bool = True, wanted: tuple[Parent | None] | None = None, name: str = "",
        about: About = NOTHING,
    ) -> None:  # fmt: skip
        self._marker, self._timed, self._wanted, self._name, self._about = marker, timed, wanted, name, about
        self.began = perf_counter()
        self.decoded = self.encoding = 0.0

    def answered(self, outcome: Any, wire: str, code: str, rows: int, run: Run | None) -> None:
        """The answer is encoded, or the fault is.

        Args:
            run: what it was run with, if that is known.
        """
        ended = perf_counter()
        if self._timed and code == "ok" and isinstance(outcome, Response):
            self._marker.meter.stage(outcome.model, outcome.version, "decode", self.decoded - self.began)
            self._marker.meter.stage(outcome.model, outcome.version, "encode", ended - self.encoding)
        if self._wanted is not None:
            self._trace(self._wanted[0], outcome, wire, code, rows, run, ended)

    def _trace(
        self, parent: Parent | None, outcome: Any, wire: str, code: str, rows: int, run: Run | None, ended: float
    ) -> None:
        family = FAMILIES[KINDS[code].family] if code != "ok" else None
        about: dict[str, str | int | float] = {**self._about, "setsail.wire": wire}
        if "rpc.method" in about:
            about["rpc.grpc.status_code"] = family.grpc if family else 0
        else:
            about["http.response.status_code"] = family.http if family else 200
        if family is not None:
            about["error.type"] = code
        if isinstance(outcome, Response):
            about |= {"setsail.model": outcome.model, "setsail.version": outcome.version, "setsail.rows": rows}
        failed = family is not None and family.http >= 500
        span = Span(self._name, self.began, ended, about, self._stages(run, ended), failed)
        tracer = self._marker.tracer
        assert tracer is not None
        tracer.finish(parent, span)

    def _stages(self, run: Run | None, ended: float) -> list[tuple[str, float, float]]:
        stages = [("decode", self.began, self.decoded - self.began)] if self.decoded else []
        if run is not None and self.decoded:
            moment = max(run.begun, self.decoded)
            stages.append(("queue", self.decoded, moment - self.decoded))
            for stage, seconds in (("merge", run.merge), ("run", run.run), ("split", run.split)):
                stages.append((stage, moment, seconds))
                moment += seconds
        if self.encoding:
            stages.append(("encode", self.encoding, ended - self.encoding))
        return stages


def call_about(method: str) -> dict[str, str]:
    """Attributes of a gRPC call's span."""
    return {"rpc.system.name": "grpc", "rpc.method": method}


def trace_of(headers: Mapping[str, str]) -> str:
    """The trace that a client's request is part of, for the log; empty where it is in none."""
    parent = parent_of(headers)
    return "" if parent is None else parent.trace


def open_tracer(settings: Settings) -> Any:
    """A `Tracer` for `--trace-endpoint`, None without. Raises `setting.value` or `dependency.missing`."""
    endpoint = settings.trace_endpoint
    if not endpoint:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetsailError("setting.value", "spans cannot be sent there", field="--trace-endpoint", value=endpoint,
                           expected="an address such as http://127.0.0.1:4318")  # fmt: skip
    try:
        tracing = import_module("setsail.monitor.tracing")
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise SetsailError(
            "dependency.missing", "--trace-endpoint needs OpenTelemetry", field="--trace-endpoint", value=endpoint,
            todo='run: pip install "setsail[otel]"',
        ) from fault  # fmt: skip
    return tracing.Tracer.to(endpoint, settings.trace_sample)
