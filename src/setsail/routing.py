"""Routes between the versions of a model, as data: who answers a request that names no version.

A route cuts the circle of `SLOTS` slots into spans, one version each. A request falls on a slot: by its key where the
route is sticky, by its number otherwise. So shares are exact to 0.01 %, a key stays where it is, and a changed weight
moves only the slots that must move, because `spans` makes the new cut out of the old one.

What was in force before is kept (`Routing`): going back is another change like any other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, field

__all__ = [
    "ACTIONS", "KEPT", "SLOTS", "Change", "PutRoute", "Reroute", "Route", "Routed", "Routes", "Routing", "Rule",
    "Spans", "Sticky", "Wish", "cut", "shares",
]  # fmt: skip

SLOTS: Final = 10_000
KEPT: Final = 32  # changes of a model that are remembered
ACTIONS: Final = ("route", "canary", "shadow", "promote", "rollback", "clear")
Spans = tuple[tuple[int, int], ...]


class Sticky(Struct, frozen=True):
    """What keeps a client on its version: a header (`by` "header") or the first row's value of an input ("input")."""

    by: str
    name: str

    def __str__(self) -> str:
        return f"{self.by}:{self.name}"


class Rule(Struct, frozen=True):
    """How a canary is judged (`monitor/canary.py`).

    Attributes:
        since: milliseconds of the epoch when it began: its results are counted under this number.
        alpha: how often, at most, a canary that is no worse is stopped, however often one looks.
        allowed: by how much the share of errors may be larger and the canary still be promoted.
        budget: seconds that an answer may take; slower ones count against a version. 0 judges no latency.
        labels: whether feedback is judged too.
        block: results of the control that one result of the candidate is held against.
        automatic: whether a decision is carried out, or only told.
    """

    control: int
    candidate: int
    since: int
    alpha: float = 0.01
    allowed: float = 0.01
    budget: float = 0.0
    labels: bool = False
    block: int = 1
    automatic: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is judged, in order."""
        return ("error", *(("latency",) if self.budget else ()), *(("label",) if self.labels else ()))


class Route(Struct, frozen=True):
    """Where requests without a version go.

    Attributes:
        spans: (end, version), ends ascending to `SLOTS`.
        shadows: versions that get a copy of what others answered; nobody hears their answers.
    """

    spans: Spans
    sticky: Sticky | None = None
    shadows: tuple[int, ...] = ()
    canary: Rule | None = None

    @property
    def shares(self) -> Mapping[int, int]:
        """Slots of each version."""
        return shares(self.spans)

    @property
    def watched(self) -> bool:
        """Whether anything happens beside answering."""
        return self.canary is not None or bool(self.shadows)

    def __str__(self) -> str:
        parts = [f"v{version}={slots * 100 / SLOTS:g}" for version, slots in sorted(self.shares.items())]
        parts += [f"sticky {self.sticky}"] if self.sticky is not None else []
        parts += [f"shadow v{version}" for version in self.shadows]
        return " ".join([*parts, *(["canary"] if self.canary is not None else [])])


class Change(Struct, frozen=True):
    """One change of a model's route: an audit line.

    Attributes:
        route: in force from then on; None is the rule without a route, the default version.
        before: revision of the change that a rollback of this one goes back to; 0 is the beginning, without a route.
        when: seconds of the epoch.
    """

    revision: int
    what: str
    route: Route | None
    when: float
    who: str = ""
    why: str = ""
    before: int = 0


class Routing(Struct, frozen=True):
    """All that is known of a model's route: its changes, the newest last."""

    changes: tuple[Change, ...] = ()

    @property
    def revision(self) -> int:
        return self.changes[-1].revision if self.changes else 0

    @property
    def route(self) -> Route | None:
        return self.changes[-1].route if self.changes else None

    def at(self, revision: int) -> Change | None:
        return next((change for change in self.changes if change.revision == revision), None)

    def plus(self, change: Change) -> Routing:
        return Routing((*self.changes, change)[-KEPT:])


