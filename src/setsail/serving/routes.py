"""Which version answers a request without one, and what a change makes of a route. Pure.

A slot comes out of a key (the same key, the same slot: a hash keyed with the model's name, so that not always the same
clients are the first of every model) or out of a counter: multiples of the golden ratio, which spread so evenly that
after n requests no version has a handful more or less than its share (Weyl's equidistribution; Knuth, TAOCP 3, §6.4).

The share of a version that is not ready goes to the others of the route, by another hash of the key: the rest stays
where it is. Versions outside of the route never answer for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from hashlib import blake2b
from itertools import count
from math import isfinite
from random import random
from typing import Final

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.routing import ACTIONS, SLOTS, Change, Reroute, Route, Routing, Rule, Spans, Sticky, cut, shares

__all__ = ["BLOCK", "MOST", "Picker", "conflict", "rerouted"]

MOST: Final = 32  # versions of a route
BLOCK: Final = 8  # at most so many results of the control for one of the candidate: more would hardly tell more
_GOLDEN: Final = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
_MASK: Final = (1 << 64) - 1


class Picker:
    """A route at work, over the versions that are ready.

    Args:
        start: of the counter, 0 to 1; processes and their restarts do not begin at the same place.
    """

    __slots__ = ("_count", "_ends", "_key", "_rest", "_rest_ends", "_versions", "ready", "route")

    def __init__(self, name: str, route: Route, ready: Collection[int], start: float | None = None) -> None:
        self.route, self.ready = route, frozenset(ready)
        self._key = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._count = count(int((random() if start is None else start) * SLOTS))
        self._ends = [end for end, _ in route.spans]
        self._versions = [version for _, version in route.spans]
        self._rest = _without(route.spans, self.ready)
        self._rest_ends = [end for end, _ in self._rest]

    @property
    def sole(self) -> bool:
        """Whether one version answers everything, and nothing happens beside it."""
        return len(self._versions) == 1 and not self.route.watched

    @property
    def main(self) -> int | None:
        """The version with the most of what is ready: its contract is the model's. None when none is."""
        found = {version: slots for version, slots in self.route.shares.items() if version in self.ready}
        return max(found, key=lambda version: (found[version], version)) if found else None

    def choose(self, key: str | None = None) -> int | None:
        """A version that is ready; None when none is.

        Args:
            key: of whoever is to stay where he is; None for a request that has none.
        """
        number = next(self._count) * _GOLDEN & _MASK if key is None else self._hash(key, b"")
        version = self._versions[bisect_right(self._ends, number * SLOTS >> 64)]
        if version in self.ready:
            return version
        if not self._rest:
            return None
        number = number * _GOLDEN & _MASK if key is None else self._hash(key, b"again")
        return self._rest[bisect_right(self._rest_ends, number * self._rest_ends[-1] >> 64)][1]

    def _hash(self, key: str, salt: bytes) -> int:
        text = key.encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=8, key=self._key, salt=salt).digest(), "little")


def _without(spans: Spans, ready: Collection[int]) -> Spans:
    """The spans of those that are ready, moved together."""
    found: list[tuple[int, int]] = []
    start = width = 0
    for end, version in spans:
        if version in ready:
            width += end - start
            found.append((width, version))
        start = end
    return tuple(found)


# -- changes -----------------------------------------------------------------------------------------------------------


def rerouted(
    now: Routing, ask: Reroute, *, known: Collection[int], ready: Collection[int], default: int | None, when: float
) -> Routing:
    """The routing after a change.

    Args:
        known, ready: versions that exist, and that answer.
        default: where bare requests go without a route.
        when: seconds of the epoch.

    Raises:
        SetsailError: `route.value`, `.nothing` or `.conflict`, `model.version` or `model.not_ready`.
    """
    if ask.action not in ACTIONS:
        raise _value("action", ask.action, "one of " + ", ".join(ACTIONS))
    if ask.after is not None and ask.after != now.revision:
        raise conflict(ask.name, ask.after, now.revision)
    before, route = now.revision, now.route
    if ask.action == "rollback" and ask.version is None:
        back = _back(now, ask.name)
        before, route = (back.before, back.route) if back is not None else (0, None)
    elif ask.action == "clear":
        route = None
    else:
        made: Route = _ROUTES[ask.action](ask, now.route, default, when)
        for version in dict.fromkeys((*made.shares, *made.shadows)):
            _check(ask.name, version, known, ready)
        route = made
    change = Change(now.revision + 1, ask.action, route, when, ask.who, ask.why, before)
    return now.plus(change)


def conflict(name: str, after: int, found: int) -> SetsailError:
    return SetsailError("route.conflict", f"the route of {name!r} was changed meanwhile", field="after", value=after,
                        expected=str(found), model=name)  # fmt: skip


