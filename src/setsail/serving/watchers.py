"""The versions of one process that are watched: what is noted of their rows, and the labels that come back.

A version is watched when its artifact has a reference, or (`all`) whatever it has, for its labels alone. Everything
here but `Watch` itself is off the way of requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from random import shuffle
from threading import Event, Lock, Thread
from typing import Any, Final

import msgspec

from setsail.artifact import Artifact
from setsail.catalog import Label

__all__ = ["MODES", "Watchers", "best"]

_LOG = logging.getLogger("setsail.serving")
_WATCH: Final = "setsail.monitor.watch"  # imported with the first version that is watched, and what it imports
_PROFILE: Final = "setsail.monitor.profile"
_QUALITY: Final = "setsail.monitor.quality"
_SECONDS: Final = 1.0
MODES: Final = ("auto", "all", "off")
_BEST: Final = ("joined", "duplicate", "unfit", "late", "unknown")  # what is told when versions or processes differ


class Watchers:
    """All watches of a process.

    Args:
        mode: `auto`, `all` or `off`.
        most: rows of one request that are noted.

    Attributes:
        judged: called with model, version, loss (0 right to 1 wrong) and moment of every request that named no version
            and whose label is joined. Of those whose labels came together it is told in random order: somebody may have
            sorted them by what they say.
    """

    def __init__(self, mode: str = "off", most: int = 100) -> None:
        self._mode, self._most = mode, most
        self.judged: Callable[[str, int, float, float], object] | None = None
        self._heard: list[tuple[str, int, float, float]] = []  # and not told yet
        self._watches: dict[tuple[str, int], Any] = {}
        self._lock = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    def open(self, artifact: Artifact, name: str, version: int) -> Any:
        """What notes the rows of a version that is being loaded; None where nothing does.

        A version that is loaded again from the same artifact goes on where it was.
        """
        if self._mode == "off":
            return None
        body = artifact.member("reference.json")
        if (body is None and self._mode != "all") or not artifact.signature.batched:
            return None
        known = self._watches.get((name, version))
        if known is not None and known.digest == artifact.digest:
            return known
        try:
            watch = self._made(artifact, msgspec.json.decode(body) if body is not None else {})
        except Exception:
            _LOG.exception("%s version %d is not watched: its reference cannot be understood", name, version)
            return None
        if watch is not None:
            watch.joiner.judged = partial(self._hear, name, version)
            with self._lock:
                self._watches[name, version] = watch
                if self._thread is None:
                    self._thread = Thread(target=self._work, name="setsail-watch", daemon=True)
                    self._thread.start()
        return watch

    def _hear(self, name: str, version: int, loss: float, when: float) -> None:
        if self.judged is not None:
            with self._lock:
                self._heard.append((name, version, loss, when))

    def _judge(self) -> None:
        if self.judged is None or not self._heard:
            return
        with self._lock:
            heard, self._heard = self._heard, []
        shuffle(heard)
        for one in heard:
            self.judged(*one)

    def _made(self, artifact: Artifact, body: Any) -> Any:
        signature = artifact.signature
        reference = import_module(_PROFILE).read(body, signature.inputs, signature.outputs)
        numbers = [c.edges for c in reference.outputs if c.levels is None and len(c.edges) > 1]
        scale = numbers[0][-1] - numbers[0][0] if numbers else 1.0
        task = import_module(_QUALITY).task_of(signature, scale)
        if not reference.columns and task is None:
            return None
        return import_module(_WATCH).Watch(artifact.digest, reference, task, most=self._most)

    def _work(self) -> None:
        while not self._closed.wait(_SECONDS):
            for watch in list(self._watches.values()):
                try:
                    watch.count()
                except Exception:
                    _LOG.exception("rows could not be counted")

    def tallies(self) -> dict[tuple[str, int], list[bytes]]:
        """What was counted of each version, for a snapshot (`monitor/meter.py`)."""
        found = {}
        for key, watch in list(self._watches.items()):
            with suppress(RuntimeError):
                found[key] = [msgspec.msgpack.encode(watch.tally())]
        return found

    def labels(self, name: str, version: int | None, labels: Sequence[Label], *, alone: bool) -> list[str]:
        """Labels came back: what became of each.

        Args:
            version: None for whichever has answered.
            alone: whether nobody else could know the ids.
        """
        watches = [watch for (of, at), watch in list(self._watches.items()) if of == name and version in (None, at)]
        for watch in watches:
            watch.count()
        told = [best([watch.join(label.id, label.label) for watch in watches]) for label in labels]
        self._judge()
        if alone:
            self.missed(name, version, told.count("unknown"))
        return told

    def missed(self, name: str, version: int | None, many: int) -> None:
        """Labels whose id nobody knows: counted for the version that is meant, or the newest that is watched."""
        keys = sorted(key for key in self._watches if key[0] == name and version in (None, key[1]))
        if keys and many:
            self._watches[keys[-1]].missed(many)

    def watch(self, name: str, version: int) -> Any:
        """That of a version, or None."""
        return self._watches.get((name, version))

    @property
    def some(self) -> bool:
        """Whether anything is watched."""
        return bool(self._watches)

    def close(self) -> None:
        self._closed.set()


def best(told: Sequence[str]) -> str:
    """What is told of a label that several looked for."""
    return min(told, key=_BEST.index, default="unknown")
