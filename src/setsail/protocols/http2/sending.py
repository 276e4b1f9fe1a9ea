"""The sending side of a connection: frames out, under both flow-control windows (RFC 9113 §5.2, §6.9).

DATA goes out while the connection's and the stream's windows last; the rest waits in the stream's queue and is counted
in the budget, so that a client that never opens its window holds a bounded part of our memory. Streams that wait take
turns frame by frame. Header blocks need no window, but stay behind their stream's DATA.
"""

from __future__ import annotations

from collections import deque

from setsail.protocols.budget import Budget
from setsail.protocols.http2 import frames
from setsail.protocols.http2.fields import NO_TABLE
from setsail.protocols.http2.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, FIRST_FRAME, FIRST_WINDOW, HEAD
from setsail.protocols.http2.frames import HEADERS as HEADERS_FRAME
from setsail.protocols.http2.streams import NOTHING, Piece, Stream

__all__ = ["Outbox"]

_MOST_FRAME = 65_536  # a longer frame would keep other streams waiting; clients may allow 16 MiB
_DRIBBLE = 64
_BLOCKED, _SENT, _ENDED = range(3)
_PACK = HEAD.pack


class Outbox:
    """What is to be written.

    Attributes:
        chunks: in order, ready for the socket.
        window: octets of DATA that the connection may send.
        initial: a new stream's window, as the client's SETTINGS say.
        frame: most octets of a payload.
        waiting: streams with a queue, by number.
        dribbles: frames of DATA that a tiny window forced; the connection counts them as wasted work.
    """

    __slots__ = ("_budget", "_prefix", "chunks", "dribbles", "frame", "initial", "queued", "waiting", "window")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._prefix = b""
        self.chunks: list[bytes | memoryview] = []
        self.window = FIRST_WINDOW
        self.initial = FIRST_WINDOW
        self.frame = FIRST_FRAME
        self.waiting: dict[int, Stream] = {}
        self.queued = 0
        self.dribbles = 0

    # -- what the client's SETTINGS change

    def limit_frame(self, size: int) -> None:
        self.frame = min(size, _MOST_FRAME)

    def shrink_table(self) -> None:
        """The client's HPACK table is smaller than it was: the next block must say that we follow (RFC 7541 §4.2)."""
        self._prefix = NO_TABLE

    # -- frames

    def headers(self, stream: Stream, block: bytes, end: bool) -> bool:
        """A header block, after the stream's queue. True: the stream has ended with it."""
        if stream.queue is not None:
            stream.queue.append(Piece(NOTHING, end, block))
            return False
        self._block(stream.number, block, end)
        return end

    def _block(self, number: int, block: bytes, end: bool) -> None:
        if self._prefix:
            block, self._prefix = self._prefix + block, b""
        flags = END_STREAM if end else 0
        size = len(block)
        if size <= self.frame:
            self.chunks.append(_PACK(size << 8 | HEADERS_FRAME, flags | END_HEADERS, number) + block)
            return
        for start in range(0, size, self.frame):
            part = block[start : start + self.frame]
            kind = CONTINUATION if start else HEADERS_FRAME
            last = END_HEADERS if start + self.frame >= size else 0
            self.chunks.append(_PACK(len(part) << 8 | kind, last if start else flags | last, number) + part)

    def data(self, stream: Stream, data: bytes | memoryview, end: bool) -> bool | None:
        """DATA, or what the windows let through. True: the stream has ended; None: there is no memory for the rest."""
        size = len(data)
        if stream.queue is None and size <= self.frame and size <= self.window and size <= stream.window:
            self.window -= size
            stream.window -= size
            self.chunks.append(_PACK(size << 8, END_STREAM if end else 0, stream.number))
            self.chunks.append(data)
            return end
        view = memoryview(data)
        if stream.queue is None:
            stream.queue = deque()
            self.waiting[stream.number] = stream
        stream.queue.append(Piece(view, end))
        stream.queued += size
        self.queued += size
        if not self._budget.take(size):
            stream.queued -= size  # was never taken, so must not be given back
            self.queued -= size
            return None
        return self.pump(stream)

    def answer(self, stream: Stream, head: bytes, lead: bytes, data: bytes | memoryview, tail: bytes) -> bool | None:
        """A header block, DATA (`lead` and `data`) and trailers: a whole answer. Results as of `data`."""
        size = len(lead) + len(data)
        if (
            stream.queue is None
            and size <= self.frame
            and size <= self.window
            and size <= stream.window
            and not self._prefix
            and len(head) <= FIRST_FRAME >= len(tail)
        ):
            number = stream.number
            self.window -= size
            self.chunks += (
                _PACK(len(head) << 8 | 1, END_HEADERS, number), head, _PACK(size << 8, 0, number), lead, data,
                _PACK(len(tail) << 8 | 1, END_HEADERS | END_STREAM, number), tail,
            )  # fmt: skip
            return True
        self.headers(stream, head, False)
        if self.data(stream, lead, False) is None or self.data(stream, data, False) is None:
            return None
        return self.headers(stream, tail, True)

    # -- queues

    def pump(self, stream: Stream) -> bool:
        """Send what the windows allow of one stream. True: it has ended."""
        while stream.queue is not None:
            sent = self._step(stream, stream.queue)
            if sent != _SENT:
                return sent == _ENDED
        return False

    def pump_all(self) -> list[Stream]:
        """Send what the windows allow, a frame a stream in turn. Returns the streams that have ended."""
        ended = []
        progress = True
        while progress and self.waiting:
            progress = False
            for stream in list(self.waiting.values()):
                assert stream.queue is not None
                sent = self._step(stream, stream.queue)
                if sent == _ENDED:
                    ended.append(stream)
                progress = progress or sent != _BLOCKED
        return ended

    def _step(self, stream: Stream, queue: deque[Piece]) -> int:
        """Send one piece of one stream, or as much of it as one frame takes."""
        piece = queue[0]
        if piece.trailers is not None:
            self._block(stream.number, piece.trailers, piece.end)
            return self._done(stream, queue, piece.end)
        left = len(piece.rest)
        size = min(left, self.frame, self.window, stream.window)
        if left and size <= 0:
            return _BLOCKED
        end = piece.end and size == left
        self.window -= size
        stream.window -= size
        stream.queued -= size
        self.queued -= size
        self._budget.give(size)
        self.chunks.append(_PACK(size << 8 | DATA, END_STREAM if end else 0, stream.number))
        self.chunks.append(piece.rest[:size])
        if size < left:
            if size < _DRIBBLE:
                self.dribbles += 1
            piece.rest = piece.rest[size:]
            return _SENT
        return self._done(stream, queue, end)

    def _done(self, stream: Stream, queue: deque[Piece], end: bool) -> int:
        """The first piece of a queue is out."""
        queue.popleft()
        if not queue:
            del self.waiting[stream.number]
            stream.queue = None
        return _ENDED if end else _SENT

    def drop(self, stream: Stream) -> None:
        """Forget what waits of a stream that is no more."""
        if stream.queue is not None:
            self.waiting.pop(stream.number, None)
            self._budget.give(stream.queued)
            self.queued -= stream.queued
            stream.queued = 0
            stream.queue = None

    def control(self, octets: bytes) -> None:
        self.chunks.append(octets)

    def reset(self, number: int, code: int) -> None:
        self.chunks.append(frames.reset(number, code))

    def take(self) -> bytes:
        chunks = self.chunks
        if not chunks:
            return b""
        self.chunks = []
        return b"".join(chunks)
