"""The sketch that drift is measured against."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from setsail.packing.reference import sketch
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL


def of(text: str, values: np.ndarray, columns: tuple[str, ...] = ()) -> dict[str, object]:
    read = TensorSpec.parse(text)
    spec = TensorSpec(read.name, read.dtype, read.shape, columns=columns)
    told = sketch(Signature((spec,), (), ()), {spec.name: values})
    assert told["rows"] == len(values)
    return dict(told["columns"])


def test_a_numeric_column_has_bins_at_its_own_quantiles() -> None:
    told = of("x:float64[N]", np.arange(1000.0))["x"]
    assert told["counts"] == [100] * 10
    np.testing.assert_allclose(told["edges"], np.arange(1, 10) * 99.9)


def test_the_columns_of_a_table_have_names_or_numbers() -> None:
    rows = np.zeros((4, 2), np.float32)
    assert list(of("x:float32[N,2]", rows, ("age", "height"))) == ["age", "height"]
    assert list(of("x:float32[N,2]", rows)) == ["x[0]", "x[1]"]


def test_a_tensor_of_more_dimensions_is_left_out() -> None:
    assert of("x:float32[N,2,2]", np.zeros((4, 2, 2), np.float32)) == {}


def test_a_constant_column_and_one_without_values() -> None:
    assert of("x:float64[N]", np.full(5, 2.0))["x"] == {"edges": [], "counts": [5], "missing": 0}
    assert of("x:float64[N]", np.full(5, np.nan))["x"] == {"edges": [], "counts": [], "missing": 5}


def test_levels_of_text_are_counted_missing_ones_apart() -> None:
    texts = np.array(["a", "b", "a", NULL, ""], dtype=object)
    assert of("x:string[N]", texts)["x"] == {"levels": {"": 1, "a": 2, "b": 1}, "other": 0, "missing": 1}


def test_only_the_most_frequent_levels_are_kept() -> None:
    texts = np.array([f"t{i % 100:03}" for i in range(150)] + [NULL], dtype=object)
    told = of("x:string[N]", texts)["x"]
    assert len(told["levels"]) == 64
    assert sum(told["levels"].values()) + told["other"] == 150
    assert told["missing"] == 1


@given(st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0, 7.0]), min_size=1, max_size=300))
def test_every_value_is_in_one_bin_or_missing(values: list[float]) -> None:
    told = of("x:float64[N]", np.array(values))["x"]
    assert sum(told["counts"]) + told["missing"] == len(values)
    assert told["missing"] == sum(not np.isfinite(v) for v in values)
    if told["counts"]:
        assert len(told["edges"]) == len(told["counts"]) - 1
        assert told["edges"] == sorted(set(told["edges"]))
        present = len(values) - told["missing"]
        assert len(told["counts"]) == 1 or min(told["counts"]) >= 0.01 * present
        again = np.histogram([v for v in values if np.isfinite(v)], bins=[-np.inf, *told["edges"], np.inf])[0]
        assert again.tolist() == told["counts"]
