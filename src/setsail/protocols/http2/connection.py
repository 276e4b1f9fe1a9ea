"""The server's side of one HTTP/2 connection (RFC 9113), without a socket and without a clock.

Bytes go in by `receive`, which answers with events and never raises for what a client sends; answers go in by
`headers`, `data`, `trailers` and `answer`; what is to be written comes out of `take_output`. Priorities are ignored
(§5.3.2), nothing is ever pushed, and a client's faults are told by RST_STREAM or GOAWAY as `frames.py` says.

Most frames open a stream with a header block that came before, or bring the only DATA of one: `receive` takes these two
without asking the table, since nothing in it could object (the stream is IDLE or OPEN, sizes and windows are checked),
and makes one event of them when they come in one read, whatever is between them.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from setsail.protocols.budget import Budget
from setsail.protocols.http2 import frames
from setsail.protocols.http2.answering import DRAIN_PING, Answering
from setsail.protocols.http2.events import Data, Event, Opened, Reset, Whole
from setsail.protocols.http2.fields import Decoder, Head, TooLargeError, UndecodableError, trailers_fault
from setsail.protocols.http2.frames import (
    DONE,
    HALF,
    IDLE,
    MAX_STREAM,
    MAX_WINDOW,
    OPEN,
    PREFACE,
    RESET,
    RULES,
    STREAM,
    ZERO,
)
from setsail.protocols.http2.streams import Limits, Stream

__all__ = ["Connection"]


_UNPACK: Final = frames.HEAD.unpack_from


class _Block(Struct):
    """A header block whose CONTINUATION frames are still coming (§6.10)."""

    number: int
    flags: int
    state: int
    parts: list[bytes]
    size: int


class Connection(Answering):
    """A connection. See `Answering` for its attributes, and for how it is answered and ended."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        super().__init__(limits, budget)
        self._fields = Decoder(limits.header_block)
        self._memo = self._fields.memo
        self._need = len(PREFACE)  # octets without which there is nothing to do
        self._greeted = False  # the client's preface has been read
        self._settled = False  # its SETTINGS too
        self._block: _Block | None = None
        self._room = limits.connection_window  # what the client may send on the connection
        self._owed = 0
        self._told = 0  # events that were handed out

    @property
    def half_read(self) -> bool:
        """The preface, a frame or a header block has begun and not ended."""
        return bool(self._have) or self._block is not None or not self._settled

    # -- reading

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """Read what the socket delivered, in any portions."""
        read = self._gathered(data)
        at = 0 if self._greeted else self._greet(read)
        if at < 0 or not read:
            return self._take_events()
        events, streams, memo = self._events, self.streams, self._memo
        end, need = len(read), 9
        most, out, room = self.limits.streams, self.out, self.limits.window
        while end - at >= 9:
            word, flags, number = _UNPACK(read, at)
            kind, size, begin = word & 0xFF, word >> 8, at + 9
            stop = begin + size
            if size > frames.FIRST_FRAME:
                self.fail(frames.FRAME_SIZE_ERROR, "a frame is larger than SETTINGS_MAX_FRAME_SIZE (§4.2)")
                return self._take_events()
            if stop > end:
                need = stop - at
                break
            at = stop
            if kind == frames.DATA:
                if flags == frames.END_STREAM and self._block is None and size <= self._room:
                    stream = streams.get(number)
                    if stream is not None and not stream.half and size <= stream.room:
                        received = stream.received + size
                        if stream.head.length < 0 or stream.head.length == received:
                            self._room -= size
                            self._owed += size
                            stream.received = received
                            stream.half = True
                            place = stream.place - self._told
                            if place >= 0:
                                events[place] = Whole(stream, read[begin:stop])
                            else:
                                events.append(Data(stream, read[begin:stop], True))
                            continue
            elif (
                kind == frames.HEADERS
                and flags == frames.END_HEADERS
                and self._ready
                and self.last < number <= MAX_STREAM
                and number & 1
                and len(streams) < most
            ):
                head = memo.get(read[begin:stop])
                if head is not None and head.fault is None:
                    self.last = number
                    streams[number] = stream = Stream(number, head, False, out.initial, room, self._told + len(events))
                    events.append(Opened(stream))
                    continue
            self._frame(kind, flags, number & MAX_STREAM, read, begin, stop)
            if self._over():
                return self._take_events()
        if self._owed > self.limits.connection_window >> 1:
            self._room += self._owed
            self.out.control(frames.window_update(0, self._owed))
            self._owed = 0
        self._keep(read, at, need)
        return self._take_events()

    def _gathered(self, data: bytes | memoryview) -> bytes:
        """What was read and is not used yet; nothing while that is less than the frame it begins."""
        if self.finished:
            return b""
        read = data if type(data) is bytes else bytes(data)
        if not self._have:
            return read
        self._have += len(read)
        self._parts.append(read)
        return b"" if self._have < self._need else b"".join(self._parts)

    def _over(self) -> bool:
        return self.finished

    def _keep(self, read: bytes, at: int, need: int) -> None:
        """Remember what is not a whole frame yet, and how many octets it takes to go on."""
        rest = read[at:]
        self._have, self._need = len(rest), need
        self._parts = [rest] if rest else []

    def _take_events(self) -> list[Event]:
        events = self._events
        if events:
            self._events = []
            self._told += len(events)
        return events

    def _greet(self, read: bytes) -> int:
        """The preface (§3.4): where the frames begin, or -1."""
        if not read:
            return -1
        if not PREFACE.startswith(read[: len(PREFACE)]):
            self.fail(frames.PROTOCOL_ERROR, "the client preface is not HTTP/2's (§3.4)")
            return -1
        if len(read) < len(PREFACE):
            self._keep(read, 0, len(PREFACE))
            return -1
        self._greeted = True
        return len(PREFACE)

    def _state(self, number: int) -> int:
        stream = self.streams.get(number)
        if stream is not None:
            return HALF if stream.half else OPEN
        if number in self._dropped:
            return RESET
        return IDLE if number > self.last or not number & 1 else DONE

    def _frame(self, kind: int, flags: int, number: int, read: bytes, at: int, stop: int) -> None:
        """One frame, by the table."""
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                return self.fail(frames.PROTOCOL_ERROR, "the client's first frame is not SETTINGS (§3.4)")
            self._settled = self._ready = True
        if self._block is not None:
            if kind != frames.CONTINUATION or number != self._block.number:
                return self.fail(frames.PROTOCOL_ERROR, "a header block is interrupted (§6.10)")
            return self._continue(self._block, flags, read[at:stop])
        if kind >= len(RULES):  # §5.5: unknown types are ignored
            return self._waste()
        rule, size = RULES[kind], stop - at
        if (rule.where == ZERO and number) or (rule.where == STREAM and not number):
            return self.fail(frames.PROTOCOL_ERROR, f"{rule.name} on stream {number} (§{rule.section})")
        state = self._state(number) if number else OPEN
        if not rule.least <= size <= rule.most or size % rule.step:
            if rule.size.scope == "connection" or state == IDLE:  # an idle stream cannot be reset (§6.4)
                return self.fail(rule.size.code, f"{rule.name} with {size} octets (§{rule.section})")
            return self._stream_fault(number, rule.size.code)
        verdict = rule.states[state]
        if verdict.scope == "connection":
            if state == DONE and number not in self._ended:  # skipped, or long forgotten
                return self.fail(frames.PROTOCOL_ERROR, f"{rule.name} on the passed-over stream {number} (§5.1.1)")
            return self.fail(verdict.code, f"{rule.name} on stream {number} (§{verdict.section})")
        if kind == frames.DATA:
            return self._data(number, flags, read, at, stop, verdict)
        if kind == frames.HEADERS:
            return self._headers(number, flags, read, at, stop, state)
        if verdict.scope != "ok":
            return self._waste()
        payload = read[at:stop]
        if kind == frames.WINDOW_UPDATE:
            return self._window_update(number, frames.number(payload))
        if kind == frames.RST_STREAM:
            return self._reset(number, frames.code_of(payload))
        if kind == frames.PING:
            return self._ping(flags, payload)
        if kind == frames.SETTINGS:
            return self._settings(flags, payload)
        self._leaving = True  # GOAWAY: the client opens no more streams, or not for long
        self._settle()

    # -- frames of a body

    def _data(self, number: int, flags: int, read: bytes, at: int, stop: int, verdict: frames.Verdict) -> None:
        size = stop - at
        self._room -= size
        self._owed += size
        if self._room < 0:
            return self.fail(frames.FLOW_CONTROL_ERROR, "DATA beyond the connection's window (§6.9.1)")
        if flags & frames.PADDED:
            if not size or read[at] >= size:
                return self.fail(frames.PROTOCOL_ERROR, "the padding is as long as the payload (§6.1)")
            stop -= read[at]
            at += 1
        if verdict.scope != "ok":
            return self._waste() if verdict.scope == "ignore" else self._stream_fault(number, verdict.code)
        stream = self.streams[number]
        stream.room -= size
        if stream.room < 0:
            return self._stream_fault(number, frames.FLOW_CONTROL_ERROR)
        end = bool(flags & frames.END_STREAM)
        if at == stop and not end:
            self.consumed(stream, size)
            return self._waste()
        stream.received += stop - at
        if padding := size - (stop - at):
            self.consumed(stream, padding)
        self._body(stream, read[at:stop], end)

    def _body(self, stream: Stream, data: bytes, end: bool) -> None:
        said = stream.head.length
        if said >= 0 and (stream.received > said or (end and stream.received != said)):
            return self._stream_fault(stream.number, frames.PROTOCOL_ERROR)  # §8.1.1
        stream.half = stream.half or end
        place = stream.place - self._told
        if end and place >= 0:
            self._events[place] = Whole(stream, data)
        else:
            self._events.append(Data(stream, data, end))
        stream.place = -1

    def consumed(self, stream: Stream, size: int) -> None:
        """These octets of the stream's body are dealt with: the client may send as many again."""
        stream.owed += size
        if not stream.half and stream.owed > self.limits.window >> 1 and stream.number in self.streams:
            stream.room += stream.owed
            self.out.control(frames.window_update(stream.number, stream.owed))
            stream.owed = 0

    # -- header blocks

    def _headers(self, number: int, flags: int, read: bytes, at: int, stop: int, state: int) -> None:
        if state == IDLE and not number & 1:
            return self.fail(frames.PROTOCOL_ERROR, f"stream {number} is not a client's (§5.1.1)")
        padding = 0
        if flags & frames.PADDED:
            if at == stop:
                return self.fail(frames.FRAME_SIZE_ERROR, "HEADERS without its pad length (§6.2)")
            padding = read[at]
            at += 1
        if flags & frames.WITH_PRIORITY:
            at += 5
            if at > stop:
                return self.fail(frames.FRAME_SIZE_ERROR, "HEADERS without its priority (§6.2)")
        stop -= padding
        if stop < at:
            return self.fail(frames.PROTOCOL_ERROR, "the padding is longer than the payload (§6.2)")
        block = _Block(number, flags, state, [read[at:stop]], stop - at)
        if flags & frames.END_HEADERS:
            return self._fields_read(block)
        self._ready = False
        self._block = block

    def _continue(self, block: _Block, flags: int, part: bytes) -> None:
        block.parts.append(part)
        block.size += len(part)
        if block.size > self.limits.header_block or len(block.parts) > self.limits.continuations:
            return self.fail(frames.ENHANCE_YOUR_CALM, "a header block is too large (§10.5.1)")
        if flags & frames.END_HEADERS:
            self._block = None
            self._ready = self._door is None
            self._fields_read(block)

    def _fields_read(self, block: _Block) -> None:
        """A complete block: it is decoded whatever its stream's state, since it may change the table (§4.3)."""
        try:
            head = self._fields.decode(b"".join(block.parts))
        except UndecodableError as fault:
            return self.fail(frames.COMPRESSION_ERROR, f"a header block cannot be decoded: {fault} (§4.3)")
        except TooLargeError:
            return self.fail(frames.ENHANCE_YOUR_CALM, "the header fields are too large (§10.5.1)")
        end = bool(block.flags & frames.END_STREAM)
        if block.state == RESET:
            return self._waste()
        if block.state == HALF:
            return self._stream_fault(block.number, frames.STREAM_CLOSED)
        if block.state == OPEN:
            return self._trailers(self.streams[block.number], head, end)
        self._open(block.number, head, end)

    def _trailers(self, stream: Stream, head: Head, end: bool) -> None:
        if not end or trailers_fault(head.pairs):
            return self._stream_fault(stream.number, frames.PROTOCOL_ERROR)  # §8.1
        self._body(stream, b"", True)

    def _open(self, number: int, head: Head, end: bool) -> None:
        self.last = number
        if self._door is not None:  # §6.8: sent before our GOAWAY was read; the client sends it again elsewhere
            self._dropped.append(number)
            return self._waste()
        if len(self.streams) >= self.limits.streams:
            return self._stream_fault(number, frames.REFUSED_STREAM)  # §5.1.2
        if head.fault is not None or (end and head.length > 0):
            return self._stream_fault(number, frames.PROTOCOL_ERROR)  # §8.1.1
        place = self._told + len(self._events)
        stream = self.streams[number] = Stream(number, head, end, self.out.initial, self.limits.window, place)
        self._events.append(Whole(stream, b"") if end else Opened(stream))

    # -- control frames

    def _window_update(self, number: int, increment: int) -> None:
        if not number:
            if not increment:
                return self.fail(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing (§6.9)")
            self.out.window += increment
            if self.out.window > MAX_WINDOW:
                return self.fail(frames.FLOW_CONTROL_ERROR, "the connection's window is too large (§6.9.1)")
            return self._pumped()
        stream = self.streams[number]
        stream.window += increment
        if not increment or stream.window > MAX_WINDOW:
            return self._stream_fault(number, frames.FLOW_CONTROL_ERROR if increment else frames.PROTOCOL_ERROR)
        if stream.queue is not None:
            if self.out.pump(stream):
                self._close(stream)
            self._dribbled()

    def _pumped(self) -> None:
        if self.out.waiting:
            for stream in self.out.pump_all():
                self._close(stream)
            self._dribbled()

    def _dribbled(self) -> None:
        """Tiny windows make us send tiny frames (CVE-2019-9511): that is on the client's account."""
        if self.out.dribbles:
            self.out.dribbles = 0
            self._waste()

    def _reset(self, number: int, code: int) -> None:
        stream = self.streams.pop(number)
        self.out.drop(stream)
        self._ended.append(number)
        self._events.append(Reset(stream, code))
        self._count_reset()
        self._settle()

    def _ping(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if self._draining and payload == DRAIN_PING:
                self._shut()
            return None
        self._allowed.pings -= 1
        if self._allowed.pings < 0:
            return self.fail(frames.ENHANCE_YOUR_CALM, "too many PING frames")
        return self.out.control(frames.ping(payload, ack=True))

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                self.fail(frames.FRAME_SIZE_ERROR, "an acknowledgement with a payload (§6.5)")
            return None
        self._allowed.settings -= 1
        values = frames.read_settings(payload)
        if self._allowed.settings < 0 or len(values) > 64:
            return self.fail(frames.ENHANCE_YOUR_CALM, "too many SETTINGS")
        for identifier, value in values:
            row = frames.SETTING_RANGES.get(identifier)
            if row is None:
                continue
            name, lowest, highest, code = row
            if not lowest <= value <= highest:
                return self.fail(code, f"SETTINGS_{name} is {value} (§6.5.2)")
            if identifier == frames.MAX_FRAME_SIZE:
                self.out.limit_frame(value)
            elif identifier == frames.HEADER_TABLE_SIZE and value < frames.FIRST_TABLE:
                self.out.shrink_table()
            elif identifier == frames.INITIAL_WINDOW_SIZE and not self._change_windows(value):
                return self.fail(frames.FLOW_CONTROL_ERROR, "SETTINGS make a window too large (§6.9.2)")
        self.out.control(frames.settings(None))
        return self._pumped()

    def _change_windows(self, initial: int) -> bool:
        """§6.9.2: a change applies to all open streams, whose windows may become negative."""
        change, self.out.initial = initial - self.out.initial, initial
        for stream in self.streams.values():
            stream.window += change
            if stream.window > MAX_WINDOW:
                return False
        return True
