"""Questions that go to several workers, and their answers brought together. Part of the supervisor's loop.

Counts have a rule of their own: what a worker counted must not be forgotten when it ends, nor counted twice when it
ends while it is asked. So each hand keeps its last snapshot, the dead leave theirs here, and an answer is made of both
at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from itertools import count
from threading import Event
from typing import Final

import msgspec

from setsail.errors import SetsailError
from setsail.server.channel import DEAD, SNAPSHOT, Answer, Answers, Everyone, Question
from setsail.server.controls import PATIENT, Controls, Said
from setsail.server.hands import STARTING, Hand

__all__ = ["Gatherings"]

_PATIENCE: Final = dict.fromkeys(PATIENT, 3600.0)  # loading takes as long as it takes
_SECONDS: Final = 30.0
_KEPT: Final = 16  # snapshots of the dead, before they are made one
Done = Callable[[tuple[Answer, ...]], None]


class _Gathering:
    """One question on its way."""

    def __init__(self, said: Said, asked: set[Hand], done: Done) -> None:
        self.said, self.asked, self.done = said, asked, done
        self.answers: list[Answer] = []

    @property
    def changes(self) -> bool:
        return Controls.changes(self.said.kind)


class Gatherings:
    """All questions on their way.

    Args:
        call: has something done in the loop's thread; everything but `ask` is called there.
        ready: the hands that answer, one a slot.
        everybody: all that live.
    """

    def __init__(
        self, call: Callable[[Callable[[], None]], None], ready: Callable[[], Sequence[Hand]],
        everybody: Callable[[], Collection[Hand]],
    ) -> None:  # fmt: skip
        self._call, self._ready, self._everybody = call, ready, everybody
        self._open: dict[int, _Gathering] = {}
        self._numbers = count(1)
        self._turn = 0
        self._controls = Controls()
        self._dead: list[bytes] = []
        self._closed = False

    def ask(self, kind: str, body: bytes = b"", name: str = "", one: bool = False) -> tuple[Answer, ...]:
        """Ask from any thread but the loop's, and wait.

        Raises:
            SetsailError: `server.draining` when there is nobody to ask, `request.deadline` when nobody answers.
        """
        found: list[tuple[Answer, ...]] = []
        done = Event()

        def take(answers: tuple[Answer, ...]) -> None:
            found.append(answers)
            done.set()

        self._call(lambda: self._begin(kind, body, name, one, take))
        if self._closed:  # the loop that would have begun it has ended
            done.set()
        if not done.wait(_PATIENCE.get(kind, _SECONDS)):
            raise SetsailError("request.deadline", "not every worker has answered in time", value=kind)
        if not found:
            found.append(self._counts() if kind == SNAPSHOT else ())
        if not found[0] and kind != SNAPSHOT:
            raise SetsailError("server.draining", "no worker is there to answer")
        return found[0]

    def pass_on(self, asker: Hand, message: Everyone) -> None:
        """A worker asks for all."""
        self._begin(message.kind, message.body, message.name, False,
                    lambda answers: asker.line.send(Answers(message.id, answers)))  # fmt: skip

    def controls(self) -> tuple[tuple[str, bytes], ...]:
        """What a new worker must do to be as the others: kinds and bodies; also what they are doing at this moment."""
        doing = [one.said for one in self._open.values() if one.changes]
        return tuple((said.kind, said.body) for said in (*self._controls.replay(), *doing))

    def _begin(self, kind: str, body: bytes, name: str, one: bool, done: Done) -> None:
        hands = list(self._ready())
        if kind == SNAPSHOT:
            hands = [hand for hand in self._everybody() if hand.state != STARTING]
        elif one and hands:
            self._turn += 1
            hands = [hands[self._turn % len(hands)]]
        if self._closed or not hands:
            done(self._counts() if kind == SNAPSHOT else ())
            return
        number = next(self._numbers)
        self._open[number] = _Gathering(Said(kind, body, name), set(hands), done)
        late = [h for h in self._everybody() if h.state == STARTING] if Controls.changes(kind) else []
        for hand in (*hands, *late):  # those that start read it when they are ready; nobody waits for them
            hand.line.send(Question(number, kind, body, name))

    def answered(self, hand: Hand, answer: Answer) -> None:
        gathering = self._open.get(answer.id)
        if gathering is None or hand not in gathering.asked:
            return
        if gathering.said.kind == SNAPSHOT:
            hand.counts = answer.body
        gathering.answers.append(answer)
        gathering.asked.discard(hand)
        self._finish(answer.id, gathering)

    def died(self, hand: Hand) -> None:
        """Nobody waits for it any longer, and what it counted stays."""
        if hand.counts:
            self._dead.append(hand.counts)
            hand.counts = b""
        if len(self._dead) > _KEPT:
            self._dead = [import_module("setsail.server.counts").merged_counts(self._dead)]
        for number, gathering in list(self._open.items()):
            gathering.asked.discard(hand)
            self._finish(number, gathering)

    def _finish(self, number: int, gathering: _Gathering) -> None:
        if gathering.asked or number not in self._open:
            return
        del self._open[number]
        if gathering.said.kind == SNAPSHOT:
            gathering.done(self._counts())
            return
        if gathering.changes and all(answer.fault is None for answer in gathering.answers):
            undoes = gathering.said.kind == "Unregister"
            lasting = not undoes or any(msgspec.msgpack.decode(answer.body) for answer in gathering.answers)
            self._controls.note(gathering.said, lasting=lasting)
        gathering.done(tuple(gathering.answers))

    def _counts(self) -> tuple[Answer, ...]:
        """Everything that was ever counted, by the living and the dead."""
        dead = [Answer(DEAD, counts) for counts in self._dead]
        return (*dead, *(Answer(hand.pid, hand.counts) for hand in self._everybody() if hand.counts))

    def close(self) -> None:
        """Nobody is left to answer."""
        self._closed = True
        for gathering in list(self._open.values()):
            gathering.done(tuple(gathering.answers))
        self._open.clear()
