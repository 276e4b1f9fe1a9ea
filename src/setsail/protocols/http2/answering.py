"""The answering half of an HTTP/2 connection: its streams, what is sent on them, its faults and its end."""

from __future__ import annotations

from collections import deque
from typing import Final

from setsail.protocols.budget import Budget
from setsail.protocols.http2 import frames
from setsail.protocols.http2.events import Closed, Event, Reset
from setsail.protocols.http2.frames import MAX_STREAM
from setsail.protocols.http2.sending import Outbox
from setsail.protocols.http2.streams import Allowances, Limits, Stream

__all__ = ["DRAIN_PING", "Answering"]

DRAIN_PING: Final = b"setsail!"
_STILL_THERE: Final = b"hello..?"
_REMEMBERED: Final = 512  # streams that have ended, by number


class Answering:
    """What `Connection` is besides a reader of frames.

    Attributes:
        streams: those that are not answered yet, by number.
        last: the highest stream that the client opened.
        finished: write what is left and close the socket.
        out: the sending side.
    """

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.finished = False
        self.out = Outbox(budget)
        self._allowed = Allowances(limits)
        self._parts: list[bytes] = []  # read, but not yet a whole frame
        self._have = 0
        self._ready = False  # the next frame may open a stream
        self._ended: deque[int] = deque(maxlen=_REMEMBERED)
        self._dropped: deque[int] = deque(maxlen=_REMEMBERED)
        self._draining = False
        self._patience = 1
        self._door: int | None = None  # streams above it are not answered: we have said GOAWAY
        self._leaving = False  # no stream will be opened any more
        self._events: list[Event] = []
        self.out.control(
            frames.settings({
                frames.MAX_CONCURRENT_STREAMS: limits.streams, frames.INITIAL_WINDOW_SIZE: limits.window,
                frames.MAX_HEADER_LIST_SIZE: limits.header_block,
            })
        )  # fmt: skip
        if limits.connection_window > frames.FIRST_WINDOW:
            self.out.control(frames.window_update(0, limits.connection_window - frames.FIRST_WINDOW))

    # -- what the server asks

    @property
    def idle(self) -> bool:
        """No request is being read or answered, and no frame is half read."""
        return not self.streams and not self._have

    @property
    def stalled(self) -> list[Stream]:
        """Streams whose answer waits for the client's window."""
        return list(self.out.waiting.values())

    @property
    def draining(self) -> bool:
        return self._draining

    def take_output(self) -> bytes:
        return self.out.take()

    # -- faults

    def fail(self, code: int, reason: str) -> None:
        """A connection error (§5.4.1): GOAWAY, and nothing more is read or answered."""
        if self.finished:
            return
        self.out.control(frames.goaway(self.last, code, reason))
        self._events += [Reset(stream, code) for stream in self.streams.values()]
        self._events.append(Closed(code, reason))
        self.close()

    def close(self) -> None:
        """The connection is over: what waits is dropped and its memory given back."""
        self.finished = True
        for stream in self.streams.values():
            self.out.drop(stream)
        self.streams.clear()
        self._parts, self._have = [], 0

    def _stream_fault(self, number: int, code: int) -> None:
        """A stream error (§5.4.2) of the client's making."""
        self.out.reset(number, code)
        self._dropped.append(number)
        stream = self.streams.pop(number, None)
        if stream is not None:
            self.out.drop(stream)
            self._events.append(Reset(stream, code))
        self._count_reset()
        self._settle()

    def _count_reset(self) -> None:
        self._allowed.resets -= 1
        if self._allowed.resets < 0:
            self.fail(frames.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _waste(self) -> None:
        """A frame that asks for nothing."""
        self._allowed.idle_frames -= 1
        if self._allowed.idle_frames < 0:
            self.fail(frames.ENHANCE_YOUR_CALM, "too many frames without use")

    def refresh(self) -> None:
        """Once a second: the allowances are whole again, and a drain that waits for its PING goes on without."""
        self._allowed.refresh()
        if self._draining and self._door is None:
            self._patience -= 1
            if self._patience < 0:  # the first refresh may come at once after `drain`
                self._shut()

    # -- writing

    def headers(self, stream: Stream, block: bytes, end: bool = False) -> None:
        """A header block, made by `fields.encode`. Nothing happens on a stream that is no more."""
        if stream.number in self.streams and self.out.headers(stream, block, end):
            self._close(stream)

    trailers = headers

    def data(self, stream: Stream, data: bytes | memoryview, end: bool = False) -> None:
        """A part of an answer; what the windows do not let through waits."""
        if stream.number in self.streams:
            self._sent(stream, self.out.data(stream, data, end))

    def answer(self, stream: Stream, head: bytes, lead: bytes, data: bytes | memoryview, tail: bytes) -> None:
        """A whole answer: a header block, DATA in two parts, a block of trailers."""
        if stream.number in self.streams:
            self._sent(stream, self.out.answer(stream, head, lead, data, tail))

    def _sent(self, stream: Stream, ended: bool | None) -> None:
        if ended:
            self._close(stream)
        elif ended is None:  # the budget has no room for an answer that the client does not take
            self.reset(stream, frames.ENHANCE_YOUR_CALM)

    def _close(self, stream: Stream) -> None:
        """Our side has ended too."""
        number = stream.number
        del self.streams[number]
        stream.user = None  # it knows the stream: without this, every request would be left to the garbage collector
        if stream.half:
            self._ended.append(number)
        else:  # §8.1: the rest of the request is not needed
            self.out.reset(number, frames.NO_ERROR)
            self._dropped.append(number)
        if self._leaving:
            self._settle()

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream without (the rest of) an answer."""
        if self.streams.pop(stream.number, None) is not None:
            stream.user = None
            self.out.drop(stream)
            self.out.reset(stream.number, code)
            self._dropped.append(stream.number)
            self._settle()

    # -- shutting down

    def drain(self) -> None:
        """Begin to end the connection (§6.8): say so, and take what the client sent before it heard it.

        The first GOAWAY names no stream; when the client has answered the PING behind it (or the second `refresh` has
        come), a second names the last one. `finished` is true once all up to that are answered.
        """
        if not self._draining and not self.finished:
            self._draining = True
            self.out.control(frames.goaway(MAX_STREAM, frames.NO_ERROR, "the server is shutting down"))
            self.out.control(frames.ping(DRAIN_PING))

    def _shut(self) -> None:
        if self._door is None:
            self._door = self.last
            self._ready = False
            self._leaving = True
            self.out.control(frames.goaway(self.last, frames.NO_ERROR, "the server is shutting down"))
            self._settle()

    def ask(self) -> None:
        """Whether the client is still there: anything that it sends says so."""
        if not self.finished:
            self.out.control(frames.ping(_STILL_THERE))

    def goaway(self, code: int = frames.NO_ERROR) -> None:
        """End the connection now: what runs is finished, nothing new is taken."""
        if code != frames.NO_ERROR:
            return self.fail(code, frames.CODES[code])
        self._draining = True
        return self._shut()

    def _settle(self) -> None:
        if self._leaving and not self.streams:
            self.finished = True
