"""One worker process as its supervisor sees it: started, spoken to, ended; and how patient to be with a slot.

A worker is spawned, never forked: a runtime's threads and locks do not survive a fork. It inherits its listening
sockets, its end of the channel, standard output and error, and nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server.channel import Drain, Gate, Line, Start

__all__ = ["DRAINING", "READY", "STARTING", "Hand", "Patience", "Slot"]

STARTING, READY, DRAINING = "starting", "ready", "draining"  # the states of a hand, in this order
_BOOT: Final = "import sys; sys.path.append(sys.argv.pop(1)); from setsail.server.worker import main; main()"
_ROOT: Final = str(Path(__file__).resolve().parents[2])


class Hand:
    """One process.

    Attributes:
        counts: its meter's last snapshot, as bytes.
        fault: why it could not start, in its own words.
    """

    def __init__(self, slot: Slot, start: dict[str, Any]) -> None:
        self.slot = slot
        self.state = STARTING
        self.about: dict[str, Any] = {}
        self.counts = b""
        self.fault: SetsailError | None = None
        self._gone = False
        self._ready_at: float | None = None
        ours, theirs = socket.socketpair()
        try:
            inherited = (theirs.fileno(), *(listener.fileno() for listener in slot.listeners))
            self.pid, numbers = _spawn(inherited)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.line = Line(ours)
        self.line.send(Start(slot.number, listeners=numbers[1:], **start))

    def became_ready(self, about: dict[str, Any], gate: bool) -> None:
        self.state, self.about, self._ready_at = READY, about, monotonic()
        self.line.send(Gate(gate))

    def drain(self, replaced: bool) -> None:
        """Have it finish what it answers and end. `replaced`: others go on."""
        self.state = DRAINING
        self.line.send(Drain(replaced))

    def signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended: its number may be another process's by now."""
        if not self._gone:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def reaped(self) -> str | None:
        """How it ended, as a clause; None while it has not."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else in this process waits for all children
            self._gone = True
            return "ended"
        if not pid:
            return None
        self._gone = True
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def lived(self) -> float:
        """Seconds that it was of use."""
        return 0.0 if self._ready_at is None else monotonic() - self._ready_at

    def __str__(self) -> str:
        return f"worker {self.slot.number} (process {self.pid})"


def _spawn(descriptors: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """A new interpreter; the first descriptor is its channel. Returns the process, and its numbers for them."""
    first = max(descriptors) + 1  # beyond all of ours, so that none is overwritten before it was copied
    numbers = tuple(range(first, first + len(descriptors)))
    command = [sys.executable, "-P", "-c", _BOOT, _ROOT, str(first)]
    actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in zip(descriptors, numbers, strict=True)]
    actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))  # type: ignore[arg-type]
    blocked = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]  # until it has handlers for them
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsigmask=blocked)
    return pid, numbers


class Patience:
    """How long to wait before a dead worker is replaced, and when to give up. Pure.

    The first death after a steady life is answered at once; each further one in a row after twice as long.
    """

    STEADY: Final = 10.0  # seconds of a life that count as steady
    FIRST: Final = 0.1
    LONGEST: Final = 5.0
    DEATHS: Final = 8  # in a row: then nothing that another start could mend is wrong

    def __init__(self) -> None:
        self.deaths = 0

    def died(self, lived: float) -> float | None:
        """Seconds until the next start; None: no more."""
        self.deaths = 1 if lived >= self.STEADY else self.deaths + 1
        if self.deaths > self.DEATHS:
            return None
        return 0.0 if self.deaths == 1 else float(min(self.LONGEST, self.FIRST * 2 ** (self.deaths - 2)))


class Slot:
    """A place for one worker, with its listening sockets, one a door, that outlive each of them.

    Attributes:
        hand: who answers, or will when it has started; None while a dead one is not replaced yet.
        successor: who will take over when it is ready.
    """

    def __init__(self, number: int, listeners: Sequence[socket.socket]) -> None:
        self.number, self.listeners = number, tuple(listeners)
        self.hand: Hand | None = None
        self.successor: Hand | None = None
        self.patience = Patience()

    @property
    def ready(self) -> bool:
        return self.hand is not None and self.hand.state == READY
