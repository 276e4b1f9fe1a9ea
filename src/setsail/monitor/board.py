"""What is known of every watched version: windows as they end, what was found in them, and alarms. Pure.

Counts that only ever grow come in (`watch.py: Tally`), of one process or of many added up; the difference to the last
look is what came between. When enough has come a window ends, and it is tested alone, with the three before it and
with the fifteen before it (`drift.py`). Labels are held against what the first of them were like (`concept.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import log10
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.monitor import concept
from setsail.monitor.drift import SCALES, SHARES, Layout, Rule, examined
from setsail.monitor.joint import compared
from setsail.monitor.profile import Column
from setsail.monitor.quality import Labels
from setsail.monitor.watch import Tally
from setsail.tensors import Array

__all__ = ["FAMILIES", "Board", "Event", "Series"]

FAMILIES: Final = ("inputs", "outputs", "joint", "concept")
_HISTORY: Final = 96
_FORGIVEN: Final = 2000  # labels without a warning after which a concept alarm is over


class Event(Struct, frozen=True):
    """An alarm was raised, or is over."""

    model: str
    version: int
    family: str
    raised: bool
    text: str


class Alarm(Struct):
    """Of one family. `quiet`: windows (of concept: labels) since it last had a reason."""

    active: bool = False
    since: float = 0.0
    quiet: int = 0
    raised: int = 0
    features: tuple[str, ...] = ()


class _Window(Struct):
    """What came in one window."""

    ended: float
    rows: int
    counts: Array
    features: Array


class Series:
    """One version of one model, from one artifact.

    Attributes:
        tally: as it was last.
        windows: that have ended.
        p, psi, js: of every column, by scale, as of the last window; the p-values as they are.
        joint: p-values of the joint test by scale.
        history: of the last windows: when, rows, the largest PSI of the inputs and of the outputs, joint p.
    """

    def __init__(self, tally: Tally, now: float) -> None:
        self.tally, self.windows, self.opened = tally, 0, now
        reference = tally.reference
        self.columns: Sequence[Column] = reference.columns
        self._inputs = len(reference.inputs)
        self._layout = Layout([len(column.counts) for column in self.columns], [c.ordered for c in self.columns])
        self._reference = self._layout.table(reference.counts())
        self._begun = _Window(now, 0, np.zeros(int(reference.counts().size), np.int64), np.zeros(len(tally.features)))
        self._labels = Labels()
        self._ended: deque[_Window] = deque(maxlen=max(SCALES))
        self.p, self.psi, self.js = ({}, {}, {})  # type: tuple[dict[int, Array], dict[int, Array], dict[int, Array]]
        self.joint: dict[int, float] = {}
        self.alarms = {family: Alarm() for family in FAMILIES}
        self.history: deque[tuple[float, int, float, float, float]] = deque(maxlen=_HISTORY)
        self.detector: concept.Detector | None = None
        self.warned = False

    @property
    def waiting(self) -> int:
        """Rows of the window that has not ended."""
        return self.tally.rows - self._begun.rows

    # -- what came ------------------------------------------------------------------------------------------------

    def look(self, tally: Tally, now: float, rule: Rule) -> Iterator[tuple[str, bool, str]]:
        """Take what was counted until now. Yields family, raised or over, and why."""
        self.tally = tally
        yield from self._learn(tally.labels, now)
        rows = self.waiting
        if not (rows >= rule.rows or (rows >= rule.least and now - self.opened >= rule.seconds)):
            return
        counts, features = np.array(tally.counts, np.int64), np.array(tally.features)
        begun = self._begun
        self._ended.append(_Window(now, rows, counts - begun.counts, features - begun.features))
        self._begun, self.opened = _Window(now, tally.rows, counts, features), now
        self.windows += 1
        found = self._test(rule)
        self.history.append((now, rows, self._largest("inputs"), self._largest("outputs"), self.joint.get(1, 1.0)))
        events = [event for family, named in found.items() for event in self._settle(family, named, now, rule)]
        if any(not raised for _, raised, _ in events):
            # What an alarm was about would raise it again when more windows are looked at together
            last = self._ended.pop()
            self._ended.clear()
            self._ended.append(last)
        yield from events

    def _test(self, rule: Rule) -> dict[str, dict[str, float]]:
        """Column (or "" for all together) to its p-value, of what is an alarm in each family."""
        found: dict[str, dict[str, float]] = {"inputs": {}, "outputs": {}, "joint": {}}
        sides = {"inputs": slice(0, self._inputs), "outputs": slice(self._inputs, len(self.columns))}
        joint = self.tally.reference.joint
        for known in (self.p, self.psi, self.js, self.joint):
            known.clear()
        for scale in SCALES:
            if len(self._ended) < scale:
                break
            windows = list(self._ended)[-scale:]
            if len(self.columns):
                table = self._layout.table(sum(w.counts for w in windows))  # type: ignore[arg-type]
                finding = examined(self._reference, table, self._layout.ranked)
                self.p[scale], self.psi[scale], self.js[scale] = finding.p, finding.psi, finding.js
            for family, side in sides.items():
                part = self.columns[side]
                limit = rule.alpha * SHARES[family] / (len(SCALES) * max(1, len(part)))
                for column, p, psi in zip(part, self.p.get(scale, ())[side], self.psi.get(scale, ())[side],
                                          strict=True):  # fmt: skip
                    if p < limit and psi >= rule.floor:
                        found[family][column.name] = min(float(p), found[family].get(column.name, 1.0))
            if joint is not None:
                rows = sum(window.rows for window in windows)
                _, p = compared(joint, sum(window.features for window in windows), rows)  # type: ignore[arg-type]
                self.joint[scale] = p
                if p < rule.alpha * SHARES["joint"] / len(SCALES):
                    found["joint"][""] = min(p, found["joint"].get("", 1.0))
        return found

    def _settle(
        self, family: str, found: Mapping[str, float], now: float, rule: Rule
    ) -> Iterator[tuple[str, bool, str]]:
        alarm = self.alarms[family]
        if found:
            names = sorted(found, key=lambda name: found[name])
            alarm.quiet, alarm.features = 0, tuple(name for name in names if name)
            if not alarm.active:
                alarm.active, alarm.since = True, now
                alarm.raised += 1
                what = ", ".join(alarm.features[:3]) or "how columns go together"
                yield family, True, f"{what} (p = {found[names[0]]:.1g})"
            return
        alarm.quiet += 1
        if alarm.active and alarm.quiet >= rule.quiet:
            alarm.active, alarm.features = False, ()
            yield family, False, f"nothing found in {alarm.quiet} windows"

    def _largest(self, side: str) -> float:
        psi = self.psi.get(1)
        part = () if psi is None else psi[: self._inputs] if side == "inputs" else psi[self._inputs :]
        return max(map(float, part), default=0.0)

    # -- labels ----------------------------------------------------------------------------------------------------

    def _learn(self, labels: Labels, now: float) -> Iterator[tuple[str, bool, str]]:
        """Labels since the last look: of the first ones the mean loss is learnt, of others it is watched."""
        new = labels.minus(self._labels)
        if not new.count:
            return
        if self.detector is None:
            if labels.count < concept.BASELINE:
                return  # counted until there are enough
            self.detector = concept.Detector(concept.baseline(labels.losses))
            self._labels = labels
            return
        self._labels = labels
        level, alarm = self.detector.block(new.losses), self.alarms["concept"]
        self.warned = level >= concept.WARNING
        alarm.quiet = 0 if self.warned else alarm.quiet + new.count
        if level >= concept.ALARM:
            self.detector.restart()
            if not alarm.active:
                alarm.active, alarm.since = True, now
                alarm.raised += 1
                yield "concept", True, f"labels say it is wrong more than {self.detector.p0:.3g} of the time"
        elif alarm.active and alarm.quiet >= _FORGIVEN:
            alarm.active = False
            yield "concept", False, f"no evidence in {alarm.quiet} labels"

    # -- told ------------------------------------------------------------------------------------------------------

    def report(self, rule: Rule) -> dict[str, Any]:
        """Everything, as JSON values: what the admin port answers."""
        tally, labels, joint = self.tally, self.tally.labels, self.tally.reference.joint
        return {
            "digest": tally.digest, "rows": tally.rows, "skipped_rows": tally.skipped, "windows": self.windows,
            "window_rows": self.waiting, "reference_rows": tally.reference.rows,
            "notes": self._notes(rule),
            "alarms": {
                family: {"active": a.active, "since": a.since or None, "raised": a.raised, "features": list(a.features)}
                for family, a in self.alarms.items()
            },
            "features": [self._feature(i, column) for i, column in enumerate(self.columns)],
            "joint": None if joint is None else {"p": {str(s): p for s, p in self.joint.items()},
                                                 "columns": len(joint.columns)},
            "labels": {
                "results": labels.results, "count": labels.count, "lag_seconds": self._lag(),
                "measures": labels.measures(tally.task), "kind": tally.task.kind if tally.task else None,
                "expected_loss": self.detector.p0 if self.detector else None, "evidence": self.evidence,
                "warning": self.warned,
            },
            "history": [dict(zip(("ended", "rows", "inputs", "outputs", "joint_p"), row, strict=True))
                        for row in self.history],
        }  # fmt: skip

    def _feature(self, index: int, column: Column) -> dict[str, Any]:
        last = self._ended[-1].counts if self._ended else None
        start = sum(len(one.counts) for one in self.columns[:index])
        told: dict[str, Any] = {
            "name": column.name, "family": "inputs" if index < self._inputs else "outputs",
            "bins": column.titles(), "reference": list(column.counts),
            "window": [] if last is None else last[start : start + len(column.counts)].tolist(),
        }  # fmt: skip
        for scale in self.p:
            told[f"scale_{scale}"] = {
                "p": float(self.p[scale][index]), "psi": float(self.psi[scale][index]),
                "js": float(self.js[scale][index]),
            }  # fmt: skip
        return told

    def _notes(self, rule: Rule) -> list[str]:
        reference, notes = self.tally.reference, []
        if reference.columns and reference.rows < 10 * rule.rows:
            notes.append(f"the reference has {reference.rows} rows, fewer than ten windows of {rule.rows}: "
                         "small drifts are not found")  # fmt: skip
        if reference.columns and reference.joint is None:
            notes.append("correlations are not watched: that takes 1,000 rows of reference and two columns of numbers")
        if reference.inputs and not reference.outputs:
            notes.append("outputs are not watched: the artifact was packed before references had them; pack it again")
        return notes

    def _lag(self) -> float | None:
        joined = sum(self.tally.labels.lags)
        return self.tally.labels.lag / joined if joined else None

    def effects(self) -> Iterator[tuple[str, str, float]]:
        """Family, column and PSI of the last window."""
        psi = self.psi.get(1, ())
        for index, (column, value) in enumerate(zip(self.columns, psi, strict=False)):
            yield "inputs" if index < self._inputs else "outputs", column.name, float(value)

    @property
    def evidence(self) -> float:
        """The concept detector's level, as a power of ten."""
        level = self.detector.level if self.detector else 0.0
        return max(0.0, log10(level)) if level > 0 else 0.0


class Board:
    """All versions."""

    def __init__(self, rule: Rule | None = None) -> None:
        self.rule = rule or Rule()
        self.series: dict[tuple[str, int], Series] = {}

    def look(self, tallies: Mapping[tuple[str, int], Tally], now: float) -> list[Event]:
        """Take what was counted until now; what was counted of another artifact begins anew."""
        events = []
        for (model, version), tally in tallies.items():
            series = self.series.get((model, version))
            if series is None or series.tally.digest != tally.digest or tally.rows < series.tally.rows:
                series = self.series[model, version] = Series(tally, now)
            for family, raised, text in series.look(tally, now, self.rule):
                events.append(Event(model, version, family, raised, text))
        for key in self.series.keys() - tallies.keys():
            del self.series[key]
        return events
