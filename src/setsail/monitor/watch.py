"""What one process notes of the rows that one version answers.

After each run the bytes of its rows are copied, which is all that happens on the way of a request. Once a second (and
whenever somebody asks) they are counted in the bins of the reference. When more comes in a second than there is room
for, the rest is not noted: it is a sample, and of no request more than so many rows, because rows that are sent
together are alike.

While many come, runs of no more rows than there are arrays to copy are not all noted, so that a row costs about as much
however they come.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import takewhile
from threading import Lock
from time import time
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct, field

from setsail.monitor.feedback import Joiner
from setsail.monitor.joint import WIDTH, Projection
from setsail.monitor.profile import Column, Counter, Reference
from setsail.monitor.quality import Labels, Task
from setsail.tensors import Array

__all__ = ["Asked", "Tally", "Watch", "joined", "total"]

_LOG = logging.getLogger("setsail.monitor")
_ROWS: Final = 4096  # that are noted between two counts
_BYTES: Final = 8 << 20
_FREE: Final = 256  # rows between two counts of which every one is noted, whatever it costs


_Key = tuple[int, str, int, bool]  # row, id, rows, and whether the request named no version


class Asked(Protocol):
    """What is needed of a prediction: its request's id and model, and how many rows it has."""

    rows: int

    @property
    def request(self) -> Any: ...


class Tally(Struct):
    """What was counted since the version was loaded, with what it is held against. It crosses processes as msgpack.

    Attributes:
        digest: of the artifact; other counts of the same version are of another model.
        rows, skipped: that were noted, and that were not.
        counts: in the bins of `reference.columns`.
        features: sums of `joined` rows' features (`joint.py`).
        since: when counting began, in seconds of the epoch. Where counts are of two artifacts, the one that came last
            is what the version is now.
    """

    digest: str
    reference: Reference
    task: Task | None = None
    rows: int = 0
    skipped: int = 0
    counts: list[int] = field(default_factory=list)
    features: list[float] = field(default_factory=list)
    labels: Labels = field(default_factory=Labels)
    since: float = 0.0

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.digest, self.reference, self.task, self.rows + other.rows, self.skipped + other.skipped,
            [a + b for a, b in zip(self.counts, other.counts, strict=True)],
            [a + b for a, b in zip(self.features, other.features, strict=True)], self.labels.plus(other.labels),
            max(self.since, other.since),
        )  # fmt: skip


