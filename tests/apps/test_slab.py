"""Shared memory: every dtype comes back as it went in, and a place outside it is refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from setsail.apps.frames import CODES, BrokenError, Place
from setsail.apps.slab import NoRoomError, Slab
from setsail.tensors import DTYPES, NULL, DType


@pytest.fixture(scope="module")
def slab() -> Iterator[Slab]:
    made = Slab.make(1 << 20)
    yield made
    made.close()


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind != "string"], ids=str)
@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_dtype_comes_back(slab: Slab, dtype: DType, data: st.DataObject) -> None:
    shape = st.lists(st.integers(1, 4), max_size=4).map(tuple)
    given_ = data.draw(arrays(dtype.numpy, data.draw(shape)))
    (place,) = slab.write([given_], upper=True)
    back = slab.read(place, upper=True)
    np.testing.assert_array_equal(back, given_)
    assert back.dtype == dtype.numpy


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_texts_come_back(slab: Slab, texts: list[str]) -> None:
    array = np.array([*texts, NULL], dtype=object)
    (place,) = slab.write([array])
    assert slab.read(place).tolist() == [*texts, NULL]


def test_many_tensors_views_and_both_halves(slab: Slab) -> None:
    first, second = np.arange(12.0).reshape(3, 4).T, np.array([True, False])
    below, above = slab.write([first, second]), slab.write([second, first], upper=True)
    assert [place.offset % 64 for place in (*below, *above)] == [0, 0, 0, 0]
    np.testing.assert_array_equal(slab.read(below[0]), first)
    np.testing.assert_array_equal(slab.read(above[1], upper=True), first)


def test_what_comes_back_is_a_copy(slab: Slab) -> None:
    (place,) = slab.write([np.zeros(3)])
    back = slab.read(place)
    slab.write([np.ones(3)])
    assert back.tolist() == [0.0, 0.0, 0.0]
    back += 1  # and may be changed


F64, TEXT, BOOL = CODES["float64"], CODES["string"], CODES["bool"]
HALF = 1 << 19


@pytest.mark.parametrize(
    "place",
    [
        Place(F64, (4,), HALF - 8, 32), Place(F64, (1 << 40,), 0, 8), Place(F64, (1 << 63, 2), 0, 0),
        Place(F64, (1,), 0, 8), Place(F64, (2,), HALF, 8), Place(F64, (1,), HALF + 1, 8), Place(99, (1,), HALF, 8),
        Place(F64, (1,), 1 << 63, 8), Place(F64, (1,), HALF, 1 << 63), Place(TEXT, (100,), HALF, 16),
        Place(TEXT, (1,), HALF, 4),
    ],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(slab: Slab, place: Place) -> None:
    with pytest.raises(BrokenError):
        slab.read(place, upper=True)


@pytest.mark.parametrize(
    "data", [b"\x05" + bytes(7) + b"abc", b"\xff" * 8 + b"abc", b"\x03" + bytes(7) + b"\xff\xfe\xfd"]
)
def test_texts_that_lie(slab: Slab, data: bytes) -> None:
    slab.write([np.frombuffer(data, np.uint8)], upper=True)
    with pytest.raises(BrokenError):
        slab.read(Place(TEXT, (1,), HALF, len(data)), upper=True)


def test_a_truth_value_is_one_of_two(slab: Slab) -> None:
    slab.write([np.array([0, 1, 2, 255], np.uint8)], upper=True)
    back = slab.read(Place(BOOL, (4,), HALF, 4), upper=True)
    assert back.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_what_does_not_fit_is_told(slab: Slab) -> None:
    with pytest.raises(NoRoomError):
        slab.write([np.zeros(HALF // 8 + 1)])
    with pytest.raises(NoRoomError):
        slab.write([np.array(["a" * HALF], dtype=object)])


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_nobody_can_shorten_or_lengthen_it(slab: Slab) -> None:
    for size in (0, 2 << 20):
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(slab.handle, size)


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux")
def test_the_pages_of_a_large_call_are_given_back() -> None:
    slab = Slab.make(512 << 20)
    slab.write([np.ones(100 << 17)])
    before = os.fstat(slab.handle).st_blocks
    slab.settle()
    assert before >= (100 << 20) // 512
    assert os.fstat(slab.handle).st_blocks <= (17 << 20) // 512
    slab.close()
