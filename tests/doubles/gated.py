"""A model that waits until it is let through, to see what becomes of requests while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fakehouse import FakeModel

from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array

__all__ = ["Gate"]

_SECONDS = 20.0


@dataclass
class Gate:
    """It answers its table of two columns.

    Attributes:
        opened: set it to let runs through.
        entered: a run has begun.
        runs: rows of each.
    """

    opened: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    runs: list[int] = field(default_factory=list)

    def model(self) -> FakeModel:
        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            self.runs.append(len(inputs["x"]))
            self.entered.set()
            assert self.opened.wait(_SECONDS)
            time.sleep(0.01)  # what is quick may run on the event loop, which must not wait here
            return {"y": inputs["x"]}

        x, y = (TensorSpec(name, BY_NAME["float32"], ("N", 2), columns=("a", "b"), nullable=True) for name in "xy")
        return FakeModel("gate", Signature((x,), (y,), ("y",)), run)

    def shut(self) -> None:
        self.opened.clear()
        self.entered.clear()
        self.runs.clear()
