"""How long a run of so many rows takes: learnt at load, kept up to date by every run.

Run times on a shared machine are a narrow hill with a long tail that the operating system makes. So each size keeps an
exponentially weighted mean of *clipped* samples: one that is more than twice the mean counts as twice the mean, unless
it is the third far one in a row; then the model has really changed, and the mean follows fast, up or down.

Sizes are held in buckets 1, 2, 3-4, 5-8, 9-16, …; each remembers the mean number of rows of its samples, so that a
bucket is one point of a curve. Between points the curve is a line. Below the first point it is flat, and beyond the
last it grows with the rows, which is an upper bound for anything that has a fixed cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

__all__ = ["RunTimes"]

WEIGHT: Final = 0.1  # of a new sample
FAST: Final = 0.5  # of the third outlier in a row, and later ones
CLIP: Final = 2.0
OUTLIERS: Final = 3
BUCKETS: Final = 24
PERIOD: Final = 256  # samples between two looks at the useful size
FIRST_LOOKS: Final = (2, 4, 8, 16, 32, 64)  # samples after which a model without a ladder is looked at
EXPLORE: Final = 16  # every so many looks a larger size is allowed, so that it is measured again
LARGEST: Final = 1024  # a size that is learnt, never set by anybody, should not grow without end
WORTH: Final = 1.1  # a smaller batch is as good when its time per row is at most this much longer


class RunTimes:
    """A curve of seconds over rows.

    Args:
        overhead: what a batch costs besides its run (merging, handing over, splitting). It makes small batches of a
            model that does not gain from batching itself a little larger.

    Attributes:
        useful: the smallest batch with (nearly) the least time per row; beyond it a larger batch only makes each of
            its members wait longer. 1 while nothing is known. When the largest size that was measured is still the
            best, twice that size, so that it grows as long as it pays.
    """

    __slots__ = ("_far", "_looks", "_rows", "_samples", "_seconds", "overhead", "useful")

    def __init__(self, overhead: float = 50e-6) -> None:
        self.overhead = overhead
        self.useful = 1
        self._seconds = [0.0] * BUCKETS  # 0: nothing known
        self._rows = [0.0] * BUCKETS
        self._far = [0] * BUCKETS
        self._samples = 0
        self._looks = 0

    @classmethod
    def from_ladder(cls, ladder: Mapping[int, float], overhead: float = 50e-6) -> RunTimes:
        """Start from seconds measured at load, by rows (1, 2, 4, 8, …)."""
        times = cls(overhead)
        for rows, seconds in sorted(ladder.items()):
            bucket = min((rows - 1).bit_length(), BUCKETS - 1)
            times._seconds[bucket], times._rows[bucket] = max(seconds, 1e-9), float(rows)
        times._learn()
        return times

    @property
    def known(self) -> bool:
        return any(self._seconds)

    def predict(self, rows: int) -> float:
        """Seconds of a run of `rows` rows; `inf` while nothing is known."""
        bucket = (rows - 1).bit_length()
        if bucket < BUCKETS and self._seconds[bucket] and self._rows[bucket] == rows:
            return self._seconds[bucket]
        return self._between(rows)

    def observe(self, rows: int, seconds: float) -> None:
        """Take one run into account."""
        bucket = (rows - 1).bit_length()
        if bucket >= BUCKETS:
            return
        if seconds < 1e-9:
            seconds = 1e-9
        mean = self._seconds[bucket]
        if not mean:
            # The first run of a new size may be a slow one by itself: what the other sizes say bounds it.
            self._seconds[bucket], self._rows[bucket] = min(seconds, CLIP * self._between(rows)), float(rows)
        else:
            at = self._rows[bucket]
            if at != rows:  # compare like with like: what the mean would be at this size
                self._rows[bucket] = at = at + WEIGHT * (rows - at)
                mean = max(1e-9, mean + WEIGHT * (self._between(rows) - mean))
            weight = WEIGHT
            if seconds > CLIP * mean or CLIP * seconds < mean:
                self._far[bucket] += 1
                if self._far[bucket] >= OUTLIERS:
                    weight = FAST
                elif seconds > mean:
                    seconds = CLIP * mean
            else:
                self._far[bucket] = 0
            self._seconds[bucket] = mean + weight * (seconds - mean)
        self._samples += 1
        if not self._samples % PERIOD or (self.useful == 1 and self._samples in FIRST_LOOKS):
            self._learn()

    def _between(self, rows: int) -> float:
        low_rows = low = 0.0
        for at, seconds in zip(self._rows, self._seconds, strict=True):
            if not seconds:
                continue
            if at >= rows:
                return seconds if not low else low + (seconds - low) * (rows - low_rows) / (at - low_rows)
            low_rows, low = at, seconds
        return low * rows / low_rows if low else inf

    def _learn(self) -> None:
        points = [
            (int(at), (seconds + self.overhead) / at)
            for at, seconds in zip(self._rows, self._seconds, strict=True)
            if seconds
        ]
        if not points:
            return
        least = min(per_row for _, per_row in points)
        useful = next(at for at, per_row in points if per_row <= WORTH * least)
        if useful == points[-1][0] and len(points) > 1:
            useful *= 2
        self._looks += 1
        # A size that once looked too slow is never run again, so nothing would ever correct it: try, now and then.
        if not self._looks % EXPLORE:
            useful *= 2
        self.useful = min(useful, LARGEST)
