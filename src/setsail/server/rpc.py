"""Who answers a call of an HTTP/2 connection: one small object a call, which the desk calls back with the outcome.

Unary   one message, one answer
Each    every message is a request of its own; answers go back in the order of messages, whenever they come
Watch   one question, answered now and again whenever its answer has changed
Plain   an HTTP request, answered as over HTTP/1.1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from time import perf_counter
from typing import Any, Protocol

from setsail.catalog import Ask
from setsail.errors import SetsailError
from setsail.messages import Request, Response
from setsail.protocols.grpc.calls import Call, Calls, Event
from setsail.protocols.grpc.method import WIRE, Exchange, Method
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.http1.writer import compress
from setsail.scheduling import Ticket
from setsail.server.connection import Process
from setsail.server.dispatch import Plan
from setsail.server.marks import Marks, call_about

__all__ = ["Each", "Plain", "Streams", "Unary", "Watch"]

Message = bytes | memoryview


class Streams(Protocol):
    """What is needed of `streams.Streams`, the connection of a call."""

    plane: Process
    calls: Calls

    def flush_soon(self) -> None: ...
    def take(self, found: list[Event]) -> None: ...


class _Asked:
    """One question to the desk. Called with the outcome, perhaps before `ask` returns; not at all once cancelled.

    Attributes:
        open: the outcome is still to come, and somebody waits for it.
    """

    __slots__ = ("began", "encode", "marks", "message", "model", "open", "streams", "ticket", "wire")

    def __init__(self, streams: Streams, message: Message) -> None:
        self.streams, self.message = streams, message
        self.began = perf_counter()
        self.open = False
        self.model, self.wire = "", WIRE
        self.encode: Any = None
        self.marks: Marks | None = None
        self.ticket: Ticket | None = None

    def ask(self, method: Method, timeout: float | None) -> None:
        """Decode and ask. Every fault goes to `answered`."""
        plane = self.streams.plane
        plane.inflight += 1
        self.open, self.wire = True, method.wire
        fault = plane.refusal()
        deadline = inf if timeout is None else self.began + timeout
        if fault is None and method.model is not None and (model := method.model(self.message)) is not None:
            fault = plane.desk.admit_model(model, len(self.message), deadline)
        if fault is not None:
            return self(fault)
        try:
            if next(plane.desk.marker.lots) and method.model is not None:
                self.marks = plane.desk.marker.marks(self.metadata, method.path[1:], call_about(method.path[1:]))
            exchange: Exchange = method.decode(self.message)
            ask: Request | Ask = exchange.ask
            self.encode = exchange.encode
            if isinstance(ask, Request):
                self.model = ask.model.name
            if self.marks is not None:
                self.marks.decoded = perf_counter()
            self.ticket = plane.desk.ask(ask, self, len(self.message), plane.loop, deadline)
        except Exception as found:
            if not self.open:  # it was answered, and writing the answer failed
                raise
            self(found)

    def __call__(self, outcome: Any) -> None:
        if not self.open:
            return
        self.open = False
        streams = self.streams
        streams.plane.inflight -= 1
        code, answer, fault = "ok", b"", None
        if self.marks is not None:
            self.marks.encoding = perf_counter()
        if isinstance(outcome, BaseException):
            fault = streams.plane.desk.failed(outcome, self.metadata)
        else:
            try:
                answer = self.encode(outcome)
            except Exception as found:
                fault = streams.plane.desk.failed(found, self.metadata)
        if fault is not None:
            code = fault.code
        self._count(outcome, code)
        self.answered(answer, fault)
        streams.flush_soon()

    def answered(self, answer: bytes, fault: SetsailError | None) -> None:
        raise NotImplementedError

    @property
    def metadata(self) -> Mapping[str, str]:
        """Of its call."""
        raise NotImplementedError

    @property
    def headers(self) -> Mapping[str, str]:
        """The same under the name that routes look for (`serving/chosen.py`)."""
        return self.metadata

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self.open:
            self.open = False
            self.streams.plane.inflight -= 1
            if self.ticket is not None:
                self.ticket.cancelled = True

    def expire(self, now: float) -> None:
        """Called once a second, with the clock of `time.perf_counter`."""

    def _count(self, outcome: Any, code: str) -> None:
        desk, seconds, rows = self.streams.plane.desk, perf_counter() - self.began, 0
        if isinstance(outcome, Response):
            rows = outcome.rows
            desk.meter.answered(outcome.model, outcome.version, self.wire, code, seconds, rows)
        elif code != "ok":
            desk.meter.answered(desk.known(self.model), 0, self.wire, code, seconds, 0)
        if self.marks is not None:
            self.marks.answered(outcome, self.wire, code, rows, desk.intake.ran if desk.intake is not None else None)


class Unary(_Asked):
    """A call with one answer."""

    __slots__ = ("call", "until")

    def __init__(self, streams: Streams, call: Call, message: Message) -> None:
        super().__init__(streams, message)
        self.call = call
        timeout = call.plan.timeout
        self.until = inf if timeout is None else self.began + timeout
        method = call.plan.method
        assert method is not None
        self.ask(method, timeout)

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.call.metadata

    def answered(self, answer: bytes, fault: SetsailError | None) -> None:
        call, calls = self.call, self.streams.calls
        call.user = None
        if fault is not None:
            calls.refuse(call, fault)
        else:
            calls.reply(call, answer)

    def expire(self, now: float) -> None:
        if self.open and now > self.until:
            self.cancel()
            self.streams.calls.refuse(self.call, _deadline())


class _Place(_Asked):
    """A message of an `Each`, and its place in the order of answers."""

    __slots__ = ("done", "each")

    def __init__(self, each: Each, message: Message) -> None:
        super().__init__(each.streams, message)
        self.each = each
        self.done: bytes | SetsailError | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.each.call.metadata

    def answered(self, answer: bytes, fault: SetsailError | None) -> None:
        render = self.each.method.render_fault
        if fault is not None and render is not None:
            self.done = render(fault, self.message)
        else:
            self.done = answer if fault is None else fault
        self.each.advance()


class Each:
    """A call whose messages are requests of their own."""

    def __init__(self, streams: Streams, call: Call) -> None:
        self.streams, self.call = streams, call
        method = call.plan.method
        assert method is not None
        self.method = method
        self.places: deque[_Place] = deque()
        self.ended = self._asked = False
        self.heard = 0  # messages so far
        timeout = call.plan.timeout
        self.until = inf if timeout is None else perf_counter() + timeout

    def arrived(self, message: Message) -> None:
        place = _Place(self, message)
        self.places.append(place)
        self.heard += 1
        left = None if self.until == inf else max(0.0, self.until - perf_counter())
        place.ask(self.method, left)

    def end(self) -> None:
        """The client has sent all of its messages."""
        self.ended = True
        self.advance()

    def advance(self) -> None:
        """Write what is next in order."""
        places, calls = self.places, self.streams.calls
        while places and places[0].done is not None:
            done = places.popleft().done
            if isinstance(done, SetsailError):
                self.cancel()
                return calls.refuse(self.call, done)
            assert done is not None
            calls.reply(self.call, done)
        if self.ended and not places:
            calls.finish(self.call)
        elif self.call.wants_more and not self._asked:
            self._asked = True
            self.streams.plane.loop.call_soon(self._more)

    def _more(self) -> None:
        self._asked = False
        self.streams.take(self.streams.calls.more(self.call))

    def cancel(self) -> None:
        for place in self.places:
            place.cancel()
        self.places.clear()

    def expire(self, now: float) -> None:
        if now > self.until:
            self.cancel()
            self.streams.calls.refuse(self.call, _deadline())

    @property
    def idle(self) -> bool:
        return not self.places and not self.call.partial


class Watch:
    """A question whose answer is sent again when it changes. It asks the house only what is answered on the spot."""

    def __init__(self, streams: Streams, call: Call, message: Message) -> None:
        self.streams, self.call, self.message = streams, call, message
        timeout = call.plan.timeout
        self.until = inf if timeout is None else perf_counter() + timeout
        self._last: bytes | None = None
        self.look()

    def look(self) -> None:
        if self.call.over:
            return
        method, desk, loop = self.call.plan.method, self.streams.plane.desk, self.streams.plane.loop
        assert method is not None
        try:
            exchange: Exchange = method.decode(self.message)
            desk.ask(exchange.ask, lambda outcome: self._answered(exchange, outcome), 0, loop)
        except Exception as fault:
            self.streams.calls.refuse(self.call, desk.failed(fault))

    def _answered(self, exchange: Exchange, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            raise outcome
        answer = exchange.encode(outcome)
        if answer != self._last:
            self._last = answer
            self.streams.calls.reply(self.call, answer)
            self.streams.flush_soon()

    def cancel(self) -> None:
        """Nothing runs."""

    def expire(self, now: float) -> None:
        if now > self.until:
            self.streams.calls.refuse(self.call, _deadline())
        else:
            self.look()


class Plain:
    """A request that is not gRPC."""

    __slots__ = ("call", "open", "plan", "streams", "ticket")

    def __init__(self, streams: Streams, call: Call, plan: Plan) -> None:
        self.streams, self.call, self.plan = streams, call, plan
        self.open = True
        self.ticket: Ticket | None = None
        streams.plane.inflight += 1

    def ask(self, request: HttpRequest) -> None:
        plan, plane = self.plan, self.streams.plane
        if plan.match is None:
            assert plan.reply is not None
            if plan.code != "ok":
                plane.desk.count(plan.path, plan.code)
            return self(plan.reply)
        fault = plane.desk.admit(plan, len(request.body)) or plane.refusal()
        if fault is not None:
            return self(plane.desk.refuse(plan.path, fault))
        self.ticket = plane.desk.handle(plan.match, request, self, plane.loop)

    def __call__(self, reply: HttpReply) -> None:
        if not self.open:
            return
        self.open = False
        plane, plan = self.streams.plane, self.plan
        plane.inflight -= 1
        if plan.headers:
            reply = reply.plus(plan.headers)
        if plane.gzip_replies and len(reply.body) >= plane.gzip_replies:
            reply = compress(reply, self.call.metadata.get("accept-encoding", ""), plane.gzip_replies)
        try:
            self.streams.calls.respond(self.call, reply, plane.date)
        except SetsailError as fault:  # a header that no client could read
            self.streams.calls.respond(self.call, plane.desk.refuse(plan.path, fault), plane.date)
        self.streams.flush_soon()

    def cancel(self) -> None:
        if self.open:
            self.open = False
            self.streams.plane.inflight -= 1
            if self.ticket is not None:
                self.ticket.cancelled = True

    def expire(self, now: float) -> None:
        """Plain requests have no deadline of their own."""


def _deadline() -> SetsailError:
    return SetsailError("request.deadline", "the call was not answered within its time-out", field="grpc-timeout")
