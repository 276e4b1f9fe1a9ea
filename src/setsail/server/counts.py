"""The meters of all workers as one, living and dead; imports nothing heavy, because the supervisor adds up the dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from setsail.monitor.meter import Latency

__all__ = ["SNAPSHOT", "Counts", "encoded", "merged_counts"]

SNAPSHOT: Final = "Snapshot"  # the kind of question that is answered with a meter's counts
_Snapshot = tuple[dict[tuple[str, int, str, str], int], dict[tuple[str, int], int], dict[tuple[str, int, str], Latency]]
_DECODER: Final = msgspec.msgpack.Decoder(_Snapshot)


def encoded(meter: Any) -> bytes:
    """A meter's counts of this moment, as bytes."""
    return msgspec.msgpack.encode(meter.snapshot())


def merged_counts(found: Sequence[bytes]) -> bytes:
    """Several such bytes as one."""
    return msgspec.msgpack.encode(_merged(found))


def _merged(found: Sequence[bytes]) -> _Snapshot:
    requests: Counter[Any] = Counter()
    rows: Counter[Any] = Counter()
    latencies: dict[Any, Latency] = {}
    for one in map(_DECODER.decode, found):
        requests.update(one[0])
        rows.update(one[1])
        for key, latency in one[2].items():
            known = latencies.get(key, Latency())
            counts = [a + b for a, b in zip(known.counts, latency.counts, strict=True)]
            latencies[key] = Latency(counts, known.total + latency.total)
    return dict(requests), dict(rows), latencies


class Counts:
    """What stands for a meter where metrics are rendered: everything that any worker ever counted."""

    def __init__(self, ask: Callable[[str], Sequence[Any]]) -> None:
        self._ask = ask

    def snapshot(self) -> _Snapshot:
        return _merged([answer.body for answer in self._ask(SNAPSHOT)])
