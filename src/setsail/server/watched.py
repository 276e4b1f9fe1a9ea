"""The board over everything that was counted, in whichever process: looked at once a second, and when somebody asks.

It stands where metrics are made: in the server's only process, or beside the supervisor, where the counts of all
workers come together. Alarms go to the log and to the metrics; this is nowhere on the way of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from math import isnan
from threading import Event, Lock, Thread
from time import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from setsail.errors import SetsailError
from setsail.monitor.meter import Snapshot
from setsail.server.settings import Settings

if TYPE_CHECKING:
    from setsail.monitor.board import Series

__all__ = ["FAMILIES", "Watching", "metrics"]

_LOG = logging.getLogger("setsail.watch")
_BOARD: Final = "setsail.monitor.board"
_TALLY: Final = "setsail.monitor.watch"
_DRIFT: Final = "setsail.monitor.drift"
_SECONDS: Final = 1.0
_FEATURES: Final = 100  # of a version that have a metric of their own; the page must not grow with a table's width
_VERSION: Final = ("model", "version")
# name -> kind, labels beside model and version, text; rows of `metrics.FAMILIES`
FAMILIES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "setsail_watch_rows": ("counter", (), "Rows that were noted to be held against the reference."),
    "setsail_watch_skipped_rows": ("counter", (), "Rows that were answered and not noted."),
    "setsail_watch_windows": ("counter", (), "Windows of rows that have ended and were tested."),
    "setsail_watch_reference_rows": ("gauge", (), "Rows of the reference; 0 where there is none."),
    "setsail_drift_alarm": ("gauge", ("family",), "1 while an alarm is on: inputs, outputs, joint or concept."),
    "setsail_drift_alarms": ("counter", ("family",), "Alarms that were raised."),
    "setsail_drift_features": ("gauge", ("family",), "Columns that the alarm is about."),
    "setsail_drift_psi": (
        "gauge", ("family", "feature"), "Bias-corrected population stability index of the last window.",
    ),
    "setsail_drift_joint_p": ("gauge", (), "p-value of the joint test of the last window."),
    "setsail_feedback_labels": (
        "counter", ("result",), "Labels that came back: joined, late, duplicate, unknown or unfit.",
    ),
    "setsail_feedback_lag_seconds": ("histogram", (), "From a prediction to its label."),
    "setsail_quality": ("gauge", ("measure",), "Of all labels that came back: accuracy, auc, or errors."),
    "setsail_concept_evidence": ("gauge", (), "Power of ten of the concept detector; 6 is an alarm, 5 a warning."),
}  # fmt: skip


class _Counted(Protocol):
    """A meter, or what stands for the meters of several processes."""

    def snapshot(self) -> Snapshot: ...


class Watching:
    """Looks at the counts.

    Args:
        counted: a meter, or what stands for those of all processes.
        settings: say when a window ends and what is an alarm.
        when: whether there is anything to look at.
        events: called with every alarm that is raised or over (`board.Event`), after the log was told.
    """

    def __init__(
        self, counted: _Counted, settings: Settings, *, when: Callable[[], bool] = lambda: True,
        events: Callable[[Any], object] | None = None,
    ) -> None:  # fmt: skip
        self._counted, self._settings, self._when, self._events = counted, settings, when, events
        self._board: Any = None
        self._looking = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Look once a second, in a thread of its own, until `close`."""
        if self._thread is None and self._settings.watch != "off":
            self._thread = Thread(target=self._work, name="setsail-board", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.wait(_SECONDS):
            try:
                if self._when():
                    self.look()
            except SetsailError:  # the workers are going
                continue
            except Exception:
                _LOG.exception("what was counted could not be looked at")

    def look(self, counts: Snapshot | None = None) -> dict[tuple[str, int], Series]:
        """Take what was counted until now. Returns what is known of every version that is watched."""
        if self._settings.watch == "off":
            return {}
        with self._looking:
            watched = (self._counted.snapshot() if counts is None else counts).watched
            if self._board is None:
                if not watched:
                    return {}
                self._board = import_module(_BOARD).Board(self._rule())
            total = import_module(_TALLY).total
            for event in self._board.look({key: total(found) for key, found in watched.items()}, time()):
                _tell(event)
                if self._events is not None:
                    self._events(event)
            found: dict[tuple[str, int], Series] = dict(self._board.series)
            return found

    def _rule(self) -> Any:
        s = self._settings
        return import_module(_DRIFT).Rule(
            rows=s.watch_rows, least=min(s.watch_rows, 200), seconds=s.watch_seconds, alpha=s.watch_alpha
        )

    def report(self, model: str = "") -> dict[str, Any]:
        """What is known, as JSON: of one model, or of all.

        Raises:
            SetsailError: `watch.none` for a model that is not watched.
        """
        series = self.look()
        with self._looking:
            models: dict[str, dict[str, Any]] = {}
            for (name, version), one in sorted(series.items()):
                if model in ("", name):
                    models.setdefault(name, {})[str(version)] = one.report(self._board.rule)
        if model and model not in models:
            raise SetsailError("watch.none", f"model {model!r} is not watched", field="model", value=model)
        rule = self._rule()
        settings = {"rows": rule.rows, "seconds": rule.seconds, "alpha": rule.alpha, "floor": rule.floor}
        return {"at": time(), "rule": settings, "models": models}

    def version(self, model: str, version: int) -> dict[str, Any] | None:
        """What is known of one version; None where it is not watched."""
        one = self.look().get((model, version))
        if one is None:
            return None
        with self._looking:
            return one.report(self._board.rule)


def _tell(event: Any) -> None:
    of = f"{event.model} version {event.version}"
    if event.raised:
        _LOG.warning("drift of %s in %s: %s", event.family, of, event.text)
    else:
        _LOG.info("no more drift of %s in %s: %s", event.family, of, event.text)


def metrics(series: dict[tuple[str, int], Series]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Family, labels and value of everything; of a histogram the counts by `quality.LAGS` and the sum."""
    for (model, number), one in sorted(series.items()):
        at, tally = (model, str(number)), one.tally
        yield "setsail_watch_rows", at, tally.rows
        yield "setsail_watch_skipped_rows", at, tally.skipped
        yield "setsail_watch_windows", at, one.windows
        yield "setsail_watch_reference_rows", at, tally.reference.rows
        for family, alarm in one.alarms.items():
            yield "setsail_drift_alarm", (*at, family), float(alarm.active)
            yield "setsail_drift_alarms", (*at, family), alarm.raised
            if family in ("inputs", "outputs"):
                yield "setsail_drift_features", (*at, family), len(alarm.features)
        for family, feature, psi in islice(one.effects(), _FEATURES):
            yield "setsail_drift_psi", (*at, family, feature), psi
        if 1 in one.joint:
            yield "setsail_drift_joint_p", at, one.joint[1]
        for result, many in sorted(tally.labels.results.items()):
            yield "setsail_feedback_labels", (*at, result), many
        if any(tally.labels.lags):
            yield "setsail_feedback_lag_seconds", at, (tally.labels.lags, tally.labels.lag)
        for measure, value in tally.labels.measures(tally.task).items():
            if not isnan(value):
                yield "setsail_quality", (*at, measure), value
        if one.detector is not None:
            yield "setsail_concept_evidence", at, one.evidence
