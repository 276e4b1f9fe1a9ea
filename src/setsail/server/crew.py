"""The workers of a server: started, replaced when they die, replaced while they live, ended. One thread, no waiting.

The crew is `starting` until every slot's worker was ready once, `ready` until it is told to end, then `draining`.
Within that, a slot has a hand, who answers, and perhaps a successor, who will; `_on_ready` and `_on_death` say what
becomes of either.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server.channel import Answer, Ended, Everyone, Failed, Gate, Leaving, Message, Ready
from setsail.server.gatherings import Gatherings
from setsail.server.hands import DRAINING, READY, STARTING, Hand, Slot
from setsail.server.listeners import Doorway
from setsail.server.loop import Loop
from setsail.server.settings import Settings, rows

__all__ = ["GRACE", "Crew", "Paths"]

_LOG = logging.getLogger("setsail.server")
GRACE: Final = 5.0  # seconds beyond `drain_timeout` after which a worker that does not end is killed
_LEAVE: Final = 0.5  # a service manager signals every process of a service: the supervisor may be the next
Paths = Sequence[tuple[str, str | None]]


class Crew:
    """Everything here happens in the loop's thread, but `pids` and `kill`.

    Args:
        listeners: for each worker one a door; somebody else closes them, later.
        paths: what workers open: artifacts and repositories, with the name to serve them under, if any.
        began: called when all are ready for the first time.
        asks: what workers do then, as `questions.encode` makes it.

    Attributes:
        about: what the worker that became ready last says of itself.
        fault: why the crew ends, or could not begin.
        deaths: workers that had to be replaced.
    """

    def __init__(
        self, loop: Loop, settings: Settings, listeners: Sequence[Sequence[socket.socket]], paths: Paths,
        began: Callable[[], object], *, asks: Sequence[tuple[str, bytes]] = (),
    ) -> None:  # fmt: skip
        self.settings, self.paths, self._asks = settings, paths, tuple(asks)
        self.slots = [Slot(number, own) for number, own in enumerate(listeners)]
        self.hands: set[Hand] = set()
        self.about: dict[str, Any] = {}
        self.fault: SetsailError | None = None
        self.deaths = 0
        self.phase = STARTING
        self.gatherings = Gatherings(loop.call, self._ready, lambda: self.hands)
        self._loop, self._began = loop, began
        self._gate = False
        self._rolling: list[Slot] = []
        self._doorway: Doorway | None = None

    @property
    def pids(self) -> list[int]:
        """The processes that answer, by slot; a slot whose worker is not ready is left out."""
        return [hand.pid for hand in self._ready()]

    @property
    def over(self) -> bool:
        return self.phase == DRAINING and not self.hands

    def start(self) -> None:
        for slot in self.slots:
            self._fill(slot)

    def kill(self) -> None:
        for hand in list(self.hands):
            hand.signal(signal.SIGKILL)

    def _ready(self) -> list[Hand]:
        return [slot.hand for slot in self.slots if slot.hand is not None and slot.ready]

    # -- one worker --------------------------------------------------------------------------------------------------

    def _spawn(self, slot: Slot) -> Hand:
        values = {row.name: getattr(self.settings, row.name) for row in rows()}
        start = {
            "settings": values | {"workers": 1, "admin_port": -1, "drain_delay": 0.0}, "paths": tuple(self.paths),
            "asks": self._asks, "controls": self.gatherings.controls(), "log": logging.getLogger().getEffectiveLevel(),
            "open": self._gate,
        }  # fmt: skip
        hand = Hand(slot, start)
        self.hands.add(hand)
        self._loop.watch(hand.line, lambda: self._read(hand))
        return hand

    def _read(self, hand: Hand) -> None:
        messages = hand.line.receive()
        if messages is None:
            self._loop.forget(hand.line)
            hand.line.close()
            self._reap(hand, monotonic() + GRACE)
            return
        for message in messages:
            self._on_message(hand, message)

    def write(self) -> None:
        """Wait for room wherever something is unsent."""
        for hand in self.hands:
            if hand.line.fileno() >= 0:
                hand.line.flush()
                self._loop.watch_writing(hand.line, hand.line.pending)

    def _on_message(self, hand: Hand, message: Message) -> None:
        if isinstance(message, Ready):
            self._on_ready(hand, message)
        elif isinstance(message, Failed):
            hand.fault = message.fault.error()
        elif isinstance(message, Answer):
            self.gatherings.answered(hand, message)
        elif isinstance(message, Everyone):
            self.gatherings.pass_on(hand, message)
        elif isinstance(message, Ended):
            hand.counts = message.counts
            if not message.clean:
                _LOG.warning("%s: requests were still running after %d s", hand, self.settings.drain_timeout)
        elif isinstance(message, Leaving):
            self._loop.later(_LEAVE, lambda: self._replace(hand))

    def _on_ready(self, hand: Hand, message: Ready) -> None:
        slot = hand.slot
        hand.became_ready(message.about, self._gate)
        self.about = message.about
        if slot.successor is hand:
            old, slot.hand, slot.successor = slot.hand, hand, None
            if old is not None:
                self._drain(old)
        self._look_at_gate()
        if self.phase == STARTING and all(s.ready for s in self.slots):
            self.phase = READY
            self._look_at_gate()
            self._began()

    def _look_at_gate(self) -> None:
        """Readiness tells the truth: everybody is not ready while a slot has nobody."""
        gate = self.phase == READY and all(slot.ready for slot in self.slots)
        if gate != self._gate:
            self._gate = gate
            for hand in self.hands:
                if hand.state == READY:
                    hand.line.send(Gate(gate))

    # -- deaths ------------------------------------------------------------------------------------------------------

    def _reap(self, hand: Hand, end: float) -> None:
        """Its channel is closed: wait for its end, kill it if that does not come."""
        how = hand.reaped()
        if how is None:
            if monotonic() >= end:
                hand.signal(signal.SIGKILL)
            self._loop.later(0.002, lambda: self._reap(hand, end))
            return
        self.hands.discard(hand)
        self.gatherings.died(hand)
        self._on_death(hand, how)

    def _on_death(self, hand: Hand, how: str) -> None:
        slot, fault = hand.slot, hand.fault
        if self.phase == STARTING and fault is not None:
            self._give_up(fault)
        elif slot.successor is hand:
            slot.successor = None
            self._rolling.clear()
            _LOG.error("%s %s before it was ready%s; the old one stays", hand, how, f": {fault}" if fault else "")
        elif slot.hand is hand:
            slot.hand, slot.successor = slot.successor, None
            self._look_at_gate()
            if slot.hand is None and self.phase != DRAINING:
                self._replace_dead(hand, how)
        if self.phase == READY:
            self._roll()

    def _replace_dead(self, hand: Hand, how: str) -> None:
        slot, said = hand.slot, f": {hand.fault}" if hand.fault else ""
        self.deaths += 1
        wait = slot.patience.died(hand.lived())
        if wait is None:
            _LOG.error("%s %s%s", hand, how, said)
            times = slot.patience.deaths
            what = f"worker {slot.number} ended {times} times in a row; the last one {how}"
            self._give_up(SetsailError("server.worker", what, value=hand.fault and str(hand.fault)))
            return
        _LOG.warning("%s %s%s; another is started%s", hand, how, said, f" in {wait:g} s" if wait else "")
        self._loop.later(wait, lambda: self._fill(slot))

    def _fill(self, slot: Slot) -> None:
        if slot.hand is None and self.phase != DRAINING:
            slot.hand = self._spawn(slot)

    def _give_up(self, fault: SetsailError) -> None:
        self.fault = self.fault or fault
        self.end()

    # -- replacing those that live -----------------------------------------------------------------------------------

    def replace_all(self, paths: Paths) -> None:
        """One slot after the other; each new worker is ready before the one it replaces drains."""
        if self.phase == READY:
            self.paths = paths
            self._rolling = [*self.slots]
            self._roll()

    def _replace(self, hand: Hand) -> None:
        if self.phase == READY and hand.slot.hand is hand and hand.slot not in self._rolling:
            self._rolling.append(hand.slot)
            self._roll()

    def _roll(self) -> None:
        """The next of those to be replaced, when nobody is being replaced."""
        if any(hand.state == DRAINING or hand.slot.successor is hand for hand in self.hands):
            return
        while self._rolling:
            slot = self._rolling.pop(0)
            if slot.ready:
                slot.successor = self._spawn(slot)
                return

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End all: in good order where the server has begun to serve, else at once."""
        if self.phase == DRAINING:
            return
        served, self.phase = self.phase == READY, DRAINING
        self._look_at_gate()
        for hand in self.hands:
            if hand.slot.successor is hand or not served:
                hand.signal(signal.SIGTERM)
                self._kill_later(hand, 2.0)
        self._loop.later(self.settings.drain_delay if served else 0.0, self._shut)

    def _shut(self) -> None:
        """Close the door, and drain when nobody stands in it."""
        if self._doorway is None:
            listeners = [listener for slot in self.slots for listener in slot.listeners]
            self._doorway = Doorway(listeners, monotonic(), self.settings.drain_timeout)
        if not self._doorway.empty(monotonic()) and any(hand.state == READY for hand in self.hands):
            self._loop.later(0.002, self._shut)
            return
        if not self._doorway.shut:  # the queues fill until the last one who has them closes: that must be who accepts
            for listener in {one for slot in self.slots for one in slot.listeners}:
                listener.close()
        for hand in self.hands:
            if hand.state == READY:
                self._drain(hand)
            elif hand.state == STARTING:
                hand.signal(signal.SIGTERM)

    def _drain(self, hand: Hand) -> None:
        hand.drain(replaced=self.phase == READY)
        self._kill_later(hand, self.settings.drain_timeout + GRACE)

    def _kill_later(self, hand: Hand, seconds: float) -> None:
        self._loop.later(seconds, lambda: hand.signal(signal.SIGKILL))
