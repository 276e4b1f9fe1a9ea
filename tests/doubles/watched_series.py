"""A watched version without a server: a reference made of rows, and a tally that grows window by window."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.monitor.board import Series
from setsail.monitor.drift import Rule
from setsail.monitor.joint import Projection
from setsail.monitor.profile import Counter, Reference, read
from setsail.monitor.watch import Tally
from setsail.packing.reference import sketch
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME


def signature(columns: int) -> Signature:
    return Signature((TensorSpec("x", BY_NAME["float64"], ("N", columns)),), (), ())


def reference(rows: Any, *, joint: bool = True) -> Reference:
    contract = signature(rows.shape[1])
    told = sketch(contract, {"x": rows})
    if not joint:
        told.pop("joint", None)
    return read(told, contract.inputs, ())


class Fed:
    """A series that is fed with rows; every call is one window."""

    def __init__(self, made: Reference, rule: Rule | None = None) -> None:
        self.rule = rule or Rule()
        self._counter = Counter(made.columns)
        self._projection = Projection.of(made.joint) if made.joint else None
        self._features = np.zeros(len(made.joint.mean) if made.joint else 0)
        self._rows, self._now = 0, 0.0
        self.tally = Tally("d", made, counts=self._counter.counts.tolist(), features=self._features.tolist())
        self.series = Series(self.tally, 0.0)

    def window(self, rows: Any, seconds: float = 1.0) -> list[tuple[str, bool, str]]:
        """What was raised, and what is over."""
        self._counter.add({"x": rows})
        if self._projection is not None:
            self._features += self._projection({"x": rows}).sum(0)
        self._rows += len(rows)
        self._now += seconds
        self.tally = Tally("d", self.tally.reference, rows=self._rows, counts=self._counter.counts.tolist(),
                           features=self._features.tolist())  # fmt: skip
        return list(self.series.look(self.tally, self._now, self.rule))
