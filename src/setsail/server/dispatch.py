"""The desk of the data port: what a request means, who answers it, and how the answer is written.

It knows no sockets and no wire. `plan` looks at a request's head alone: key, cross-origin rules, route. `handle` takes
a whole request from an event loop and calls back with the reply; predictions go through the intake, where those of one
turn run together, what blocks goes to a thread, everything else is answered on the spot. `answer` does the same in the
caller's thread, for servers that bring their own (`asgi.py`). Every fault becomes a reply in the wire's own shape.
"""

from __future__ import annotations

import hmac
import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import inf
from time import perf_counter
from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from setsail.catalog import CONTROLS, Ask, Describe, Exposition, Feedback, Index, IsReady, Metadata, Statistics
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response
from setsail.monitor.meter import Meter
from setsail.protocols.compression import decompress
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.routes import Exchange, model_ref
from setsail.protocols.table import DATA, Match, Table
from setsail.scheduling import Ticket
from setsail.server.marks import Marker, Marks, Tracing, trace_of
from setsail.server.origins import NO_ORIGINS, Origins
from setsail.serving.intake import Intake

__all__ = ["Answering", "Desk", "Plan", "Refused", "Replied"]

_LOG = logging.getLogger("setsail.server")
# Health, as each server's probes ask for it, is answered without an API key
_OPEN: Final = frozenset(("/", "/v2/health/live", "/v2/health/ready", "/ping", "/health"))
_BLOCKING: Final = (*CONTROLS, Describe, Exposition, Feedback, Statistics)  # they load, or wait for other processes
_MIDDLE: Final = 100  # the priority of a request that states none; 1 is the most urgent, as in Triton
NO_HEADERS: Final[Mapping[str, str]] = {}
Replied = Callable[[HttpReply], None]
Refused = SetsailError | None


class Answering(Protocol):
    """What is needed of `serving.house.House`."""

    def answer(self, ask: Request | Ask, *, control: bool) -> Any: ...


class Plan(Struct, frozen=True):
    """What a head means. `reply` is set when it is answered without its body; `headers` go on every reply.

    `code` is what the meter counts for `reply`: `ok`, or the fault's.
    """

    path: str
    match: Match | None = None
    reply: HttpReply | None = None
    model: ModelRef | None = None
    headers: tuple[tuple[str, str], ...] = ()
    head_only: bool = False
    code: str = "ok"


