"""The HTTP/2 side of a connection: what `connection.py` hands over once a client has said that it speaks it.

It has no socket of its own: the connection's transport is written to once a read, and once more after whatever has
answered in between. A batch of 64 answers on one connection is one write, because each answer only asks for a flush and
the flush comes when the loop has called everybody. Reading stops while the client does not read its answers.

Once a second `tick` looks after time: deadlines, clients that send or read too slowly, streams whose window stays shut,
connections that say nothing (a PING first, when calls are open), and the allowances of `protocols/http2/streams.py`.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.protocols.grpc import calls as events
from setsail.protocols.grpc.calls import Call, Calls
from setsail.protocols.grpc.method import EACH, UNARY
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.http import HttpReply
from setsail.protocols.http2.streams import Limits
from setsail.server.connection import Process
from setsail.server.dispatch import Plan
from setsail.server.rpc import Each, Plain, Unary, Watch

__all__ = ["Streams"]

_SLOW: Final = 10.0  # seconds without progress
_WOUND_DOWN: Final = 0.25  # seconds that a silent stream stays open in a drain
_LINGER: Final = 2.0
_HIGH_WATER: Final = 1 << 20
_OPEN: Final = "open"  # a gRPC plan's notes: whoever sent this head may call


class Streams:
    """The calls of one connection.

    Args:
        plane: desk, limits, budget, clock and counters of the process.
        transport: what is written to.

    Attributes:
        served: calls that were begun.
    """

    def __init__(self, plane: Process, transport: Any) -> None:
        limits = plane.limits
        self.plane = plane
        self.calls = Calls(
            Limits(header_block=max(limits.head, 1 << 12), headers=limits.headers, message=limits.body),
            plane.budget, METHODS if plane.desk.grpc else {},
        )  # fmt: skip
        self.served = 0
        self._connection = self.calls.connection
        self._transport = transport
        self._armed = False
        self._writable = True
        self._gone = False
        self._heard = self._moved = plane.now
        self._asked = False  # a PING is out
        self._waiting = 0
        self._seen: dict[int, tuple[object, float]] = {}
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        if plane.draining:
            self.drain()

    # -- the connection's calls

    def data_received(self, data: bytes) -> None:
        self._heard, self._asked = self.plane.now, False
        self.take(self.calls.receive(data))

    def take(self, found: list[events.Event]) -> None:
        """Do what a client's calls ask for, and write what there is to say at once."""
        for event in found:
            self._take(event)
        if not self._armed:
            self._flush()

    def eof(self) -> bool:
        """The client has said its last word, and may still read. Whether it is owed an answer."""
        self._connection.goaway()
        self._flush()
        return bool(self._connection.streams) and not self._gone

    def pause_writing(self) -> None:
        self._writable = False
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._flush()

    def closed(self) -> None:
        """The socket is gone: whoever still waits for a run is taken out of the queue."""
        self._gone = True
        for call in self.calls.close():
            self._cancel(call)

    @property
    def quiet(self) -> bool:
        """Nothing is owed to the client, and nothing of a request was read."""
        return self._connection.idle and not self._armed

    # -- calls

    def _take(self, event: events.Event) -> None:
        call, kind = event.call, type(event)
        if call.over and kind is not events.Refused and kind is not events.Cancelled:
            return
        if kind is events.Arrived:
            self._arrived(call, event.message)  # type: ignore[union-attr]
        elif kind is events.Requested:
            self._plain(call).ask(event.request)  # type: ignore[union-attr]
        elif kind is events.Started:
            self._started(call)
        elif kind is events.Cancelled:
            self._cancel(call)
        elif kind is events.Ended:
            self._each(call).end()
        else:
            self._refused(call, event.fault)  # type: ignore[union-attr]

    def _arrived(self, call: Call, message: bytes | memoryview) -> None:
        plan = call.plan
        if plan.notes is not _OPEN and not self._may_call(call):
            return
        if plan.simple:
            self.served += 1
            unary = Unary(self, call, message)
            if unary.open:
                call.user = unary
        elif plan.method is not None and plan.method.kind == EACH:
            self._each(call).arrived(message)
        else:
            self.served += 1
            call.user = Watch(self, call, message)

    def _each(self, call: Call) -> Each:
        if call.user is None:
            self.served += 1
            call.user = Each(self, call)
        each: Each = call.user
        return each

    def _plain(self, call: Call) -> Plain:
        self.served += 1
        plain = call.user = Plain(self, call, self._plan(call))
        return plain

    def _plan(self, call: Call) -> Plan:
        """The desk's plan of a plain request's head."""
        plan: Plan | None = call.plan.notes
        if plan is None:
            head = call.plan.head
            plan = call.plan.notes = self.plane.desk.plan(head.method, call.plan.path, head.headers)
        return plan

    def _may_call(self, call: Call) -> bool:
        """Whether the head has the key that its method needs; a call without it is refused."""
        plan, desk = call.plan, self.plane.desk
        notes = plan.notes
        if notes is None:
            notes = _OPEN
            try:
                if plan.method is not None and not plan.method.keyless:
                    scheme, _, given = call.metadata.get("authorization", "").partition(" ")
                    desk.check_key(scheme, given)
            except SetsailError as fault:
                notes = fault
            if desk.lasting:
                plan.notes = notes
        if notes is _OPEN:
            return True
        self._refused(call, notes)
        return False

    def _started(self, call: Call) -> None:
        """Only the head is there: refuse what will be refused anyway."""
        if call.plan.method is not None:
            if self._may_call(call) and call.plan.method.kind == UNARY and (fault := self.plane.refusal()):
                self._refused(call, fault)
            return
        plan, desk = self._plan(call), self.plane.desk
        fault = desk.admit(plan, max(call.plan.head.length, 0)) if plan.reply is None else None
        if plan.reply is not None and plan.code != "ok":
            desk.count(plan.path, plan.code)
            self._respond(call, plan.reply)
        elif fault is not None:
            self._respond(call, desk.refuse(plan.path, fault))
        else:
            self.calls.go_on(call)

    def _refused(self, call: Call, fault: SetsailError) -> None:
        desk = self.plane.desk
        self._cancel(call)
        if call.plan.method is None:
            self._respond(call, desk.refuse(call.plan.path, fault))
        else:
            fault = desk.failed(fault)
            desk.meter.answered("", 0, call.plan.method.wire, fault.code, 0.0, 0)
            self.calls.refuse(call, fault)

    def _respond(self, call: Call, reply: HttpReply) -> None:
        plan = call.plan.notes
        headers = plan.headers if isinstance(plan, Plan) else ()
        self.calls.respond(call, reply.plus(headers), self.plane.date)

    def _cancel(self, call: Call) -> None:
        if call.user is not None:
            call.user.cancel()

    # -- writing

    def flush_soon(self) -> None:
        """Write when the loop has called whoever else answers in this turn."""
        if not self._armed and not self._gone:
            self._armed = True
            self.plane.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._armed = False
        transport = self._transport
        if self._gone or transport.is_closing():
            return
        output = self._connection.take_output()
        if output:
            transport.write(output)
        if self._connection.finished:
            self._finish()

    def _finish(self) -> None:
        """Close, once the client has seen the last frame. What still comes is read and thrown away until it closes too,
        or for a moment: closing a socket with unread octets resets it, and the last answers may be lost with it."""
        transport, self._gone = self._transport, True
        if not transport.can_write_eof():  # TLS
            transport.close()
            return
        if not self._writable:
            transport.resume_reading()
        transport.write_eof()
        self.plane.loop.call_later(_LINGER, transport.close)

    # -- time

    def tick(self, now: float) -> None:
        """Once a second, with the clock of the event loop."""
        if self._gone:
            return
        self._connection.refresh()
        clock = perf_counter()
        for stream in list(self._connection.streams.values()):
            call: Call | None = stream.user
            if call is not None and call.user is not None and not call.over:
                call.user.expire(clock)
        self._look_for_slow(now)
        self._look_for_silent(now)
        self._flush()

    def _look_for_slow(self, now: float) -> None:
        """Streams on which something is half done, and nothing of it has moved."""
        plane, seen = self.plane, self._seen
        self._seen = {}
        if not plane.min_bytes:
            return
        for stream in list(self._connection.streams.values()):
            call: Call | None = stream.user
            if call is None or not (stream.queue is not None or call.owed):
                continue
            step = (stream.queued, call.partial // plane.min_bytes, call.taken // plane.min_bytes)
            before, since = seen.get(stream.number, (step, now))
            since = since if before == step else now
            if now - since < _SLOW:
                self._seen[stream.number] = (step, since)
            elif stream.queue is not None:
                self._cancel(call)
                self.calls.abandon(call)
            else:
                self._refused(call, SetsailError("request.slow", "the call's message came too slowly", field="message"))

    def _look_for_silent(self, now: float) -> None:
        """Connections that do not move: unread answers, half a frame, nothing at all."""
        plane, connection, transport = self.plane, self._connection, self._transport
        waiting = transport.get_write_buffer_size()
        if waiting != self._waiting or not waiting:
            self._waiting, self._moved = waiting, now
        elif plane.min_bytes and now - self._moved >= _SLOW:
            transport.abort()
            return
        silent = now - self._heard
        if connection.half_read:
            if silent >= plane.header_timeout:
                transport.abort()
        elif not connection.streams:
            if silent >= plane.idle_timeout:
                connection.goaway()
        elif silent >= 2 * plane.idle_timeout:
            transport.abort()
        elif silent >= plane.idle_timeout and not self._asked:
            self._asked = True
            connection.ask()

    # -- the end

    def drain(self) -> None:
        """Say GOAWAY, and finish what runs."""
        self._connection.drain()
        self._flush()
        self._wind_down({})

    def _wind_down(self, before: dict[int, int]) -> None:
        """Streams that would stay open for ever end when they have been silent for a moment.

        Args:
            before: streams that were idle a moment ago, with the messages they had brought until then.
        """
        if self._gone:
            return
        idle: dict[int, int] = {}
        for stream in list(self._connection.streams.values()):
            call: Call | None = stream.user
            user = call.user if call is not None else None
            if call is None or call.over:
                continue
            if isinstance(user, Watch):
                user.look()
                self.calls.refuse(call, _draining())
            elif isinstance(user, Each) and user.idle:
                if before.get(stream.number) == user.heard:
                    self.calls.refuse(call, _draining())
                else:
                    idle[stream.number] = user.heard
        self._flush()
        if self._connection.streams:
            self.plane.loop.call_later(_WOUND_DOWN, self._wind_down, idle)


def _draining() -> SetsailError:
    return SetsailError("server.draining", "the server is shutting down", retry_after=1)