class Watch:
    """Called once a run, by any thread.

    Args:
        digest: of the artifact.
        task: what labels are held against; None where none can be.
        most: rows of one request that are noted.
    """

    def __init__(self, digest: str, reference: Reference, task: Task | None = None, *, most: int = 100) -> None:
        self.digest, self.reference, self.joiner = digest, reference, Joiner(task)
        self._task, self._most = task, most
        self._counter = Counter(reference.columns)
        self._projection = Projection.of(reference.joint) if reference.joint else None
        self._features = np.zeros(WIDTH if self._projection else 0)
        self._rows = self._skipped = 0
        asked = [task.output, task.score] if task else []
        self._names = (_named(reference.inputs), sorted({*_named(reference.outputs), *filter(None, asked)}))
        self._price = 1 + len(self._names[0]) + len(self._names[1])  # copies, and the call itself
        self._credit = 0
        self._noting, self._counting = Lock(), Lock()
        self._notes: _Notes | None = None
        self._failed = False
        self._since = time()

    def __call__(
        self, asked: Sequence[Asked], inputs: Mapping[str, Array], outputs: Mapping[str, Array], rows: int
    ) -> None:
        """Note a run. Never raises: an answer is more than its record."""
        try:
            if rows != len(asked):
                self._several(asked, inputs, outputs, rows)
                return
            if rows == 1:
                request = asked[0].request
                keys: Sequence[_Key] = ((0, request.id, 1, request.model.bare),) if request.id else ()
            else:
                keys = [(i, a.request.id, 1, a.request.model.bare) for i, a in enumerate(asked) if a.request.id]
            if not keys and self._notes is not None and self._notes.filled >= _FREE:
                self._credit += rows
                if self._credit < self._price:
                    self._skipped += rows
                    return
                self._credit = 0
            self._note(inputs, outputs, rows, keys)
        except Exception:
            if not self._failed:
                _LOG.exception("rows could not be noted; they are answered, and not watched")
            self._failed = True

    def _note(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], rows: int,
        keys: Sequence[_Key],
    ) -> None:  # fmt: skip
        with self._noting:
            notes = self._notes or self._begin(inputs, outputs)
            start = notes.filled
            if start + rows > notes.room:
                self._skipped += rows
                return
            for name, parts in notes.inputs:
                parts.append(inputs[name].tobytes())
            for name, parts in notes.outputs:
                parts.append(outputs[name].tobytes())
            for name, texts in notes.texts:
                texts += (inputs if name in inputs else outputs)[name].ravel().tolist()
            if keys:
                when = time()
                notes.keys += [(start + at, key, many, bare, when) for at, key, many, bare in keys]
            notes.filled = start + rows

    def _begin(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> _Notes:
        self._notes = _Notes(self._names, inputs, outputs)
        return self._notes

    def _several(
        self, asked: Sequence[Asked], inputs: Mapping[str, Array], outputs: Mapping[str, Array], rows: int
    ) -> None:
        """Requests of several rows: of a long one, some at equal distances, which no label is joined to."""
        if rows != sum(one.rows for one in asked):
            return  # what comes out is not what went in; nobody is answered by this run
        chosen, keys, start, at = [], [], 0, 0
        for one in asked:
            if one.rows <= self._most:
                chosen.append(np.arange(start, start + one.rows))
                keys += [(at, one.request.id, one.rows, one.request.model.bare)] if one.request.id else []
            else:
                chosen.append(np.linspace(start, start + one.rows - 1, self._most).astype(int))
            at += len(chosen[-1])
            start += one.rows
        self._skipped += rows - at
        if at == rows:
            self._note(inputs, outputs, rows, keys)
            return
        places = np.concatenate(chosen)
        some = [{name: side[name][places] for name in names} for side, names in zip((inputs, outputs), self._names,
                                                                                   strict=True)]  # fmt: skip
        self._note(some[0], some[1], at, keys)

    # -- off the way of requests -----------------------------------------------------------------------------------

    def count(self) -> None:
        """Count what was noted."""
        with self._counting:
            with self._noting:
                notes = self._notes
                if notes is None or not notes.filled:
                    return
                self._notes = notes.blank()
            arrays = notes.arrays()
            self._counter.add(arrays)
            if self._projection is not None:
                self._features += self._projection(arrays).sum(0)
            self._rows += notes.filled
            for start, key, many, bare, when in notes.keys:
                self._keep(key, when, arrays, slice(start, start + many), bare)

    def _keep(self, key: str, when: float, arrays: Mapping[str, Array], rows: slice, bare: bool) -> None:
        if self._task is None:
            return
        predicted = arrays[self._task.output][rows]
        scores = arrays[self._task.score][rows, 1].tolist() if self._task.score else [0.0] * len(predicted)
        self.joiner.keep(key, when, predicted.reshape(len(predicted)).tolist(), scores, bare)

    def join(self, key: str, truth: Any, now: float | None = None) -> str:
        """A label came back. What was noted must be counted before. Returns one of `quality.RESULTS`."""
        with self._counting:
            return self.joiner.join(key, truth, time() if now is None else now)

    def missed(self, many: int) -> None:
        """Labels whose id nobody knows."""
        with self._counting:
            self.joiner.missed("unknown", many)

    def tally(self) -> Tally:
        """Everything until now."""
        self.count()
        with self._counting:
            labels = Labels().plus(self.joiner.labels)
            return Tally(
                self.digest, self.reference, self._task, self._rows, self._skipped, self._counter.counts.tolist(),
                self._features.tolist(), labels, self._since,
            )  # fmt: skip


class _Notes:
    """The bytes of rows, a piece for each run: what copies them fastest; texts as they are.

    Attributes:
        room, filled: how many rows it takes, and has.
        keys: row, id, how many rows it is of, whether its request named no version, and when.
    """

    __slots__ = ("_kinds", "filled", "inputs", "keys", "outputs", "room", "texts")

    def __init__(
        self, names: tuple[Sequence[str], Sequence[str]], inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        found = [{n: side[n] for n in some if n in side} for some, side in zip(names, (inputs, outputs), strict=True)]
        whole = found[1] | found[0]
        row = sum(array[:1].nbytes for array in whole.values())
        self._kinds = {name: (array.dtype, array.shape[1:]) for name, array in whole.items()}
        self._clear(max(1, min(_ROWS, _BYTES // max(1, row))), [list(side) for side in found])

    def _clear(self, room: int, names: Sequence[Sequence[str]]) -> None:
        self.room, self.filled = room, 0
        self.keys: list[tuple[int, str, int, bool, float]] = []
        self.inputs, self.outputs = (
            [(n, list[bytes]()) for n in side if not self._kinds[n][0].hasobject] for side in names
        )
        self.texts = [(n, list[Any]()) for n in self._kinds if self._kinds[n][0].hasobject]

    def blank(self) -> _Notes:
        """Another one for the same arrays."""
        made = _Notes.__new__(_Notes)
        made._kinds = self._kinds
        made._clear(self.room, [[name for name, _ in side] for side in (self.inputs, self.outputs)])
        return made

    def arrays(self) -> dict[str, Array]:
        """All rows, by the tensor's name. Raises ValueError where a tensor was not always of one kind."""
        arrays: dict[str, Array] = {}
        for name, parts in (*self.inputs, *self.outputs):
            dtype, shape = self._kinds[name]
            arrays[name] = np.frombuffer(b"".join(parts), dtype).reshape(self.filled, *shape)
        for name, texts in self.texts:
            arrays[name] = np.array(texts, object).reshape(self.filled, *self._kinds[name][1])
        return arrays


def _named(columns: Sequence[Column]) -> list[str]:
    return list(dict.fromkeys(column.tensor for column in columns))


_DECODER: Final = msgspec.msgpack.Decoder(Tally)


def total(tallies: Sequence[bytes]) -> Tally:
    """Tallies of one version from several processes, living and dead, as one.

    Where the artifact was replaced, only what was counted since the last time counts, whoever still has the old one.
    """
    found = sorted(map(_DECODER.decode, tallies), key=lambda tally: tally.since, reverse=True)
    return reduce(Tally.plus, takewhile(lambda tally: tally.digest == found[0].digest, found))


def joined(tallies: Sequence[bytes]) -> bytes:
    """The same, as bytes again."""
    return msgspec.msgpack.encode(total(tallies))
