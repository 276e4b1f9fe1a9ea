"""Whether a model's runs may be done on the event loop: earned slowly, lost at once.

A run on the loop saves two thread switches, and holds up everything else meanwhile. So a model is trusted when its
known run times are well below the limit, and each untrusted run that was quick is a proof towards it. Trust ends with
several slow runs close together, two that are far beyond the limit, or one that is so far beyond it that the operating
system cannot have made it: on a busy machine it takes a core away for tens of milliseconds. Each loss doubles the
proofs asked for the next time, so that a model on the border does not go back and forth.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Trust", "Turn"]

LOWER: Final = 0.7  # of the limit: what counts as quick while untrusted
FAR: Final = 4.0  # times the limit: such a run counts half as much again
ENOUGH: Final = 25.0  # times the limit: one such run is enough
STRIKES: Final = 3.0
FORGIVE: Final = 1 / 16  # of a strike, for each quick run
PROOFS: Final = 8
MOST_PROOFS: Final = 512
CALM: Final = 4096  # trusted runs after which the proofs asked for are halved


class Trust:
    """One model's standing. `held` says whether its runs may be inline at all."""

    __slots__ = ("_calm", "_proofs", "_strikes", "asked", "held", "limit")

    def __init__(self, limit: float, predicted: float) -> None:
        """`predicted`: seconds of the smallest run as measured at load, `inf` when it was not."""
        self.limit = limit
        self.held = predicted <= LOWER * limit
        self.asked = PROOFS
        self._proofs = self._calm = 0
        self._strikes = 0.0

    def ran(self, inline: bool, predicted: float, seconds: float) -> None:
        """A run has ended that was predicted to take `predicted` seconds."""
        if not self.held:
            if seconds <= LOWER * self.limit:
                self._proofs += 1
                if self._proofs >= self.asked:
                    self.held, self._strikes, self._calm = True, 0.0, 0
            elif predicted <= self.limit:  # a large batch that is slow as predicted says nothing about small ones
                self._proofs = 0
        elif seconds <= self.limit:
            if self._strikes > 0.0:
                self._strikes = max(0.0, self._strikes - FORGIVE)
            self._calm += 1
            if self._calm == CALM:
                self._calm, self.asked = 0, max(PROOFS, self.asked // 2)
        elif inline:
            self._strikes += 1.5 if seconds > FAR * self.limit else 1.0
            if seconds > ENOUGH * self.limit or self._strikes >= STRIKES:
                self.held, self._proofs = False, 0
                self.asked = min(MOST_PROOFS, self.asked * 2)


class Turn:
    """Seconds of runs that one turn of the event loop has had. Shared by the schedulers of one loop."""

    __slots__ = ("number", "spent")

    def __init__(self) -> None:
        self.number: float = -1
        self.spent = 0.0

    def begin(self, number: float) -> None:
        """A turn has begun, if `number` is another than last time."""
        if number != self.number:
            self.number, self.spent = number, 0.0
