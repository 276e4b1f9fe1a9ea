"""One client's connection: bytes from the socket to the HTTP engine, replies back in order.

The theory. asyncio reads into a buffer that the protocol names (`BufferedProtocol`): between bodies that is one scratch
buffer that all connections share, because every read is used up before the next begins; inside a body whose length was
announced it is the body's own, so that a tensor's bytes are copied by the kernel only. What is read is HTTP/1.1
(`protocols/http1`) unless it begins with HTTP/2's preface, then `streams.py` has it.

Requests of one connection may be answered in any order, but replies go out in the order of requests (RFC 9112 §9.3.2),
so each request has a place in `_places` that its reply fills. No clock runs for a request: once a second `Plane.tick`
asks every connection what has moved since, and that is enough for time-outs of seconds.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from setsail.errors import SetsailError
from setsail.protocols.budget import Budget
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.http1.head import Head, Heads, Limits
from setsail.protocols.http1.reader import Message, Reader
from setsail.protocols.http1.writer import CONTINUE, compress, render
from setsail.server.dispatch import Desk, Plan

if TYPE_CHECKING:
    from setsail.scheduling import Ticket

__all__ = ["Connection", "Process"]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4
_PIPELINED: Final = 32  # requests of one connection that are answered at once; more are read when some are done
_SHARED_SCRATCH: Final = sys.platform != "win32"  # the proactor reads into a buffer long after it has asked for it
_SMALL: Final = 4096  # bytes of a body
_RATE_WINDOW: Final = 10.0
_GONE: Final = 2.0  # seconds without an answer after which a client that said its last word is taken to be gone


class Process(Protocol):
    """What is needed of `plane.Plane`, which all connections share."""

    desk: Desk
    loop: Any
    heads: Heads
    limits: Limits
    budget: Budget
    scratch: memoryview
    inflight: int
    now: float
    date: bytes
    draining: bool
    gzip_replies: int
    header_timeout: float
    idle_timeout: int
    min_bytes: int

    def opened(self, connection: Connection, address: str) -> SetsailError | None: ...
    def lost(self, connection: Connection, address: str) -> None: ...
    def refusal(self) -> SetsailError | None: ...
    def streams(self, transport: Any) -> Any: ...
    def linger(self, connection: Connection) -> None: ...


class _Place:
    """A request's place in the order of replies. It is what `Desk.handle` calls back with the reply."""

    __slots__ = ("connection", "last", "message", "plan", "reply", "ticket")

    def __init__(self, connection: Connection, message: Message, plan: Plan, last: bool) -> None:
        self.connection, self.message, self.plan, self.last = connection, message, plan, last
        self.reply: HttpReply | None = None
        self.ticket: Ticket | None = None

    def __call__(self, reply: HttpReply) -> None:
        self.reply = reply
        self.connection.replied(self)


