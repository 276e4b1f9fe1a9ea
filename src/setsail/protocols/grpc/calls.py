"""gRPC calls, and plain HTTP requests, over one HTTP/2 connection; no socket, no clock.

`Calls` turns what the connection says into calls with whole messages, and answers into frames. A request that is not
gRPC (by its content type) is a call without a method: it arrives as an `HttpRequest` and is answered by `respond`.

    Started    a call whose first message, or a request whose body, is still to come: time to look at the head
    Arrived    a message: the only one of a "unary" or "watch" call, each one of an "each" call
    Ended      no more messages of an "each" call
    Requested  a whole request that is not gRPC
    Refused    what came is no call of ours; answer it by `refuse`, or by `respond` when `call.method` is None
    Cancelled  nobody waits for an answer any more

What follows from a header block alone is worked out once and kept with it (`Plan`): the method, the deadline, the
encodings, and whatever the server adds in `notes`. Bytes of messages are taken from the budget as they come and given
back with the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols.budget import Budget
from setsail.protocols.grpc.framing import ENCODINGS, PREFIX, Framing, compressed, prefix, unpacked
from setsail.protocols.grpc.method import EACH, Method
from setsail.protocols.grpc.plans import Plan, plan_of, too_large
from setsail.protocols.grpc.replies import reply_block
from setsail.protocols.grpc.status import OK, fault_trailers, trailers
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.http2 import frames
from setsail.protocols.http2.connection import Connection
from setsail.protocols.http2.events import Data, Opened, Whole
from setsail.protocols.http2.events import Reset as StreamReset
from setsail.protocols.http2.fields import encode
from setsail.protocols.http2.streams import Limits, Stream

__all__ = ["Arrived", "Call", "Calls", "Cancelled", "Ended", "Event", "Refused", "Requested", "Started"]

_AHEAD: Final = 64  # messages of one call that may wait for their answers; the others wait in the client's window
_HEAD: Final = encode([(":status", "200"), ("content-type", "application/grpc")])
_HEAD_GZIP: Final = encode([
    (":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip"),
    ("grpc-accept-encoding", ",".join(ENCODINGS)),
])  # fmt: skip
_HEAD_REFUSED: Final = encode([
    (":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", ",".join(ENCODINGS)),
])  # fmt: skip
_CONTINUE: Final = encode([(":status", "100")])


class Call:
    """One call, or one plain request.

    Attributes:
        plan: shared by all calls with the same header block.
        waiting: messages that arrived and have no answer yet.
        over: answered, refused or cancelled.
        user: the server's.
    """

    __slots__ = (
        "_begun", "_ending", "_first", "_framing", "_gzip", "_held", "_parts", "_sizes",
        "over", "plan", "stream", "taken", "user", "waiting",
    )  # fmt: skip

    def __init__(self, stream: Stream, plan: Plan, taken: int = 0) -> None:
        self.stream = stream
        self.plan = plan
        self.taken = taken
        self.waiting = 0
        self.over = False
        self.user: Any = None
        self._begun = False
        self._gzip = False
        self._framing: Framing | None = None
        self._parts: list[bytes] | None = None
        self._sizes: deque[int] | None = None
        self._held = 0
        self._first: bytes | memoryview = b""
        self._ending = False

    @property
    def method(self) -> Method | None:
        return self.plan.method

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.plan.head.headers

    @property
    def wants_more(self) -> bool:
        """Messages wait for answers to others, and half of those have come."""
        return self._held > 0 and self.waiting <= _AHEAD // 2

    @property
    def owed(self) -> bool:
        """The client has begun something that it has to go on with: a request, or a message."""
        if self.over or self.waiting:
            return False
        return self.partial > 0 or self.plan.method is None or self.plan.method.kind != EACH

    @property
    def partial(self) -> int:
        """Octets of a message, or of a body, that is not whole yet."""
        if self._framing is not None:
            return self._framing.have
        return sum(map(len, self._parts)) if self._parts else 0


class Started(Struct):
    call: Call


class Arrived(Struct):
    call: Call
    message: bytes | memoryview


class Ended(Struct):
    call: Call


class Requested(Struct):
    call: Call
    request: HttpRequest


class Refused(Struct):
    call: Call
    fault: SetsailError


class Cancelled(Struct):
    call: Call


Event = Started | Arrived | Ended | Requested | Refused | Cancelled


class Calls:
    """The calls of one connection.

    Args:
        methods: by path.

    Attributes:
        connection: for `take_output`, `finished`, `idle`, `stalled`, `drain` and `refresh`.
    """

    def __init__(self, limits: Limits, budget: Budget, methods: Mapping[str, Method]) -> None:
        self.connection = Connection(limits, budget)
        self._limits = limits
        self._budget = budget
        self._methods = methods
        self._events: list[Event] = []

    # -- reading

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """Read what the socket delivered. Never raises for what a client sends."""
        events, budget, most = self._events, self._budget, self._limits.message
        for event in self.connection.receive(data):
            if type(event) is Whole:
                stream, body = event.stream, event.body
                plan = stream.head.plan or plan_of(stream.head, self._limits, self._methods)
                size = len(body)
                stream.user = call = Call(stream, plan, size)
                if (
                    plan.simple
                    and body[:1] == b"\0"
                    and int.from_bytes(body[1:5], "big") == size - PREFIX
                    and size <= most
                    and budget.take(size)
                ):
                    call.waiting = 1
                    events.append(Arrived(call, body[PREFIX:]))
                    continue
                call.taken = 0
                self._begin(call)
                self._body(call, body, True)
            elif type(event) is Data:
                if event.stream.user is not None:
                    self._body(event.stream.user, event.data, event.end)
            elif type(event) is Opened:
                stream = event.stream
                plan = stream.head.plan or plan_of(stream.head, self._limits, self._methods)
                stream.user = call = Call(stream, plan)
                self._begin(call)
                if not call.over:
                    events.append(Started(call))
            elif type(event) is StreamReset:
                self._cancel(event.stream.user)
                event.stream.user = None
        self._events = []
        return events

    def _begin(self, call: Call) -> None:
        plan = call.plan
        if plan.fault is not None:
            self._refuse(call, plan.fault)
        elif plan.method is None:
            call._parts = []
        else:
            call._framing = Framing(self._limits.message)
            call._sizes = deque()

    def _refuse(self, call: Call, fault: SetsailError) -> None:
        call.over = True
        self._release(call)
        self._events.append(Refused(call, fault.kept()))

    def _cancel(self, call: Call | None) -> None:
        if call is not None:
            self._release(call)
            if not call.over:
                call.over = True
                self._events.append(Cancelled(call))

    def _release(self, call: Call) -> None:
        self._budget.give(call.taken)
        call.taken = 0
        call._parts = call._framing = None

    def _body(self, call: Call, data: bytes, end: bool) -> None:
        """Octets of a body, and whether they are the last."""
        if call.over:
            return
        size = len(data)
        if not self._budget.take(size):
            fault = SetsailError("server.busy", "the server holds as many bytes of requests as it may", retry_after=1)
            return self._refuse(call, fault)
        call.taken += size
        try:
            if call.plan.method is None:
                self._plain_body(call, data, end)
            else:
                self._messages(call, data, end)
        except SetsailError as fault:
            self._refuse(call, fault)

    def _plain_body(self, call: Call, data: bytes, end: bool) -> None:
        parts = call._parts
        assert parts is not None
        parts.append(data)
        if call.taken > self._limits.message:
            raise too_large(self._limits.message)
        self.connection.consumed(call.stream, len(data))
        if end:
            plan, head = call.plan, call.plan.head
            request = HttpRequest(head.method, plan.path, plan.query, head.headers, b"".join(parts))
            parts.clear()
            call.waiting = 1
            self._events.append(Requested(call, request))

    def _messages(self, call: Call, data: bytes, end: bool) -> None:
        """Octets of a gRPC call."""
        assert call.plan.method is not None
        if call.plan.method.kind == EACH:
            call._ending = end
            call._held += len(data)
            self._stream(call, data)
            return
        self.connection.consumed(call.stream, len(data))
        framing = call._framing
        assert framing is not None
        for flag, packed in framing.feed(data):
            call.waiting += 1
            if call.waiting > 1:
                raise _malformed("a call with one request has several", call)
            call._first = self._unpacked(call, packed) if flag else packed
        if not end:
            return
        if framing.have:
            raise _malformed("the call ends within a message", call)
        if not call.waiting:
            raise _malformed("the call ends without a message", call)
        self._events.append(Arrived(call, call._first))

    def _stream(self, call: Call, data: bytes) -> None:
        """Messages of an "each" call, as far as their answers keep up; then its window stays shut."""
        framing, sizes = call._framing, call._sizes
        assert framing is not None
        assert sizes is not None
        for flag, packed in framing.feed(data, _AHEAD - call.waiting):
            message = self._unpacked(call, packed) if flag else packed
            sizes.append(len(message))
            call.waiting += 1
            self._events.append(Arrived(call, message))
        if call.waiting >= _AHEAD:
            return
        self.connection.consumed(call.stream, call._held)
        call._held = 0
        if call._ending:
            if framing.have:
                raise _malformed("the call ends within a message", call)
            self._events.append(Ended(call))

    def more(self, call: Call) -> list[Event]:
        """Messages of an "each" call that had to wait for answers to those before them."""
        if not call.over and call.wants_more:
            try:
                self._stream(call, b"")
            except SetsailError as fault:
                self._refuse(call, fault)
        events, self._events = self._events, []
        return events

    def _unpacked(self, call: Call, packed: bytes | memoryview) -> bytes:
        """A compressed message; what it grows by counts like what was sent."""
        message = unpacked(packed, call.plan.encoding, self._limits.message)
        more = max(0, len(message) - len(packed))
        if not self._budget.take(more):
            raise SetsailError("server.busy", "the server holds as many bytes of requests as it may", retry_after=1)
        call.taken += more
        if not call._begun:  # the answer's encoding is said in its first header block, and cannot change after it
            call._gzip = call.plan.takes_gzip
        return message

    # -- answering

    def reply(self, call: Call, message: bytes) -> None:
        """A message. It is all of the answer to a "unary" call; others go on until `finish`."""
        if call.over:
            return
        head, flag, stream = _HEAD, 0, call.stream
        if call._gzip:
            head, flag, message = _HEAD_GZIP, 1, compressed(message)
        if call.plan.simple:
            call.over = True
            self._budget.give(call.taken)
            call.taken = 0
            self.connection.answer(stream, head, prefix(len(message), flag), message, OK)
            return
        if not call._begun:
            call._begun = True
            self.connection.headers(stream, head)
        self.connection.data(stream, prefix(len(message), flag))
        self.connection.data(stream, message)
        self._answered(call)

    def _answered(self, call: Call) -> None:
        """One of the messages of a streaming call has its answer: its memory goes back, and the window opens again."""
        if call.plan.method is None or call.plan.method.kind != EACH or not call._sizes:
            return
        size = min(call._sizes.popleft(), call.taken)
        call.taken -= size
        self._budget.give(size)
        call.waiting -= 1

    def finish(self, call: Call, status: int = 0, text: str = "", metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """End a call."""
        if not call.over:
            call.over = True
            self._release(call)
            self._end(call, trailers(status, text, metadata))

    def refuse(self, call: Call, fault: SetsailError) -> None:
        """End a gRPC call with a fault, whether or not something was answered before."""
        call.over = True
        self._release(call)
        method = call.plan.method
        self._end(call, fault_trailers(fault) if method is None else fault_trailers(fault, method.status))

    def _end(self, call: Call, block: bytes) -> None:
        if not call._begun:  # "Trailers-Only"
            block = (_HEAD_REFUSED if call.plan.fault is not None else _HEAD) + block
        self.connection.trailers(call.stream, block, True)

    def respond(self, call: Call, reply: HttpReply, date: bytes) -> None:
        """Answer a request that is not gRPC.

        Args:
            date: the value of `Date`.

        Raises:
            SetsailError: `server.fault` for a header that is none.
        """
        block = reply_block(reply, date)
        call.over = True
        self._release(call)
        bodiless = call.plan.head.method == "HEAD" or reply.status in (204, 304) or not reply.body
        self.connection.headers(call.stream, block, bodiless)
        if not bodiless:
            self.connection.data(call.stream, reply.body, True)

    def go_on(self, call: Call) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 §10.1.1)."""
        if "expect" in call.metadata and not call._begun and not call.over:
            self.connection.headers(call.stream, _CONTINUE)

    def abandon(self, call: Call) -> None:
        """End a call without an answer, or within one that its client does not take."""
        call.over = True
        self._release(call)
        self.connection.reset(call.stream, frames.CANCEL)

    def close(self) -> list[Call]:
        """The socket is gone. Returns the calls that were not answered yet."""
        calls = [call for stream in self.connection.streams.values() if (call := stream.user) is not None]
        for call in calls:
            self._release(call)
        self.connection.close()
        return [call for call in calls if not call.over]


def _malformed(what: str, call: Call) -> SetsailError:
    return SetsailError("request.malformed", what, field="message", value=call.plan.path)
