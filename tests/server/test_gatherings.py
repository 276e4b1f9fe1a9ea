"""Questions to several workers: what a new worker is told to do again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from setsail.server.channel import Answer, Fault, Question
from setsail.server.gatherings import Gatherings
from setsail.server.hands import READY, STARTING


class Line:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


class Hand:
    def __init__(self, state: str = READY) -> None:
        self.state, self.line, self.counts, self.pid = state, Line(), b"", 1


class Crew:
    """Workers, and questions to them; what is to be done in the loop is done at once."""

    def __init__(self, *states: str) -> None:
        self.hands: list[Any] = [Hand(state) for state in states]
        self.gatherings = Gatherings(
            lambda call: call(), lambda: [h for h in self.hands if h.state == READY], lambda: self.hands
        )
        self.told: list[tuple[Answer, ...]] = []

    def begin(self, kind: str, name: str, body: bytes = b"") -> Callable[..., None]:
        """Ask; what is returned has all that were asked answer."""
        self.gatherings._begin(kind, body, name, False, self.told.append)
        number = self.hands[0].line.sent[-1].id

        def answer(value: Any = None, fault: Fault | None = None) -> None:
            for hand in self.hands:
                self.gatherings.answered(hand, Answer(number, msgspec.msgpack.encode(value), fault))

        return answer


def test_what_all_have_done_is_done_again_by_a_new_one() -> None:
    crew = Crew(READY, READY)
    crew.begin("Register", "m/1", b"one")()
    crew.begin("Describe", "")()
    assert crew.gatherings.controls() == (("Register", b"one"),)
    crew.begin("Unregister", "m/1", b"gone")(False)
    assert crew.gatherings.controls() == ()
    crew.begin("Unregister", "start/1", b"gone")(True)
    assert crew.gatherings.controls() == (("Unregister", b"gone"),)


def test_what_they_are_doing_at_this_moment_is_done_too() -> None:
    crew = Crew(READY, READY)
    answer = crew.begin("Register", "m/1", b"one")
    assert crew.gatherings.controls() == (("Register", b"one"),)
    answer()
    assert crew.gatherings.controls() == (("Register", b"one"),)


def test_what_one_could_not_do_is_not_done_again() -> None:
    crew = Crew(READY, READY)
    crew.begin("Register", "m/1")(fault=Fault("model.failed", "no"))
    assert crew.gatherings.controls() == ()


def test_those_that_start_hear_of_changes_and_nobody_waits_for_them() -> None:
    crew = Crew(READY, STARTING)
    answer = crew.begin("Scale", "m/1")
    assert [type(one) for one in crew.hands[1].line.sent] == [Question]
    crew.hands.pop()
    answer()
    assert len(crew.told) == 1
    crew.hands.append(Hand(STARTING))
    crew.begin("Describe", "")()
    assert crew.hands[1].line.sent == []
