"""Bytes of one HTTP/1 connection to requests. No socket and no clock: whoever has them pushes bytes in.

A request is in one of three states, and each has its own way for bytes to arrive:

    head      `feed` looks for the empty line; a request that is whole in one read never leaves this state
    body      of a known length: the socket may read straight into `room()`, so that a large tensor is copied once
    chunks    llhttp takes the framing off; the buffer grows with what came

Three rules hold in all of them. Memory follows what has arrived, never what a client announces: the budget is asked
for bytes that are there, and a large buffer is made once its first part is full. A head never depends on bytes after
it. After a fault, or after a request that closes the connection, nothing more is read.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols.budget import Budget
from setsail.protocols.http1.chunks import Chunks
from setsail.protocols.http1.head import CHUNKED, Head, Heads, Limits, malformed, too_long

__all__ = ["Message", "Reader"]

Bytes = bytes | bytearray | memoryview
_END: Final = b"\r\n\r\n"
_EMPTY: Final = (b"", b"\r", b"\r\n")
_WINDOW: Final = 4096  # of a read, searched for the end of a head
_SMALL: Final = 1 << 16  # bodies up to here that came with their head are `bytes`
_FIRST: Final = 1 << 20  # first buffer of a larger body; it has to be full before there is more
_TOKEN: Final = frozenset(b"!#$%&'*+.^_`|~-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Message(Struct, gc=False):
    """One complete request. `taken` bytes of the budget are the receiver's to give back, with the answer."""

    head: Head
    body: bytes | memoryview
    taken: int


