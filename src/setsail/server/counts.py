"""The meters of all workers as one, living and dead: what stands for a meter where a supervisor renders metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from setsail.monitor.meter import Meter, Snapshot, merged
from setsail.server.channel import DEAD, SNAPSHOT, Answer

__all__ = ["Counts", "encoded", "merged_counts"]

_DECODER: Final = msgspec.msgpack.Decoder(Snapshot)


def encoded(meter: Meter) -> bytes:
    """A meter's counts of this moment, as bytes."""
    return msgspec.msgpack.encode(meter.snapshot())


def merged_counts(found: Sequence[bytes]) -> bytes:
    """Several such bytes as one."""
    return msgspec.msgpack.encode(merged(map(_DECODER.decode, found)))


class Counts:
    """Everything that any worker ever counted.

    Args:
        ask: has all workers asked.
        gauges: levels of the supervisor's own.
    """

    def __init__(
        self, ask: Callable[[str], Sequence[Answer]], gauges: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        self._ask, self._gauges = ask, gauges

    def snapshot(self) -> Snapshot:
        found = merged(map(_decoded, self._ask(SNAPSHOT)))
        found.gauges.update(self._gauges())
        return found


def _decoded(answer: Answer) -> Snapshot:
    """What one worker counted. What the dead counted stays; a level, such as their connections, went with them."""
    snapshot = _DECODER.decode(answer.body)
    if answer.id == DEAD:
        snapshot.gauges.clear()
    return snapshot
