"""Probe rows: inside what is known, beside what decides, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from setsail.convert import probes
from setsail.convert.probes import UNKNOWN, Range
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, NULL

TABLE = TensorSpec("input", BY_NAME["float64"], ("N", 2), nullable=True)
TEXT = TensorSpec("city", BY_NAME["string"], ("N",), categories=("Bern", "Rome"), nullable=True)


def test_synthetic_rows_lie_in_the_range_and_are_sometimes_missing() -> None:
    ranges = {"input": [Range(low=10, high=20), Range(levels=(1, 4), missing=False)]}
    rows = probes.synthetic([TABLE], ranges, rows=400)["input"]
    assert rows.shape == (400, 2)
    assert rows.dtype == np.float64
    known = rows[:, 0][~np.isnan(rows[:, 0])]
    assert 10 <= known.min() < 11
    assert 19 < known.max() <= 20
    assert 0 < np.isnan(rows[:, 0]).sum() < 100
    assert set(rows[:, 1]) == {1.0, 4.0}


def test_one_seed_gives_one_draw() -> None:
    first, again, other = (probes.synthetic([TABLE, TEXT], seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first["input"], again["input"])
    assert first["city"].tolist() == again["city"].tolist() != other["city"].tolist()


def test_text_is_drawn_from_the_levels_with_an_unknown_and_a_missing_one() -> None:
    assert set(probes.synthetic([TEXT], rows=300)["city"]) == {"Bern", "Rome", UNKNOWN, NULL}
    closed = TensorSpec("city", BY_NAME["string"], ("N",), categories=("Bern", "Rome"), closed=True)
    assert set(probes.synthetic([closed], rows=300)["city"]) == {"Bern", "Rome"}


def test_tensors_of_any_rank_and_dtype_are_drawn() -> None:
    specs = [
        TensorSpec("image", BY_NAME["float32"], ("N", 3, "h", "w")),
        TensorSpec("ids", BY_NAME["int64"], ("N", "seq")),
        TensorSpec("flag", BY_NAME["bool"], ("N",)),
        TensorSpec("byte", BY_NAME["uint8"], ("N", 2)),
    ]
    drawn = probes.synthetic(specs, {"ids": [Range(0, 1000)]}, rows=5, sizes={"h": 4, "w": 6, "seq": 11})
    assert {n: (a.shape, a.dtype.name) for n, a in drawn.items()} == {
        "image": ((5, 3, 4, 6), "float32"),
        "ids": ((5, 11), "int64"),
        "flag": ((5,), "bool"),
        "byte": ((5, 2), "uint8"),
    }
    assert drawn["ids"].max() > 100


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_boundary_rows_lie_one_step_beside_a_threshold(dtype: str) -> None:
    spec = TensorSpec("input", BY_NAME[dtype], ("N", 1))
    kind = BY_NAME[dtype].numpy.type
    values = probes.boundary([spec], {"input": [Range(0, 8, thresholds=(2.4512,))]})["input"][:, 0]
    for wanted in (2.4512, np.nextafter(kind(2.4512), kind(0)), np.nextafter(kind(2.4512), kind(9)), 2.4, 2.5, 2.451):
        assert kind(wanted) in values


def test_boundary_rows_hold_every_level_an_unknown_one_and_missing() -> None:
    assert set(probes.boundary([TEXT])["city"]) == {"Bern", "Rome", UNKNOWN, "", NULL}
    numbers = probes.boundary([TABLE], {"input": [Range(levels=(1, 2)), Range(0, 1)]})["input"]
    assert {0.0, 1.0, 2.0, 3.0} <= set(numbers[:, 0])
    assert np.isnan(numbers).any()


def test_integer_columns_get_whole_numbers_either_side() -> None:
    spec = TensorSpec("n", BY_NAME["uint8"], ("N",))
    values = probes.boundary([spec], {"n": [Range(0, 255, thresholds=(3.5,))]})["n"]
    assert {3, 4, 0, 255} <= set(values.tolist())
    assert values.dtype == np.uint8


def test_boundary_rows_are_capped_by_a_seeded_choice() -> None:
    ranges = {"input": [Range(thresholds=tuple(float(t) for t in range(1, 400)))] * 2}
    first = probes.boundary([TABLE], ranges, limit=100, seed=3)["input"]
    assert first.shape == (100, 2)
    np.testing.assert_array_equal(first, probes.boundary([TABLE], ranges, limit=100, seed=3)["input"])


def test_nothing_to_be_beside_gives_no_rows() -> None:
    assert probes.boundary([TensorSpec("image", BY_NAME["float32"], ("N", 3, 4, 4))]) == {}


def test_a_range_is_read_from_rows() -> None:
    assert Range.of(np.array([1.5, np.nan, 4.0])) == Range(1.5, 4.0, missing=True)
    assert Range.of(np.array([1, 7])) == Range(1.0, 7.0, integer=True, missing=False)
    assert Range.of(np.array(["b", NULL, "a"], dtype=object)) == Range(levels=("a", "b"), missing=True)
    assert Range.of(np.array([np.nan])) == Range()


def test_head_keeps_the_first_rows() -> None:
    assert probes.head({"x": np.arange(5)}, 2)["x"].tolist() == [0, 1]