def _back(now: Routing, name: str) -> Change | None:
    """What a rollback goes to; None is the beginning. Going back twice goes back two changes."""
    if not now.changes:
        raise _nothing(name, "was never changed: there is nothing to go back to")
    to = now.changes[-1].before
    if not to:
        if now.route is None:
            raise _nothing(name, "is as it was in the beginning: there is nothing to go back to")
        return None
    found = now.at(to)
    if found is None:
        raise _nothing(name, "was changed so often that what was before is forgotten")
    return found


def _route(ask: Reroute, old: Route | None, default: int | None, when: float) -> Route:
    weights = ask.weights
    if not 0 < len(weights) <= MOST:
        raise _value("weights", dict(weights), f"1 to {MOST} versions with their weights, such as 1: 90, 2: 10")
    for version, weight in weights.items():
        if not (isfinite(weight) and weight >= 0):
            raise _value("weights", {version: weight}, "weights of 0 or more")
    if not sum(weights.values()) > 0:
        raise _value("weights", dict(weights), "at least one weight above 0")
    spans = cut(weights, _spans(old, default))
    shadows = tuple(v for v in old.shadows if v not in shares(spans)) if old is not None else ()
    return Route(spans, _sticky(ask, old), shadows)


def _canary(ask: Reroute, old: Route | None, default: int | None, when: float) -> Route:
    control = _main(ask.name, old, default)
    candidate = ask.version
    if old is not None and old.canary is not None and candidate in (None, old.canary.candidate):
        control, candidate = old.canary.control, old.canary.candidate
    if candidate is None or candidate == control:
        raise _value("version", candidate, f"a version beside {control}, which answers now")
    if not 0 < ask.percent < 100:
        raise _value("percent", ask.percent, "more than 0 and less than 100")
    for name, value, most in (("alpha", ask.alpha, 0.5), ("allowed", ask.allowed, 1.0)):
        if not 0 < value < most:
            raise _value(name, value, f"more than 0 and less than {most:g}")
    if not (isfinite(ask.budget) and ask.budget >= 0):
        raise _value("budget", ask.budget, "seconds, or 0 for none")
    block = max(1, min(BLOCK, int((100 - ask.percent) / ask.percent)))
    rule = Rule(control, candidate, int(when * 1000), ask.alpha, ask.allowed, ask.budget, ask.labels, block,
                ask.automatic)  # fmt: skip
    spans = cut({control: 100 - ask.percent, candidate: ask.percent}, _spans(old, default))
    shadows = tuple(v for v in old.shadows if v != candidate) if old is not None else ()
    return Route(spans, _sticky(ask, old), shadows, rule)


def _shadow(ask: Reroute, old: Route | None, default: int | None, when: float) -> Route:
    base = old or Route(cut({_main(ask.name, old, default): 1.0}))
    if ask.version is None:
        return replace(base, shadows=())
    if ask.version in base.shares:
        raise _value("version", ask.version, "a version that answers nobody: this one is in the route")
    if len(base.shadows) >= MOST:
        raise _value("version", ask.version, f"at most {MOST} shadows")
    return replace(base, shadows=tuple(sorted({*base.shadows, ask.version})))


def _promote(ask: Reroute, old: Route | None, default: int | None, when: float) -> Route:
    version = ask.version
    if version is None:
        if old is None or old.canary is None:
            raise _nothing(ask.name, "has no canary: say which version to promote")
        version = old.canary.candidate
    shadows = tuple(v for v in old.shadows if v != version) if old is not None else ()
    return Route(cut({version: 1.0}), _sticky(ask, old), shadows)


_ROUTES: Final = {"route": _route, "canary": _canary, "shadow": _shadow, "promote": _promote, "rollback": _promote}


def _spans(old: Route | None, default: int | None) -> Spans:
    return old.spans if old is not None else cut({default: 1.0}) if default is not None else ()


def _main(name: str, old: Route | None, default: int | None) -> int:
    if old is not None:
        found = old.shares
        return max(found, key=lambda version: (found[version], version))
    if default is None:
        raise SetsailError("model.not_ready", f"model {name!r} has no version that answers", model=name)
    return default


def _sticky(ask: Reroute, old: Route | None) -> Sticky | None:
    sticky = ask.sticky
    if sticky is None:
        return old.sticky if old is not None else None
    if not sticky.name:
        return None
    if sticky.by not in ("header", "input"):
        raise _value("sticky", str(sticky), "header:NAME or input:NAME")
    return Sticky("header", sticky.name.lower()) if sticky.by == "header" else sticky


def _check(name: str, version: int, known: Collection[int], ready: Collection[int]) -> None:
    if version not in known:
        raise SetsailError("model.version", f"model {name!r} has no version {version}", field="version", value=version,
                           expected="one of " + ", ".join(map(str, sorted(known))), model=name,
                           version=version)  # fmt: skip
    if version not in ready:
        raise SetsailError("model.not_ready", f"version {version} of {name!r} is not ready", model=name)


def _value(where: str, value: object, expected: str) -> SetsailError:
    return SetsailError("route.value", "a route cannot be made of this", field=where, value=value, expected=expected)


def _nothing(name: str, what: str) -> SetsailError:
    return SetsailError("route.nothing", f"the route of {name!r} {what}", model=name)
