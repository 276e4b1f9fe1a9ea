"""Canaries are judged, and what was decided is done: a route is one table swap and an audit line, here as elsewhere.

There is one judge a server, because there is one decision: the only process, or the worker of slot 0, who asks for the
counts of all workers, the dead ones too. A worker that replaces it judges on, since both the route and the counts
outlive it. It looks every few seconds, and only while there is a canary; looking often costs no certainty
(`monitor/canary.py`).
"""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread
from typing import Any, Final, Protocol

from setsail.errors import SetsailError
from setsail.monitor.canary import Verdict, of, verdict
from setsail.monitor.meter import Snapshot
from setsail.routing import Reroute, Routed, Routes
from setsail.server.dispatch import Answering

__all__ = ["SECONDS", "Judge", "decided"]

_LOG = logging.getLogger("setsail.server")
SECONDS: Final = 2.0


class Counted(Protocol):
    """A meter, or what stands for the meters of several processes."""

    def snapshot(self) -> Snapshot: ...


def decided(routed: Routed, counts: Snapshot) -> tuple[Verdict | None, Reroute | None]:
    """What the canary of a model comes to, and what follows from it. Pure."""
    route = routed.routing.route
    rule = None if route is None else route.canary
    if rule is None:
        return None, None
    found = verdict(rule, of(counts.pairs, routed.name, rule))
    if found.decision == "wait" or not rule.automatic:
        return found, None
    version = rule.candidate if found.decision == "promote" else rule.control
    return found, Reroute(routed.name, found.decision, version=version, who="canary", why=found.why,
                          after=routed.routing.revision)  # fmt: skip


class Judge:
    """Looks at canaries while there are any.

    Args:
        house: answers for all processes.
        counted: what all of them have counted.
    """

    def __init__(self, house: Answering, counted: Counted, seconds: float = SECONDS) -> None:
        self._house, self._counted, self._seconds = house, counted, seconds
        self._closed = Event()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._woken = False

    def wake(self, name: str = "") -> None:
        """A route has changed, or the server has begun: there may be a canary. From any thread."""
        with self._lock:
            self._woken = True
            if self._thread is None and not self._closed.is_set():
                self._thread = Thread(target=self._work, name="setsail-canary", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def look(self) -> bool:
        """Judge every canary once; False when there is none. Raises what the house raises."""
        routed: tuple[Routed, ...] = self._house.answer(Routes(), control=True)
        watched = [one for one in routed if one.routing.route is not None and one.routing.route.canary is not None]
        counts = self._counted.snapshot() if watched else Snapshot()
        for one in watched:
            _, ask = decided(one, counts)
            if ask is not None:
                self._do(ask)
        return bool(watched)

    def _do(self, ask: Any) -> None:
        try:
            self._house.answer(ask, control=True)
        except SetsailError as fault:  # somebody changed the route, or a version went: the next look sees it
            _LOG.warning("the canary of %s was decided (%s), which was not done: %s", ask.name, ask.action, fault)

    def _work(self) -> None:
        while not self._closed.wait(self._seconds):
            self._woken = False
            try:
                if self.look():
                    continue
            except SetsailError as fault:  # workers come and go
                _LOG.debug("canaries could not be looked at: %s", fault)
                continue
            except Exception:
                _LOG.exception("canaries could not be looked at")
                continue
            with self._lock:
                if not self._woken:
                    self._thread = None
                    return