class Reader:
    """What one connection sent, as requests in order.

    Attributes:
        messages: complete requests; the receiver pops them from the left.
        begun: the head of a request whose body is not whole yet; also of the one that `fault` is about, if known.
        fault: why nothing more can be read. The requests before it are good.
        fresh: between requests, with nothing of the next one, and another one may come.
    """

    __slots__ = (
        "_arrived", "_at", "_budget", "_chunks", "_heads", "_held", "_limits", "_pending", "_room", "_size",
        "_waits", "begun", "fault", "fresh", "messages",
    )  # fmt: skip

    def __init__(self, heads: Heads, budget: Budget, limits: Limits) -> None:
        self.messages: deque[Message] = deque()
        self.begun: Head | None = None
        self.fault: SetsailError | None = None
        self._heads, self._budget, self._limits = heads, budget, limits
        self.fresh = True
        self._pending = bytearray()  # of a head
        self._room: memoryview | None = None  # buffer of the body that is arriving, filled up to `_at` of `_size`
        self._at = self._size = 0
        self._chunks: Chunks | None = None
        self._held = 0  # bytes of the budget that are not in `messages`
        self._arrived = 0  # bytes of this request that the two above do not count
        self._waits = False

    # -- what the server asks ------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing of the next request is here; an empty line does not count."""
        return self.fresh or (self.begun is None and self.fault is None and bytes(self._pending) in _EMPTY)

    @property
    def progress(self) -> int:
        """Bytes of the current request so far. It only grows until the request is whole."""
        return self._arrived + len(self._pending) + self._at

    def take_continue(self) -> bool:
        """True once, when the client waits for `100 Continue` before it sends the body."""
        waits, self._waits = self._waits, False
        return waits

    def room(self) -> memoryview | None:
        """Where the next bytes of the connection belong, or None: then they are for `feed`."""
        if self._room is None or self.fault is not None:
            return None
        return self._room[self._at : self._at + _FIRST]

    # -- what the server brings ----------------------------------------------------------------------------------

    def filled(self, n: int) -> None:
        """The socket read `n` bytes into `room()`."""
        room = self._room
        if room is None or not self._take(n):
            return
        self._waits = False
        self._at += n
        if self._at == self._size:
            self._complete(room.toreadonly())
        elif self._at == len(room):
            self._enlarge(room)

    def feed(self, data: Bytes) -> None:
        """Bytes that were read elsewhere: any part of a request, or several requests."""
        if self.fresh and len(data) <= _WINDOW:
            raw = bytes(data)
            end = raw.find(_END) + 4
            head = self._heads.recent.get(raw[:end]) if end > 3 else None
            # One request, whole, of a head that is known: nearly every read of a busy server ends here.
            if (
                head is not None
                and end + head.length == len(raw)
                and head.keep_alive
                and self._budget.take(head.length)
            ):
                self.messages.append(Message(head, raw[end:], head.length))
                return
        view = memoryview(data)
        while view and self.fault is None:
            if self._room is not None:
                view = view[self._copy(view) :]
            elif self._chunks is not None:
                view = view[self._unchunk(view, self._chunks) :]
            elif self._pending or self.fresh:
                view = view[self._read_head(view) :]
            else:
                return  # the last request said that it was the last

    def eof(self) -> None:
        """The client sends no more."""
        if not self.idle and self.fault is None and (self.begun is not None or self._pending):
            self._fail(malformed("the connection ended inside a request"))
        self.fresh = False
        self._pending.clear()

    def close(self) -> None:
        """Give the budget back what is not with the receiver. Nothing can be read afterwards."""
        self._budget.give(self._held + sum(message.taken for message in self.messages))
        self.messages.clear()
        self._pending.clear()
        self._held, self._room, self._chunks, self.fresh = 0, None, None, False

    # -- heads ---------------------------------------------------------------------------------------------------

    def _read_head(self, view: memoryview) -> int:
        """Look for a head at the start of `view`, after what is pending; returns how much of it was read."""
        if not self._pending:
            window = bytes(view[:_WINDOW])
            end = window.find(_END) + 4
            if end > 3:
                return end + self._begin(window[:end], view[end:])
        before = len(self._pending)
        if not self._take(min(len(view), self._limits.head + 1 - before)):
            return 0
        self.fresh = False
        self._pending += view[: self._limits.head + 1 - before]
        end = self._pending.find(_END, max(0, before - 3)) + 4
        if end < 4:
            self._check_pending(before)
            return len(view)
        raw = bytes(self._pending[:end])
        self._release()
        return end - before + self._begin(raw, view[end - before :])

    def _check_pending(self, before: int) -> None:
        """Refuse at once what no further byte can make a head; a client that speaks TLS here waits for an answer."""
        pending = self._pending
        if len(pending) > self._limits.head:
            self._fail(too_long(self._limits))
            return
        start = 2 if pending.startswith(b"\r\n") else 0
        if len(pending) > start and pending[start] not in _TOKEN and pending[start:] != b"\r":
            self._fail(malformed("the bytes are not HTTP", value=bytes(pending[:16])))
            return
        new = pending[max(0, before - 1) :]
        if new.count(b"\n") - new.startswith(b"\n") != new.count(b"\r\n"):
            self._fail(malformed("a line of the head ends in LF alone"))
            return
        line = pending.find(b"\r\n", max(start, before - 1)) if pending.find(b"\r\n", start, before) < 0 else -1
        if line >= 0 and not pending[:line].endswith((b" HTTP/1.1", b" HTTP/1.0")):
            self._known(bytes(pending[:line]) + _END)  # HTTP/0.9 and others, told by the parser's own words

    def _known(self, raw: bytes) -> Head | None:
        try:
            return self._heads.get(raw)
        except SetsailError as fault:
            self._fail(fault)
            return None

    def _begin(self, raw: bytes, rest: memoryview) -> int:
        """A request whose head is whole; returns how much of its body, at the start of `rest`, was read."""
        head = self._known(raw)
        if head is None:
            return 0
        self.fresh = False
        self.begun = head
        length = head.length
        if length > self._limits.body:
            self._refuse_body(length)
            return 0
        self._arrived = len(raw)
        if length == CHUNKED:
            self._chunks = Chunks()
        elif length <= min(len(rest), _SMALL):
            if self._take(length):
                self._complete(bytes(rest[:length]))
            return length
        else:
            self._at, self._size = 0, length
            self._room = self._buffer(min(length, _FIRST))
        self._waits = head.expects and not rest
        return 0

    # -- bodies --------------------------------------------------------------------------------------------------

    def _copy(self, view: memoryview) -> int:
        room = self.room()
        if room is None:
            return 0
        n = min(len(room), len(view))
        room[:n] = view[:n]
        self.filled(n)
        return n

    def _buffer(self, size: int) -> memoryview | None:
        """Memory of which the operating system gives a page once something is written there."""
        try:
            return np.empty(size, np.uint8).data
        except MemoryError:
            self._fail(_busy(self._budget))
            return None

    def _enlarge(self, room: memoryview) -> None:
        whole = self._buffer(self._size)
        if whole is not None:
            whole[: self._at] = room
        self._room = whole

    def _unchunk(self, view: memoryview, chunks: Chunks) -> int:
        before = len(chunks.body)
        n = chunks.feed(bytes(view))
        self._arrived += n
        self._waits = False
        if not self._take(len(chunks.body) - before):
            return n
        if chunks.fault is not None:
            self._fail(malformed(f"the chunked body cannot be read: {chunks.fault}", field="body"))
        elif len(chunks.body) > self._limits.body:
            self._refuse_body(len(chunks.body))
        elif chunks.framing > self._limits.head + 8 * len(chunks.body) or chunks.quiet > self._limits.head:
            self._fail(too_long(self._limits))
        elif chunks.complete:
            whole = chunks.body
            self._complete(bytes(whole) if len(whole) <= _SMALL else memoryview(whole).toreadonly())
        return n

    def _refuse_body(self, size: int) -> None:
        self._fail(SetsailError(
            "request.too_large", "the body is too large", field="body", value=size,
            expected=f"at most {self._limits.body} bytes",
        ))  # fmt: skip

    def _complete(self, body: bytes | memoryview) -> None:
        head = self.begun
        assert head is not None, "a body has a head"
        self.messages.append(Message(head, body, self._held))
        self._held = self._at = self._size = self._arrived = 0
        self.begun = self._room = self._chunks = None
        self._waits = False
        self.fresh = head.keep_alive  # RFC 9112 §9.6: nothing is read after a request that closes

    def _fail(self, fault: SetsailError) -> None:
        self.fault, self.fresh = fault, False

    # -- the budget ----------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bool:
        if not self._budget.take(size):
            self._fail(_busy(self._budget))
            return False
        self._held += size
        return True

    def _release(self) -> None:
        self._budget.give(self._held)
        self._held = 0
        self._pending.clear()


def _busy(budget: Budget) -> SetsailError:
    return SetsailError(
        "server.busy", "the requests being read hold as many bytes as they may", field="body",
        expected=f"at most {budget.limit} bytes in all", retry_after=1,
    )  # fmt: skip