class Desk:
    """Answers requests of one house.

    Args:
        intake: where predictions go; None for a desk that only `answer`s.
        max_body: largest body in bytes once it is decompressed.
        control: whether clients may load and unload.
        api_keys: when there are any, everything but health needs `Authorization: Bearer KEY`.
        origins: whose pages may call.
        tracer: makes spans, if any are made.
        table: the paths it answers.
        grpc: whether gRPC is answered too.

    Attributes:
        lasting: whether a key that is right now is right for as long as its connection.
        ready: False makes every readiness question answer no: draining, or another worker is missing.
        marker: says whose moments are noted.
    """

    lasting = True

    def __init__(
        self,
        house: Answering,
        *,
        meter: Meter,
        intake: Intake | None = None,
        max_body: int,
        control: bool = False,
        api_keys: Collection[str] = (),
        origins: Origins = NO_ORIGINS,
        tracer: Tracing | None = None,
        table: Table = DATA,
        grpc: bool = True,
        predict: Callable[[Request, object], Response] | None = None,
    ) -> None:
        self.house, self.meter, self.intake = house, meter, intake
        self.marker = Marker(meter, tracer)
        self.table, self.grpc = table, grpc
        self._predict = predict
        self.ready = True
        self.max_body = max_body
        self._control = control
        self._keys = tuple(key.encode() for key in api_keys)
        self._origins = origins
        self._blocking = ThreadPoolExecutor(2, "setsail-control")

    def close(self) -> None:
        """Wait for loads and unloads that were begun."""
        self._blocking.shutdown()

    # -- before the body -----------------------------------------------------------------------------------------

    def plan(self, method: str, path: str, headers: Mapping[str, str]) -> Plan:
        """What a head means. It depends on the head alone, so it may be remembered with it."""
        shared = self._origins.headers(headers)
        head_only = method == "HEAD"
        try:
            if method == "OPTIONS" and (allowed := self.table.allowed(path)):
                asks = "access-control-request-method" not in headers and self.table.answers(method, path)
                if not asks:
                    preflight = self._origins.preflight(headers, allowed)
                    status = self.table.wire_of(path).preflight
                    reply = HttpReply(status, headers=(("allow", ", ".join(allowed)), *preflight))
                    return Plan(path, None, reply, None, shared)
            self._check_key(path, headers)
            match = self.table.find(method, path)
            return Plan(path, match, None, _predicted(match), shared, head_only)
        except SetsailError as fault:
            return Plan(path, None, self.refusal(path, fault), None, shared, head_only, fault.code)

    def admit(self, plan: Plan, nbytes: int) -> Refused:
        """Why the body should not be read or decoded, or None."""
        return None if plan.model is None else self.admit_model(plan.model, nbytes)

    def admit_model(self, model: ModelRef, nbytes: int, deadline: float = inf) -> Refused:
        """Why a message that names this model should not be decoded, or None."""
        fault = None if self.intake is None else self.intake.admit(model, nbytes, deadline)
        return fault if fault is not None and fault.kind.family in ("exhausted", "deadline") else None

    def refuse(self, path: str, fault: SetsailError) -> HttpReply:
        """Count and write an error that came before the request was whole."""
        self.count(path, fault.code)
        return self.refusal(path, fault)

    def count(self, path: str, code: str) -> None:
        """Count a request that reached no model."""
        self.meter.answered("", 0, self.table.wire_of(path).name, code, 0.0, 0)

    def refusal(self, path: str, fault: SetsailError) -> HttpReply:
        """An error in the shape of the wire that owns the path, which need not exist."""
        return self.table.wire_of(path).refusal(_with_id(fault))

    # -- a whole request -----------------------------------------------------------------------------------------

    def handle(self, match: Match, request: HttpRequest, done: Replied, loop: Any) -> Ticket | None:
        """Answer a request from an event loop.

        Args:
            done: called once with the reply, on the loop's thread; perhaps before this returns.
            loop: the running event loop.

        Returns:
            What can be cancelled when the client goes away, if anything can.
        """
        answer = _Answer(self, match, done, request.headers)
        if next(self.marker.lots) and match.route.predicts:
            answer.mark(request.path)
        try:
            if "content-encoding" in request.headers:
                request = self._plain(request)
            exchange = match.route.decode(request, match.params)
            ask = exchange.ask
            if type(ask) is not Request or ask.model.name == ONLY_MODEL:
                exchange = self._meant(exchange, request)
                ask = exchange.ask
        except Exception as fault:
            answer(fault)
            return None
        if answer.marks is not None:
            answer.marks.decoded = perf_counter()
        answer.exchange = exchange
        if type(ask) is Request and not ask.parameters and self.intake is not None:  # as `ask` does, in fewer steps
            return self.intake.submit(ask, answer, nbytes=len(request.body))
        return self.ask(ask, answer, len(request.body), loop)

    def ask(
        self, ask: Request | Ask, done: Callable[[Any], None], nbytes: int, loop: Any, deadline: float = inf
    ) -> Ticket | None:
        """Have anything a wire decodes to answered; `done` gets the answer or the fault, on the loop's thread."""
        if isinstance(ask, Request) and self.intake is not None:
            priority = 0
            if ask.parameters:
                priority, deadline = _terms(ask.parameters, deadline)
            return self.intake.submit(ask, done, nbytes=nbytes, deadline=deadline, priority=priority)
        if isinstance(ask, _BLOCKING):
            waiting = loop.run_in_executor(self._blocking, self._ask, ask)
            waiting.add_done_callback(lambda ended: done(ended.exception() or ended.result()))
            return None
        try:
            outcome = self._ask(ask)
        except Exception as fault:
            outcome = fault
        done(outcome)
        return None

    def answer(self, match: Match, request: HttpRequest) -> HttpReply:
        """Answer a request in this thread."""
        replies: list[HttpReply] = []
        answer = _Answer(self, match, replies.append, request.headers)
        try:
            answer.exchange = self.decode(match, self._plain(request))
            ask = answer.exchange.ask
            if self._predict is not None and isinstance(ask, Request):
                outcome: Any = self._predict(ask, answer)
            else:
                outcome = self._ask(ask)
        except Exception as fault:
            outcome = fault
        answer(outcome)
        return replies[0]

    def decode(self, match: Match, request: HttpRequest) -> Exchange:
        """Decode a body. Raises what the wire's decoder raises."""
        return self._meant(match.decode(request), request)

    def _meant(self, exchange: Exchange, request: HttpRequest) -> Exchange:
        """The model meant where the path names none; who may change something is checked."""
        ask = exchange.ask
        if isinstance(ask, Request):
            if ask.model.name == ONLY_MODEL:
                return replace(exchange, ask=replace(ask, model=self._only_model()))
        elif isinstance(ask, Metadata) and ask.model.name == ONLY_MODEL:
            return replace(exchange, ask=Metadata(self._only_model()))
        elif isinstance(ask, CONTROLS):
            self._check_origin(request)
        return exchange

    def _plain(self, request: HttpRequest) -> HttpRequest:
        """A request with its body as it was before it was compressed."""
        coding = request.headers.get("content-encoding")
        if not coding:
            return request
        return replace(request, body=decompress(bytes(request.body), coding, self.max_body))

    def failed(self, fault: BaseException, headers: Mapping[str, str] = NO_HEADERS) -> SetsailError:
        """What a client is told: of a fault nobody planned for no more than an id.

        Args:
            headers: of the request; the log names the trace it is part of.
        """
        return _with_id(fault if isinstance(fault, SetsailError) else _unexpected(fault), headers)

    def _ask(self, ask: Request | Ask) -> Any:
        if not self.ready and isinstance(ask, IsReady):
            return False
        return self.house.answer(ask, control=self._control)

    def _only_model(self) -> ModelRef:
        """A path without a model's name (`/predict`, `/invocations`) means the only one there is."""
        names = self.names()
        if len(names) != 1:
            raise SetsailError(
                "model.unknown",
                "the path names no model and not exactly one is served",
                field="path",
                expected="the name of " + (" or ".join(names[:8]) or "a model"),
                todo="say which: /predict/NAME, or /invocations?model_name=NAME",
            )
        return ModelRef(names[0])

    def known(self, name: str) -> str:
        """A model's name as a label of metrics; empty where there is none, or a scanner would make them grow."""
        served = name in self.names() if self.intake is None else self.intake.serves(name)
        return name if served else ""

    def names(self) -> list[str]:
        if self.intake is not None:
            return self.intake.names()
        return list(dict.fromkeys(status.name for status in self.house.answer(Index(), control=False)))

    # -- who may ask ---------------------------------------------------------------------------------------------

    def _check_key(self, path: str, headers: Mapping[str, str]) -> None:
        if not self._keys or path in _OPEN:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        self.check_key(scheme, given)

    def check_key(self, scheme: str, given: str) -> None:
        """Raises `request.key`. Every key is compared, so that time does not tell which one was near."""
        sent = given.strip().encode("latin-1", "replace")
        if self._keys and (
            scheme.lower() != "bearer" or sum(hmac.compare_digest(sent, key) for key in self._keys) == 0
        ):
            raise SetsailError("request.key", "this server needs an API key", field="authorization", challenge="Bearer")

    def _check_origin(self, request: HttpRequest) -> None:
        """Without keys, a page on any site could have a visitor's browser unload models here: browsers say Origin."""
        if "origin" in request.headers and not self._keys:
            raise SetsailError(
                "control.refused", "a browser may not load or unload here", field="origin",
                value=request.headers["origin"], todo="use the admin port",
            )  # fmt: skip


