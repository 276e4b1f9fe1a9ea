"""One of several processes that answer: `python -m setsail.server.worker FD`, started by `supervisor.py`.

It inherits a listening socket and a channel, opens the models, reports that it is ready, and then does as it is told.
It ends with its supervisor: when the channel closes, it answers what it owes and goes: no orphan keeps the port.
Signals are the supervisor's affair: Ctrl-C and a service manager's SIGTERM reach every process of the group at once,
and a worker that ended by itself would break the order in which nothing is lost.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server import listeners
from setsail.server.channel import (
    SNAPSHOT,
    Answer,
    Answers,
    Channel,
    Drain,
    Ended,
    Everyone,
    Failed,
    Fault,
    Gate,
    Leaving,
    Question,
    Ready,
    Start,
)  # fmt: skip
from setsail.server.controls import Controls
from setsail.server.counts import Counts, encoded
from setsail.server.fleet import Everywhere, Fleet
from setsail.server.interpreter import settle
from setsail.server.questions import decode, encode_answer
from setsail.server.run import Server
from setsail.server.settings import Settings

__all__ = ["Worker", "main"]

_LOG = logging.getLogger("setsail.server")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Worker:
    """A server at the end of a channel."""

    def __init__(self, channel: Channel, start: Start) -> None:
        self._channel = channel
        self._start = start
        self._sockets = [socket.socket(fileno=fd) for fd in dict.fromkeys(start.listeners)]
        self._asked: dict[int, Callable[[Answers | None], None]] = {}
        self._asking = Lock()
        self._number = 0
        self._pool = ThreadPoolExecutor(4, "setsail-channel")
        self._changes = ThreadPoolExecutor(1, "setsail-changes")  # in the order in which all workers are asked
        self._draining: Thread | None = None
        self.server = Server(Settings(**start.settings), self._sockets)
        self.server.answering = Everywhere(self.server.house, Fleet(self.everyone))
        self.server.counted = Counts(self.everyone)
        self.server.ready_gate = start.open
        self.server.judges = start.slot == 0

    def open(self) -> None:
        """Load everything, and begin to accept. Raises what keeps a model from being ready."""
        for path, name in self._start.paths:
            self.server.open(Path(path), name=name)
        for kind, body in self._start.asks:
            self.server.house.answer(decode(kind, body))
        self.server.house.management.at_start = False
        for kind, body in self._start.controls:
            try:
                self.server.house.answer(decode(kind, body))
            except SetsailError as fault:  # the others may have the model still, as it was when they loaded it
                _LOG.warning("what was asked of all workers cannot be done again: %s: %s", kind, fault)
        self.server.start()
        settle()
        self._channel.send(Ready(self.server.describe()))

    def run(self) -> None:
        """Do as told, until there is nobody who tells."""
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Question):
                pool = self._changes if Controls.changes(message.kind) else self._pool
                pool.submit(self._answer, message)
            elif isinstance(message, Answers):
                self._answered(message)
            elif isinstance(message, Gate):
                self.server.ready_gate = message.open
            elif isinstance(message, Drain) and self._draining is None:
                self._draining = Thread(target=self._drain, args=(message.replaced,), name="setsail-drain")
                self._draining.start()
        for waiting in list(self._asked.values()):
            waiting(None)
        if self._draining is None:
            _LOG.warning("the supervisor is gone: ending")
            self.server.ready_gate = False
            listeners.finish(self._sockets, self.server.settings.drain_timeout)
            self.server.drain()
        else:
            self._draining.join()
        for pool in (self._pool, self._changes):
            pool.shutdown(wait=False, cancel_futures=True)

    def _drain(self, replaced: bool) -> None:
        """Finish, tell how it went, and hang up."""
        clean = self.server.drain(ready=replaced)
        self.server.close()
        with suppress(OSError):
            self._channel.send(Ended(clean, self._counts()))
        self._channel.hang_up()

    def _counts(self) -> bytes:
        return encoded(self.server.meter)

    # -- questions -----------------------------------------------------------------------------------------------

    def _answer(self, question: Question) -> None:
        """In a thread of the pool: a Load may take minutes."""
        try:
            if question.kind == SNAPSHOT:
                answer = Answer(question.id, self._counts())
            else:
                found = self.server.house.answer(decode(question.kind, question.body))
                answer = Answer(question.id, encode_answer(question.kind, found))
        except SetsailError as fault:
            answer = Answer(question.id, fault=Fault.of(fault))
        except Exception as fault:
            _LOG.exception("a question of the supervisor failed")
            answer = Answer(question.id, fault=Fault("server.fault", f"worker {self._start.slot}: {fault}"))
        with suppress(OSError):
            self._channel.send(answer)

    def everyone(self, kind: str, body: bytes = b"", name: str = "", one: bool = False) -> tuple[Answer, ...]:
        """Ask all workers, this one too, by way of the supervisor; waits for the last of them."""
        box: list[Answers | None] = []
        done = Lock()
        done.acquire()

        def take(answers: Answers | None) -> None:
            box.append(answers)
            done.release()

        with self._asking:
            self._number += 1
            number = self._number
            self._asked[number] = take
        try:
            self._channel.send(Everyone(number, kind, body, name))
            done.acquire()
        except OSError:
            box.append(None)
        finally:
            self._asked.pop(number, None)
        if box[0] is None or not box[0].answers:
            raise SetsailError("server.draining", "the server is shutting down")
        return box[0].answers

    def _answered(self, message: Answers) -> None:
        take = self._asked.get(message.id)
        if take is not None:
            take(message)


def main() -> None:
    """The process: exit 0 when it did what it was told, 1 when it could not start."""
    gc.set_threshold(50_000)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    start = channel.receive()
    if not isinstance(start, Start):
        return
    logging.basicConfig(level=start.log, format=f"%(levelname)s %(name)s [worker {start.slot}]: %(message)s")
    leaving = _handle_signals(channel)
    Thread(target=_end_with_supervisor, args=(channel, leaving), name="setsail-watch", daemon=True).start()
    try:
        worker = Worker(channel, start)
        worker.open()
    except SetsailError as fault:
        with suppress(OSError):
            channel.send(Failed(Fault.of(fault)))
        sys.exit(1)
    except OSError:  # the supervisor is gone already
        sys.exit(1)
    except Exception as fault:
        _LOG.exception("a worker could not start")
        with suppress(OSError):
            channel.send(Failed(Fault("server.fault", f"a worker could not start: {type(fault).__name__}: {fault}")))
        sys.exit(1)
    leaving.append(True)
    worker.run()


def _handle_signals(channel: Channel) -> list[bool]:
    """Ctrl-C and hang-ups are not ours. SIGTERM ends a worker that is starting; later it is reported.

    Returns:
        Put something in when the worker is ready.
    """
    ready: list[bool] = []

    def terminate(number: int, frame: Any) -> None:
        if not ready:
            raise SystemExit(1)
        Thread(target=_tell, args=(channel,), daemon=True).start()  # the lock of `send` may be ours at this moment

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # blocked from its first instruction until now
    return ready


def _end_with_supervisor(channel: Channel, ready: list[bool]) -> None:
    """End a worker that is still loading; one that is ready reads of it in `run`, and has answers to finish."""
    watch = select.poll()
    watch.register(channel.fileno(), getattr(select, "POLLRDHUP", 0))  # an error or a hang-up is always told
    watch.poll()
    if not ready:
        os._exit(1)


def _tell(channel: Channel) -> None:
    with suppress(OSError):
        channel.send(Leaving())


if __name__ == "__main__":
    main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # nothing is owed to anybody: taking sessions apart one by one is time that a restart waits for