class Routed(Struct, frozen=True):
    """A model and its routing.

    Attributes:
        ready: versions that answer.
        default: where bare requests go without a route.
        labelled: versions whose predictions are kept for the labels that come back.
    """

    name: str
    routing: Routing
    ready: tuple[int, ...] = ()
    default: int | None = None
    labelled: tuple[int, ...] = ()


# -- asks ------------------------------------------------------------------------------------------------------


class Routes(Struct, frozen=True):
    """The routes of a model, or ("") of all models. Answer: tuple[Routed, ...]. An unknown one: `model.unknown`."""

    name: str = ""


class Wish(Struct, frozen=True, kw_only=True):
    """What may be said of a change, whatever it is; each action reads what concerns it (`Reroute`)."""

    version: int | None = None
    percent: float = 10.0
    alpha: float = 0.01
    allowed: float = 0.01
    budget: float = 0.0
    labels: bool = False
    automatic: bool = True
    who: str = ""
    why: str = ""
    after: int | None = None


class Reroute(Wish, frozen=True):
    """Change a route. Answer: Routed.

    Args:
        action: of `ACTIONS`. `route` has `weights` by version; `canary` has the candidate as `version`, its `percent`
            and the rest of `Rule`; `shadow` has a `version` that is added (None: there are none any more); `promote`
            gives everything to `version`, or to the canary; `rollback` goes back to what was before, or gives
            everything to `version`; `clear` ends the route.
        sticky: None keeps what is; one without a name ends it.
        after: the revision that this is a change of; another one in force refuses it. None is whatever is in force.

    Raises (as faults): `route.value`, `route.nothing`, `route.conflict`, `model.unknown`, `model.version`,
    `model.not_ready`. Then nothing has changed.
    """

    name: str
    action: str
    weights: Mapping[int, float] = field(default_factory=dict)
    sticky: Sticky | None = None


class PutRoute(Struct, frozen=True):
    """Have this routing, whatever it was made of: what all processes are told once it is decided. Answer: Routed.

    `route.conflict` where another change came in between.
    """

    name: str
    routing: Routing


# -- cutting the circle ------------------------------------------------------------------------------------------


def shares(spans: Spans) -> dict[int, int]:
    """Slots of each version."""
    found: dict[int, int] = {}
    start = 0
    for end, version in spans:
        found[version] = found.get(version, 0) + end - start
        start = end
    return found


def cut(weights: Mapping[int, float], before: Spans = ()) -> Spans:
    """Spans with these weights in which as few slots as possible have another version than before.

    Args:
        weights: by version, none negative, not all 0. Whoever has any weight has a slot.
    """
    wanted = _slots(weights)
    owners = _owners(before) if before else [0] * SLOTS
    kept: dict[int, int] = {}
    free = []
    for slot, version in enumerate(owners):
        if kept.get(version, 0) < wanted.get(version, 0):
            kept[version] = kept.get(version, 0) + 1
        else:
            free.append(slot)
    missing = [version for version, slots in wanted.items() for _ in range(slots - kept.get(version, 0))]
    for slot, version in zip(free, missing, strict=True):
        owners[slot] = version
    return _joined(owners)


def _slots(weights: Mapping[int, float]) -> dict[int, int]:
    """Whole slots by largest remainders."""
    total = sum(weights.values())
    exact = {version: weight * SLOTS / total for version, weight in weights.items() if weight > 0}
    slots = {version: max(1, int(part)) for version, part in exact.items()}
    order = sorted(exact, key=lambda version: (int(exact[version]) - exact[version], version))
    left = SLOTS - sum(slots.values())
    for version in order[: max(0, left)]:
        slots[version] += 1
    if left < 0:  # more versions of next to nothing than rounding left room for
        slots[max(slots, key=lambda version: slots[version])] += left
    return slots


def _owners(spans: Spans) -> list[int]:
    ends = [end for end, _ in spans]
    return [spans[bisect_right(ends, slot)][1] for slot in range(SLOTS)]


def _joined(owners: Iterable[int]) -> Spans:
    spans: list[tuple[int, int]] = []
    for slot, version in enumerate(owners):
        if spans and spans[-1][1] == version:
            spans[-1] = (slot + 1, version)
        else:
            spans.append((slot + 1, version))
    return tuple(spans)
