"""Distributions drawn with characters."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from setsail.loadtest.plot import Bucket, bars, buckets, duration, figure

values = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e6))


@given(values, st.integers(2, 40))
def test_every_value_is_in_one_bucket(seconds: np.ndarray, most: int) -> None:
    found = buckets(seconds, most)
    assert 1 <= len(found) <= most
    assert sum(b.count for b in found) == len(seconds)
    assert all(a.high == b.low for a, b in pairwise(found))
    shown = np.maximum(seconds, 1e-9)
    for bucket in found:
        inside = np.count_nonzero((shown >= bucket.low * (1 + 1e-9)) & (shown < bucket.high * (1 - 1e-9)))
        assert inside <= bucket.count


@given(values, st.integers(1, 80), st.booleans())
def test_what_is_there_is_drawn_and_fits(seconds: np.ndarray, width: int, plain: bool) -> None:
    found = buckets(seconds)
    lines = bars(found, width, plain=plain)
    assert len(lines) == len(found)
    for bucket, line in zip(found, lines, strict=True):
        bar = line.partition("|" if plain else "│")[2].partition(" ")[0]
        assert bool(bar) == bool(bucket.count)
        assert len(bar) <= width
        assert line.isascii() or not plain
    longest = max(len(line.partition("|")[2].partition(" ")[0]) for line in bars(found, width, plain=True))
    assert longest == width


def test_a_drawing() -> None:
    found = [Bucket(0.001, 0.002, 3), Bucket(0.002, 0.004, 0), Bucket(0.004, 0.008, 1)]
    assert bars(found, 6) == ["  1.00 ms │██████ 75.0%", "  2.00 ms │", "  4.00 ms │██ 25.0%"]
    assert bars(found, 6, plain=True) == ["  1.00 ms |###### 75.0%", "  2.00 ms |", "  4.00 ms |## 25.0%"]
    assert bars([Bucket(1, 2, 9999), Bucket(2, 3, 1)], 8)[1] == "   2.00 s │▏ <0.1%"
    assert buckets(np.array([])) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"),
        (1.5, "1.50 s"),
        (0.000142, "142 us"),
        (0.0009999, "1.00 ms"),
        (123.4, "123 s"),
        (0, "0.00 us"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_figures() -> None:
    assert [figure(v) for v in (12345.6, 99.94, 1.234, 0)] == ["12,346", "99.9", "1.23", "0"]