class Connection(asyncio.BufferedProtocol):
    """The asyncio protocol of the data port."""

    __slots__ = (
        "_address", "_closing", "_direct", "_due", "_half", "_lost", "_moved", "_own", "_paused", "_places", "_plane",
        "_reader", "_seen", "_since", "_sniffed", "_streams", "_transport", "_writable", "served",
    )  # fmt: skip

    def __init__(self, plane: Process) -> None:
        self._plane = plane
        self._reader = Reader(plane.heads, plane.budget, plane.limits)
        self._places: deque[_Place] = deque()
        self._transport: Any = None
        self._streams: Any = None
        self._address = ""
        self._own = plane.scratch if _SHARED_SCRATCH else memoryview(bytearray(1 << 16))
        self._sniffed = self._direct = self._due = self._paused = self._closing = self._lost = self._half = False
        self._writable = True
        self._seen = b""  # of a connection whose first bytes could still become the preface
        self.served = 0
        self._since = plane.now
        self._moved: tuple[object, ...] = ()

    # -- asyncio's calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        refusal = self._plane.opened(self, self._address)
        if refusal is not None:
            self._sniffed = True
            self._end(refusal)
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self._become_streams(b"")

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._streams is None and (room := self._reader.room()) is not None:
            self._direct = True
            return room
        self._direct = False
        return self._own

    def buffer_updated(self, nbytes: int) -> None:
        if self._streams is not None:
            self._streams.data_received(bytes(self._own[:nbytes]))
            return
        if self._closing:
            return  # what is read after a refusal is thrown away until the client has read it (`_end`)
        reader = self._reader
        if self._direct:
            reader.filled(nbytes)
        elif self._sniffed:
            reader.feed(self._own[:nbytes])
            if not self._places and self._writable and not self._paused and reader.fresh and len(reader.messages) == 1:
                self._begin(reader.messages.popleft())  # one request, whole: as `_advance` does, in fewer steps
                return
        elif not self._sniff(bytes(self._own[:nbytes])):
            return
        self._advance()

    def eof_received(self) -> bool:
        """The client has said its last word; it may still read. Close when nothing is owed to it.

        Most such clients have gone, and nothing tells the two apart: what can be answered soon is, see `tick`.
        """
        has_halves = self._transport.get_extra_info("ssl_object") is None  # a TLS connection has none to keep
        if self._streams is not None:
            return bool(self._streams.eof()) and has_halves
        if self._closing:
            return False
        self._half = True
        self._reader.eof()
        self._advance()
        return bool(self._places) and not self._lost and has_halves

    def pause_writing(self) -> None:
        self._writable = False
        if self._streams is not None:
            self._streams.pause_writing()
        self._look_after_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if self._streams is not None:
            self._streams.resume_writing()
            return
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever still waits for a run is taken out of the queue; the rest is answered into nothing."""
        self._lost = self._closing = True
        if self._streams is not None:
            self._streams.closed()
        for place in self._places:
            if place.ticket is not None:
                place.ticket.cancelled = True
            if place.reply is None:
                self._plane.inflight -= 1
            self._plane.budget.give(place.message.taken)
            place.message.taken = 0
        self._places.clear()
        self._reader.close()
        self._plane.lost(self, self._address)

    # -- requests ------------------------------------------------------------------------------------------------

    def _sniff(self, data: bytes) -> bool:
        """HTTP/2 announces itself by its first bytes, which no request of HTTP/1 has. True when this is HTTP/1."""
        data, self._seen = self._seen + data, b""
        if not _PREFACE.startswith(data[: len(_PREFACE)]):
            self._sniffed = True
            self._reader.feed(data)
            return True
        if len(data) < len(_PREFACE):
            self._seen = data
        else:
            self._become_streams(data)
        return False

    def _become_streams(self, data: bytes) -> None:
        self._sniffed = True
        self._streams = self._plane.streams(self._transport)
        if data:
            self._streams.data_received(data)

    def _advance(self) -> None:
        """Begin whatever has come and may begin."""
        reader, places = self._reader, self._places
        turns = _PIPELINED
        while reader.messages and not self._closing and self._writable and len(places) < _PIPELINED:
            if not turns:  # answered at once, all of them: other connections have their turn now
                self._advance_soon()
                break
            turns -= 1
            self._begin(reader.messages.popleft())
        if not reader.messages and not places and not self._closing:  # replies, and 100 Continue too, come in order
            if reader.begun is not None:
                self._look_at_head(reader.begun)
            if reader.fault is not None and not self._closing:
                self._end(reader.fault, self._plan(reader.begun) if reader.begun is not None else None)
        if self._paused or reader.messages or len(places) >= _PIPELINED or not self._writable:
            self._look_after_reading()

    def _look_at_head(self, head: Head) -> None:
        """Before its body: refuse what will be refused anyway, and tell a client that waits for it to go on."""
        plan = self._plan(head)
        fault = self._plane.desk.admit(plan, max(head.length, 0)) if plan.reply is None else None
        refused = plan.reply is not None and plan.code != "ok"
        if not refused and fault is None:
            if self._reader.take_continue():
                self._write(CONTINUE)
            return
        reply = plan.reply if plan.reply is not None and fault is None else None
        self._end(fault, plan, reply)

    def _plan(self, head: Head) -> Plan:
        plan: Plan | None = head.plan
        if plan is None:
            plan = head.plan = self._plane.desk.plan(head.method, head.path, head.headers)
        return plan

    def _begin(self, message: Message) -> None:
        head, plane = message.head, self._plane
        plan: Plan = head.plan or self._plan(head)
        place = _Place(self, message, plan, not head.keep_alive)
        self._places.append(place)
        self.served += 1
        plane.inflight += 1
        if plan.match is None:
            assert plan.reply is not None
            if plan.code != "ok":
                plane.desk.count(plan.path, plan.code)
            place(plan.reply)
            return
        size = len(message.body)
        # Decoding a small body costs less than refusing it: those are refused where they would wait (`Line.put`).
        fault = plane.refusal() or (plane.desk.admit(plan, size) if size > _SMALL else None)
        if fault is not None:
            place(plane.desk.refuse(plan.path, fault))
            return
        request = HttpRequest(head.method, head.path, head.query, head.headers, message.body)
        place.ticket = plane.desk.handle(plan.match, request, place, plane.loop)

    # -- replies -------------------------------------------------------------------------------------------------

    def replied(self, place: _Place) -> None:
        """A place has its reply: write it if nobody is before it."""
        if self._lost:
            return
        plane, places = self._plane, self._places
        plane.inflight -= 1
        if places[0] is not place:
            return
        data = self._rendered(places.popleft())
        while places and not self._closing and places[0].reply is not None:
            data += self._rendered(places.popleft())
        self._write(data)
        if self._closing:
            self._finish()
        elif self._reader.messages or self._reader.fault is not None or self._reader.begun is not None or self._paused:
            self._advance_soon()

    def _advance_soon(self) -> None:
        if not self._due:
            self._due = True
            self._plane.loop.call_soon(self._advance_again)

    def _advance_again(self) -> None:
        self._due = False
        if not self._lost:
            self._advance()

    def _rendered(self, place: _Place) -> bytes:
        plane, plan, head, reply = self._plane, place.plan, place.message.head, place.reply
        assert reply is not None
        if place.message.taken:
            plane.budget.give(place.message.taken)
            place.message.taken = 0
        if plan.headers:
            reply = reply.plus(plan.headers)
        if len(reply.body) >= plane.gzip_replies > 0:
            reply = compress(reply, head.headers.get("accept-encoding", ""), plane.gzip_replies)
        # The last reply says so. What was read, or is being read, is answered first: a server that ends loses nothing.
        owing = self._places or self._reader.messages
        close = place.last or (not owing and (self._half or (plane.draining and self._reader.idle)))
        if close:
            self._closing = True
        return render(reply, date=plane.date, close=close, head_only=plan.head_only, minor=head.minor)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def _finish(self) -> None:
        """Close, once the client has seen the last reply. Bytes that are still coming are read and thrown away until it
        closes too, for a moment: closing a socket with unread bytes makes the kernel reset it, and the client would
        never see the reply (RFC 9112 §9.6)."""
        self._reader.close()
        if self._half or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._plane.linger(self)

    def _end(self, fault: SetsailError | None, plan: Plan | None = None, reply: HttpReply | None = None) -> None:
        """Refuse, and close."""
        self._closing = True
        desk, headers = self._plane.desk, plan.headers if plan is not None else ()
        path = plan.path if plan is not None else "/"
        if reply is None:
            assert fault is not None
            reply = desk.refuse(path, fault)
        else:
            desk.count(path, plan.code if plan is not None else "ok")
        reply = reply.plus(headers)
        head_only = plan is not None and plan.head_only
        self._write(render(reply, date=self._plane.date, close=True, head_only=head_only))
        self._finish()

    # -- looked at once a second ------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Close what has been idle, or has been too slow, for too long."""
        if self._streams is not None:
            self._streams.tick(now)
            return
        if self._lost:
            return
        reader, plane, least = self._reader, self._plane, max(1, self._plane.min_bytes)
        waiting = self._transport.get_write_buffer_size()
        moved = (
            self.served, reader.progress // least, waiting // least, waiting == 0, len(self._places), reader.idle,
            reader.begun is None,
        )  # fmt: skip
        if moved != self._moved:
            self._moved, self._since = moved, now
            return
        quiet = now - self._since
        if waiting:
            if plane.min_bytes and quiet >= _RATE_WINDOW:
                self._transport.abort()  # a client that does not read its answers
        elif self._closing:
            return  # `_finish` sees to it
        elif self._places:
            if self._half and quiet >= _GONE:
                self._transport.abort()
        elif reader.idle and not self._seen:
            if quiet >= plane.idle_timeout:
                self._transport.close()
        else:
            self._check_pace(quiet)

    def _check_pace(self, quiet: float) -> None:
        """Of a request that has begun and not moved on for so long."""
        reader, plane = self._reader, self._plane
        in_body = reader.begun is not None
        if quiet >= (_RATE_WINDOW if in_body else plane.header_timeout) and (plane.min_bytes or not in_body):
            what = "the body" if in_body else "the request's head"
            self._end(SetsailError("request.slow", f"{what} came too slowly", value=f"{reader.progress} bytes"))

    @property
    def quiet(self) -> bool:
        """Nothing is owed to the client, and nothing of a request was read."""
        if self._streams is not None:
            return bool(self._streams.quiet)
        return not self._places and self._reader.idle

    def drain(self) -> None:
        """Say goodbye where the protocol has a word for it (GOAWAY)."""
        if self._streams is not None:
            self._streams.drain()

    def close(self) -> None:
        if self._transport is not None and not self._lost:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None and not self._lost:
            self._transport.abort()

    def _look_after_reading(self) -> None:
        """Read only while there is room for what comes: enough answers owed, or unread ones, push back."""
        full = not self._writable or len(self._places) >= _PIPELINED or bool(self._reader.messages)
        stop = full and not self._closing
        if self._streams is not None or stop == self._paused or self._lost:
            return
        self._paused = stop
        if stop:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
