"""All workers as one: a `Fleet` answers what a house answers, by asking each of them and merging what they say.

A version is ready when it is ready in every worker; a load or unload is done when all have done it; statistics are
sums over the living and the dead. A single prediction, or a model's contract, is one worker's answer. The admin
application runs over a fleet as it runs over a house, and so does what a client asks one worker about all of them
(`Everywhere`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from setsail.catalog import (
    CONTROLS,
    Ask,
    Configure,
    Describe,
    Feedback,
    Index,
    IsLive,
    IsReady,
    Load,
    Locate,
    ModelDescription,
    Register,
    Registered,
    Scale,
    SetDefault,
    Statistics,
    Status,
    Unload,
    Unregister,
    VersionStatistics,
    VersionStatus,
)  # fmt: skip
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.monitor.statistics import statistics
from setsail.routing import PutRoute, Reroute, Routed, Routes
from setsail.server.channel import Answer
from setsail.server.counts import Counts
from setsail.server.dispatch import Answering
from setsail.server.questions import decode_answer, encode, subject
from setsail.serving.model import predict_rows
from setsail.serving.rerouting import rerouted_in, tell
from setsail.serving.watchers import best

__all__ = ["Asker", "Everywhere", "Fleet", "merged_statuses", "predict"]


class Asker(Protocol):
    """Has workers asked: every one, or (`one`) any one. Blocks; raises `server.draining` when none is there.

    What it returns is never empty, but for counts.
    """

    def __call__(self, kind: str, body: bytes = b"", name: str = "", one: bool = False) -> tuple[Answer, ...]: ...


class Fleet:
    """The models of all workers."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def answer(self, ask: Request | Ask, *, control: bool = True) -> Any:
        """As `serving.house.House.answer`."""
        if isinstance(ask, CONTROLS) and not control:
            raise SetsailError("control.refused", "loading and unloading is off here")
        if isinstance(ask, Reroute):
            return self._reroute(ask)
        ask = self._settled(ask)
        if isinstance(ask, IsLive):
            return True
        merge = _MERGES.get(type(ask))
        kind, body = encode(ask)
        replies = self._asker(kind, body, subject(ask), merge is None)
        faults = [answer.fault for answer in replies if answer.fault is not None]
        if faults and (merge is None or len(faults) == len(replies) or not isinstance(ask, Statistics)):
            if isinstance(ask, Register) and len(faults) < len(replies):  # all have it, or none
                with suppress(SetsailError):
                    self.answer(Unregister(ask.name, ask.version))
            raise faults[0].error()
        found = [decode_answer(kind, answer.body) for answer in replies if answer.fault is None]
        if isinstance(ask, Statistics):
            return self._statistics(found)
        return found[0] if merge is None else merge(found)

    def _settled(self, ask: Request | Ask) -> Request | Ask:
        """With the version said: all workers do the same then, also later, and a source is packed by one of them."""
        if isinstance(ask, Register) and not (ask.name and ask.version):
            return located(ask, self.answer(Locate(ask.url, ask.name, ask.version)))
        if isinstance(ask, Scale) and ask.version is None:
            return replace(ask, version=self.answer(Describe(ask.name))[0].version)
        return ask

    def _reroute(self, ask: Reroute) -> Routed:
        """Decided here, and done by all; of two at the same time one is refused by all of them."""
        (before,) = self.answer(Routes(ask.name))
        made = rerouted_in(before, self.answer(Status(ModelRef(ask.name))), ask, self.answer)
        after: Routed = self.answer(made)
        tell(ask.name, before.routing, made.routing)
        return after

    def _statistics(self, found: Sequence[Sequence[VersionStatistics]]) -> tuple[VersionStatistics, ...]:
        """Of the versions that any worker has, over all that was ever counted: what died with a worker counts."""
        counts = Counts(self._asker).snapshot()
        versions = dict.fromkeys((one.name, one.version) for told in found for one in told)
        return statistics(counts, tuple(versions))


class Everywhere:
    """One worker's house to its own clients, and the fleet for what concerns all workers."""

    def __init__(self, house: Answering, fleet: Fleet) -> None:
        self._house, self._fleet = house, fleet

    def answer(self, ask: Request | Ask, *, control: bool) -> Any:
        if control and isinstance(ask, Register):
            ask = located(ask, self._house.answer(Locate(ask.url, ask.name, ask.version), control=True))
        if isinstance(ask, Feedback):
            return self._labels(ask, control)
        if isinstance(ask, Statistics | Describe | Routes) or (control and isinstance(ask, CONTROLS)):
            return self._fleet.answer(ask)
        return self._house.answer(ask, control=control)

    def _labels(self, ask: Feedback, control: bool) -> tuple[str, ...]:
        """Each worker knows the ids that it has answered; what none of them knows is counted in this one."""
        told: tuple[str, ...] = self._fleet.answer(replace(ask, spread=True))
        if missed := told.count("unknown"):
            self._house.answer(Feedback(ask.name, version=ask.version, missed=missed), control=control)
        return told


