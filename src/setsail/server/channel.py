"""What a supervisor and its workers say to each other, over one pair of connected sockets a worker.

A message is four bytes of length and as many bytes of msgpack. Its kinds are the structs below; what wires ask travels
inside as bytes that only `questions.py` reads, so that the supervisor needs no numpy to pass it on.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from setsail.errors import KINDS, SetsailError

__all__ = [
    "DEAD", "SNAPSHOT",
    "Answer", "Answers", "Channel", "Drain", "Ended", "Everyone", "Failed", "Fault", "Frames", "Gate", "Leaving",
    "Line", "Message", "Question", "Ready", "Start",
]  # fmt: skip

SNAPSHOT: Final = "Snapshot"  # the kind of question that is answered with a meter's counts
DEAD: Final = 0  # the number of an answer that a worker gave before it ended
_HEAD: Final = 4
_LARGEST: Final = 1 << 30
_CHUNK: Final = 1 << 18


class Fault(Struct, frozen=True):
    """A `SetsailError` on its way to another process. Facts that are no plain values stay behind."""

    code: str
    what: str
    value: str | None = None
    expected: str | None = None
    todo: str | None = None
    place: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: SetsailError) -> Fault:
        facts = {key: value for key, value in error.facts.items() if isinstance(value, str | int | float | bool)}
        return cls(error.code, error.what, error.value, error.expected, error.todo, error.field, facts)

    def error(self) -> SetsailError:
        code = self.code if self.code in KINDS else "server.fault"
        error = SetsailError(code, self.what, field=self.place, expected=self.expected, todo=self.todo, **self.facts)
        error.value = self.value  # it was shortened when it was raised
        return error


# -- from the supervisor to a worker ---------------------------------------------------------------------------------


class Start(Struct, frozen=True, tag=True):
    """The first message: all that a worker needs to begin.

    Attributes:
        listeners: numbers of inherited file descriptors that listen, one a door (`doors.py`).
        paths: artifacts and repositories, each with the name to serve it under, if any.
        asks: what it does then: questions, each its kind and body.
        controls: what clients have had changed since the server began, in order (`controls.py`).
        log: level of the log.
        open: whether the server as a whole is ready: a worker that replaces another says so from its first answer on.
    """

    slot: int
    settings: dict[str, Any]
    listeners: tuple[int, ...]
    paths: tuple[tuple[str, str | None], ...]
    asks: tuple[tuple[str, bytes], ...] = ()
    controls: tuple[tuple[str, bytes], ...] = ()
    log: int = 30
    open: bool = False


class Gate(Struct, frozen=True, tag=True):
    """Whether readiness may be told: every slot has a worker that is ready, and nobody is shutting down."""

    open: bool


class Question(Struct, frozen=True, tag=True):
    """An ask (`questions.py`). `kind` is its name and `name` the subject of one that changes something."""

    id: int
    kind: str
    body: bytes = b""
    name: str = ""


class Drain(Struct, frozen=True, tag=True):
    """Finish what runs, report with `Ended`, and end. `replaced`: others go on, and the server is ready."""

    replaced: bool


class Answers(Struct, frozen=True, tag=True):
    """What all workers answered to a worker's `Everyone`."""

    id: int
    answers: tuple[Answer, ...]


# -- from a worker to the supervisor ---------------------------------------------------------------------------------


class Ready(Struct, frozen=True, tag=True):
    """It accepts and answers. `about` is what `Server.describe` says."""

    about: dict[str, Any]


class Failed(Struct, frozen=True, tag=True):
    """It cannot start, and ends now."""

    fault: Fault


class Answer(Struct, frozen=True, tag=True):
    """To a question: the answer's bytes, or the fault."""

    id: int
    body: bytes = b""
    fault: Fault | None = None


class Everyone(Struct, frozen=True, tag=True):
    """A client asked this worker what concerns all of them."""

    id: int
    kind: str
    body: bytes
    name: str = ""


class Leaving(Struct, frozen=True, tag=True):
    """Somebody sent this one process SIGTERM: it asks to be replaced, or to end with all others."""


class Ended(Struct, frozen=True, tag=True):
    """Its last words: whether every request was answered, and its last counts."""

    clean: bool
    counts: bytes


Message = Start | Gate | Question | Drain | Answers | Ready | Failed | Answer | Everyone | Leaving | Ended
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


class Frames:
    """Bytes to messages, however they are cut. Pure."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises ValueError for what cannot be one: the other side is not ours."""
        self._kept += data
        found: list[Message] = []
        begin = 0
        while len(self._kept) - begin >= _HEAD:
            size = int.from_bytes(self._kept[begin : begin + _HEAD], "big")
            if size > _LARGEST:
                raise ValueError(f"a message of {size} bytes")
            end = begin + _HEAD + size
            if len(self._kept) < end:
                break
            found.append(_DECODER.decode(self._kept[begin + _HEAD : end]))
            begin = end
        del self._kept[:begin]
        return found

    @staticmethod
    def frame(message: Message) -> bytes:
        body = _ENCODER.encode(message)
        return len(body).to_bytes(_HEAD, "big") + body


class Channel:
    """A worker's end: any thread sends, one thread receives; both wait."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(True)
        self._frames = Frames()
        self._messages: list[Message] = []
        self._sending = Lock()

    def send(self, message: Message) -> None:
        """Raises OSError when the other side is gone."""
        data = Frames.frame(message)
        with self._sending:
            self._end.sendall(data)

    def receive(self) -> Message | None:
        """The next message; None when the other side is gone."""
        while not self._messages:
            try:
                data = self._end.recv(_CHUNK)
            except OSError:
                return None
            if not data:
                return None
            self._messages = self._frames.feed(data)
        return self._messages.pop(0)

    def fileno(self) -> int:
        return self._end.fileno()

    def hang_up(self) -> None:
        """End the conversation; `receive` returns None from now on."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)


class Line:
    """The supervisor's end: it never waits. Only its loop touches it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)
        self._frames = Frames()
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Send what fits now; `pending` tells whether to call `flush` when the socket can take more."""
        self._unsent += Frames.frame(message)
        self.flush()

    @property
    def pending(self) -> bool:
        return bool(self._unsent)

    def flush(self) -> None:
        try:
            while self._unsent:
                sent = self._end.send(bytes(self._unsent[:_CHUNK]))
                del self._unsent[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()  # it is gone; `receive` says so too

    def receive(self) -> list[Message] | None:
        """The messages that have come; None when the other side is gone."""
        try:
            data = self._end.recv(_CHUNK)
            return self._frames.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, ValueError, msgspec.DecodeError):
            return None

    def close(self) -> None:
        self._end.close()
