"""What a process counts while it answers."""

from __future__ import annotations

from collections import Counter
from threading import Lock

__all__ = ["Meter"]


class Meter:
    """Counters of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.requests: Counter[tuple[str, int, str, str]] = Counter()

    def answered(self, model: str, version: int, wire: str, code: str, seconds: float, rows: int) -> None:
        """One request was answered; `code` is `ok` or the error's."""
        self.requests[model, version, wire, code] += 1

    def batch(
        self, model: str, version: int, requests: int, rows: int, waited: float, merge: float, run: float, split: float
    ) -> None:
        """One run. `waited` is the sum of what its requests waited; all in seconds."""

    def stage(self, model: str, version: int, stage: str, seconds: float) -> None:
        """One request's decoding or encoding."""

    def refused(self, model: str, reason: str) -> None:
        """A request was not run."""

    def cache(self, model: str, version: int, hit: bool, seconds: float) -> None:
        """The response cache was asked."""