class _Answer:
    """Takes the house's answer to one request, writes it as its wire does, and counts it."""

    __slots__ = ("began", "desk", "done", "exchange", "headers", "marks", "match")

    def __init__(self, desk: Desk, match: Match, done: Replied, headers: Mapping[str, str]) -> None:
        self.desk, self.match, self.done, self.headers = desk, match, done, headers
        self.exchange: Exchange | None = None
        self.marks: Marks | None = None
        self.began = perf_counter()

    def mark(self, path: str) -> None:
        """Note its moments."""
        route, marker = self.match.route, self.desk.marker
        if marker.tracer is None:
            self.marks = Marks(marker)
            return
        about = {"http.request.method": route.method, "url.path": path, "http.route": route.pattern}
        self.marks = marker.marks(self.headers, f"{route.method} {route.pattern}", about)

    def __call__(self, outcome: Any) -> None:
        desk, route, marks = self.desk, self.match.route, self.marks
        code = "ok"
        if marks is not None:
            marks.encoding = perf_counter()
        if isinstance(outcome, BaseException):
            code, reply = self._refused(outcome)
        else:
            try:
                assert self.exchange is not None
                reply = self.exchange.encode(outcome)
            except Exception as fault:
                code, reply = self._refused(fault)
        if marks is None and type(outcome) is Response:
            seconds = perf_counter() - self.began
            desk.meter.answered(outcome.model, outcome.version, route.wire.name, code, seconds, outcome.rows)
        else:
            self._count(outcome, code)
        self.done(reply)

    def _refused(self, fault: BaseException) -> tuple[str, HttpReply]:
        error, wire = self.desk.failed(fault, self.headers), self.match.route.wire
        reply = wire.refusal(error)
        if wire.ident is not None:
            reply = HttpReply(reply.status, reply.body, reply.headers, wire.ident(self.headers))
        return error.code, reply

    def _count(self, outcome: Any, code: str) -> None:
        """Labels come from the server, never from a client: a scanner must not make the page of metrics grow."""
        desk, wire, rows = self.desk, self.match.route.wire.name, 0
        seconds = perf_counter() - self.began
        if isinstance(outcome, Response):
            rows = outcome.rows
            desk.meter.answered(outcome.model, outcome.version, wire, code, seconds, rows)
        elif self.match.route.method == "POST" or code != "ok":
            desk.meter.answered(desk.known(self.match.params.get("model", "")), 0, wire, code, seconds, 0)
        if self.marks is not None:
            self.marks.answered(outcome, wire, code, rows, desk.intake.ran if desk.intake is not None else None)


