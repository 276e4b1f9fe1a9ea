"""References as they are read, and rows in their bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from setsail.monitor.profile import Counter, Reference, read
from setsail.packing.reference import sketch
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL


def of(text: str, values: np.ndarray) -> Reference:
    spec = TensorSpec.parse(text)
    return read(sketch(Signature((spec,), (), ()), {spec.name: values}), (spec,), ())


@given(st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0, 7.0]), min_size=1, max_size=200))
def test_the_references_own_rows_are_counted_as_the_reference_was(values: list[float]) -> None:
    made = of("x:float64[N]", np.array(values))
    counter = Counter(made.columns)
    counter.add({"x": np.array(values)})
    assert counter.counts.tolist() == made.counts().tolist()


def test_texts_have_levels_others_and_missing_ones() -> None:
    made = of("x:string[N]", np.array(["a", "b", "a", NULL], object))
    counter = Counter(made.columns)
    counter.add({"x": np.array(["a", "new", None, NULL, "b"], object)})
    assert made.columns[0].titles() == ["a", "b", "(other)", "(missing)"]
    assert counter.counts.tolist() == [1, 1, 1, 2]


def test_numbers_that_are_none_are_missing() -> None:
    made = of("x:float32[N,2]", np.arange(200, dtype=np.float32).reshape(100, 2))
    counter = Counter(made.columns)
    counter.add({"x": np.array([[np.nan, np.inf], [1.0, 2.0]], np.float32)})
    titles = [title for column in made.columns for title in column.titles()]
    assert {titles[i] for i in np.flatnonzero(counter.counts)} == {"(missing)", titles[0], titles[11]}
    assert counter.counts.sum() == 4


def test_what_is_not_there_is_not_counted() -> None:
    counter = Counter(of("x:float64[N]", np.arange(9.0)).columns)
    counter.add({})
    assert counter.counts.sum() == 0


def test_a_reference_that_says_nothing_has_no_columns() -> None:
    spec = TensorSpec.parse("x:float32[N,3]")
    assert read({}, (spec,), ()).columns == ()
    assert read({"age": {"min": 0}}, (spec,), ()).columns == ()