def located(ask: Register, found: Registered) -> Register:
    """The same ask, with the name and version that were found."""
    return replace(ask, name=found.name, version=found.version)


def predict(fleet: Fleet, X: Any, model: str | None) -> Any:
    """As `Server.predict`."""
    names = list(dict.fromkeys(status.name for status in fleet.answer(Index(ready_only=True))))
    if model is None and len(names) != 1:
        raise SetsailError("model.unknown", "not exactly one model is served", field="model",
                           expected=", ".join(names) or "a model")  # fmt: skip
    return predict_rows(fleet.answer, ModelRef(model or names[0]), X)


# -- merging ---------------------------------------------------------------------------------------------------------

Told = TypeVar("Told", VersionStatus, ModelDescription)
# What a version is called when workers differ: the first of these that any of them says. Ready is last: all must be.
_ORDER: Final = ("failed", "restarting", "queued", "loading", "warming", "draining", "gone", "parked", "ready")


def merged_statuses(found: Sequence[Sequence[VersionStatus]]) -> tuple[VersionStatus, ...]:
    """One status a version; a version that some workers do not have yet is on its way."""
    grouped: dict[tuple[str, int], list[VersionStatus]] = {}
    for statuses in found:
        for status in statuses:
            grouped.setdefault((status.name, status.version), []).append(status)
    merged = [_one(group, len(found)) for group in grouped.values()]
    return tuple(_with_default(merged))


def _one(group: list[VersionStatus], workers: int) -> VersionStatus:
    worst = _worst(group, workers)
    labels = tuple(label for label in group[0].labels if all(label in status.labels for status in group))
    meant = sum(status.default for status in group)
    return replace(worst, default=meant == workers or (worst.ready and meant > 0), labels=labels)


def _worst(group: list[Told], workers: int) -> Told:
    """What the worst off say; a version that some workers do not have yet is on its way."""
    worst = min(group, key=lambda one: _ORDER.index(one.state))
    if len(group) < workers and worst.state in ("ready", "warming"):
        worst = replace(worst, state="loading")
    return worst


def merged_descriptions(found: Sequence[Sequence[ModelDescription]]) -> tuple[ModelDescription, ...]:
    """One description a version, with the processes of all workers."""
    grouped: dict[tuple[str, int], list[ModelDescription]] = {}
    for told in found:
        for one in told:
            grouped.setdefault((one.name, one.version), []).append(one)
    return tuple(
        replace(
            _worst(group, len(found)), framework=next((one.framework for one in group if one.framework), ""),
            processes=tuple(process for one in group for process in one.processes),
            pending=sum(one.pending for one in group), room=sum(one.room for one in group),
        )
        for _, group in sorted(grouped.items())
    )  # fmt: skip


def _with_default(statuses: list[VersionStatus]) -> list[VersionStatus]:
    """Where one worker has gone over to a version that others still load, the highest that all have is meant."""
    named = {status.name for status in statuses if status.default}
    best: dict[str, int] = {}
    for status in statuses:
        if status.ready and status.name not in named:
            best[status.name] = max(best.get(status.name, 0), status.version)
    return [replace(s, default=True) if best.get(s.name) == s.version and s.ready else s for s in statuses]


def merged_routed(found: Sequence[Sequence[Routed]]) -> tuple[Routed, ...]:
    """One a model: a version is ready when it is in all workers. The routing is the same in all of them."""
    grouped: dict[str, list[Routed]] = {}
    for told in found:
        for one in told:
            grouped.setdefault(one.name, []).append(one)
    return tuple(_one_routed(group) for group in grouped.values())


def _one_routed(group: Sequence[Routed]) -> Routed:
    ready, labelled = (
        tuple(sorted(set(sides[0]).intersection(*sides)))
        for sides in ([one.ready for one in group], [one.labelled for one in group])
    )
    return replace(max(group, key=lambda one: one.routing.revision), ready=ready, labelled=labelled)


def merged_labels(found: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Of each label what the worker says that knows most of it."""
    return tuple(best(told) for told in zip(*found, strict=True))


def _nothing(found: Sequence[None]) -> None:
    return None


def _first(found: Sequence[Registered]) -> Registered:
    return found[0]


def _description(found: Sequence[ModelDescription]) -> ModelDescription:
    return merged_descriptions([(one,) for one in found])[0]


_MERGES: Final[Mapping[type, Callable[[Sequence[Any]], Any]]] = {
    Index: merged_statuses, Status: merged_statuses, Statistics: tuple, IsReady: all, Load: _nothing,
    Unload: _nothing, Register: _first, Unregister: any, SetDefault: _nothing, Scale: _description,
    Describe: merged_descriptions, Configure: merged_statuses, Feedback: merged_labels,
    Routes: merged_routed, PutRoute: _one_routed,
}  # fmt: skip