def _predicted(match: Match) -> ModelRef | None:
    """The model that a route's predictions go to; None where it predicts nothing, or names a version nobody has."""
    if not match.route.predicts or "model" not in match.params:
        return None
    try:
        return model_ref(match.params)
    except SetsailError:
        return None


def _terms(parameters: Mapping[str, Any], deadline: float) -> tuple[int, float]:
    """Priority and deadline as Triton's clients state them: `priority` from 1 (first), `timeout` in microseconds."""
    level, timeout = parameters.get("priority"), parameters.get("timeout")
    if type(timeout) is int and timeout > 0:
        deadline = min(deadline, perf_counter() + timeout / 1e6)
    return (_MIDDLE - min(level, 2 * _MIDDLE) if type(level) is int and level > 0 else 0), deadline


def _with_id(fault: SetsailError, headers: Mapping[str, str] = NO_HEADERS) -> SetsailError:
    """An internal error gets an id, and its cause goes to the log under it, with the trace it belongs to."""
    if fault.family.http == 500 and "id" not in fault.facts:
        fault.facts["id"] = uuid.uuid4().hex[:12]
        fault.what += f" (error {fault.facts['id']})"
        trace = trace_of(headers)
        _LOG.error("error %s%s: %s", fault.facts["id"], trace and f", trace {trace}", fault, exc_info=fault)
    return fault


def _unexpected(fault: BaseException) -> SetsailError:
    """What a client may know of an exception nobody planned for: an id. The rest is in the log."""
    error = SetsailError("server.fault", "the server failed")
    error.__cause__ = fault
    return error
