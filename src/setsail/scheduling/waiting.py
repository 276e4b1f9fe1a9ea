"""Tickets that wait, in the order in which they go: by priority, then by arrival; tickets of one key together.

Each key has a line; a line has a queue for each priority that waits in it, the highest first. A heap over the heads of
the lines finds the line whose turn it is in O(log keys), whatever keys clients make up. Entries of heads that have
moved on are thrown away when they come up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from typing import Final

from setsail.scheduling.ticket import Ticket

__all__ = ["KEPT", "Line", "Waiting"]

KEPT: Final = 8  # empty lines that are kept, so that a model with few keys makes no line for every request
STALE: Final = 64  # entries of heads that have moved on, before they are thrown away together


class Line:
    """All that waits with one key."""

    __slots__ = ("key", "levels", "ranks", "rows")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.rows = 0
        self.ranks: list[int] = [0]  # -priority of each level
        self.levels: list[deque[Ticket]] = [deque()]

    def level(self, priority: int) -> deque[Ticket]:
        """The queue of one priority, made where it is missing."""
        at = bisect_left(self.ranks, -priority)
        if at == len(self.ranks) or self.ranks[at] != -priority:
            self.ranks.insert(at, -priority)
            self.levels.insert(at, deque())
        return self.levels[at]

    def first(self) -> Ticket | None:
        """The ticket that goes first. Levels that have run empty are taken away, but for the last."""
        levels = self.levels
        while not levels[0]:
            if len(levels) == 1:
                return None
            del levels[0], self.ranks[0]
        return levels[0][0]


class Waiting:
    """The lines of one model."""

    __slots__ = ("_heads", "_order", "lines")

    def __init__(self) -> None:
        self.lines: dict[Hashable, Line] = {}
        # (-priority, order of arrival, line); an entry holds while its ticket is its line's first
        self._heads: list[tuple[int, int, Line]] = []
        self._order = 0

    def put(self, ticket: Ticket) -> None:
        line = self.lines.get(ticket.key)
        if line is None:
            line = self.lines[ticket.key] = Line(ticket.key)
        line.rows += ticket.rows
        level = line.levels[0] if line.ranks[0] == -ticket.priority else line.level(ticket.priority)
        level.append(ticket)
        self._order = ticket.order = self._order + 1
        if len(level) == 1:  # a new head, perhaps
            if len(line.levels) == 1:
                heappush(self._heads, (-ticket.priority, ticket.order, line))
            else:
                self.expose(line)

    def expose(self, line: Line) -> None:
        """Note the head of a line that may have a new one; forget a line that is empty."""
        head = line.first()
        if head is None:
            if len(self.lines) > KEPT:
                self.lines.pop(line.key, None)
            return
        heappush(self._heads, (-head.priority, head.order, line))
        if len(self._heads) > STALE + 4 * len(self.lines):
            self._note_all()

    def next(self) -> Line | None:
        """The line whose head goes first; `expose` it when tickets were taken, or not."""
        heads = self._heads
        while heads:
            _, order, line = heappop(heads)
            head = line.first()
            if head is not None and head.order == order:
                return line
        return None

    def sweep(self, leaves: Callable[[Ticket], bool]) -> list[Ticket]:
        """Take out every ticket that `leaves`; looks at all that wait."""
        left: list[Ticket] = []
        for line in list(self.lines.values()):
            for at, level in enumerate(line.levels):
                gone = [ticket for ticket in level if leaves(ticket)]
                if gone:
                    line.levels[at] = deque(ticket for ticket in level if not leaves(ticket))
                    line.rows -= sum(ticket.rows for ticket in gone)
                    left += gone
            if line.first() is None and len(self.lines) > KEPT:
                del self.lines[line.key]
        self._note_all()
        return left

    def _note_all(self) -> None:
        firsts = ((line.first(), line) for line in self.lines.values())
        self._heads = [(-head.priority, head.order, line) for head, line in firsts if head is not None]
        heapify(self._heads)
