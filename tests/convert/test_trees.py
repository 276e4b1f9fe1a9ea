"""A tree ensemble as data, and as ONNX."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.convert.graph import Graph
from setsail.convert.trees import Ensemble, Tree, emit
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, Array


def stump(threshold: float, low: float, high: float, *, missing_left: bool = False, target: int = 0) -> Tree:
    """One split of column 0."""
    return Tree(
        feature=np.array([0, -1, -1]),
        threshold=np.array([threshold, 0, 0]),
        left=np.array([1, 0, 0]),
        right=np.array([2, 0, 0]),
        missing_left=np.array([missing_left, False, False]),
        value=np.array([[0.0], [low], [high]]),
        target=target,
    )


def ensemble(*trees: Tree, mode: str = "<=", dtype: str = "float64", base: tuple[float, ...] = (0.0,)) -> Ensemble:
    return Ensemble(trees, 1, len(base), mode, dtype, np.array(base))


def program(source: Ensemble, rows: Array) -> Array:
    graph = Graph()
    graph.rename(emit(graph, source, "x"), "y")
    spec = BY_NAME[source.dtype]
    data = graph.model([TensorSpec("x", spec, ("N", source.features))], [TensorSpec("y", spec, ("N", source.targets))])
    answer = onnxruntime.InferenceSession(data).run(None, {"x": rows.astype(source.dtype)})[0]
    return np.asarray(answer)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("mode", "at"), [("<", 2.0), ("<=", 1.0)])
def test_a_value_on_the_threshold_goes_as_the_mode_says(mode: str, at: float, dtype: str) -> None:
    kind = np.dtype(dtype).type
    edge = kind(0.1)
    rows = np.array([[np.nextafter(edge, kind(-1))], [edge], [np.nextafter(edge, kind(1))]], dtype=dtype)
    answer = program(ensemble(stump(float(edge), 1, 2), mode=mode, dtype=dtype), rows)
    assert answer.ravel().tolist() == [1, at, 2]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("left", "expected"), [(True, 1.0), (False, 2.0)])
def test_a_missing_value_goes_its_own_way(dtype: str, left: bool, expected: float) -> None:
    trees = (stump(0.1, 1, 2, missing_left=left), stump(0.2, 0, 0, missing_left=not left))
    assert program(ensemble(*trees, dtype=dtype), np.array([[np.nan]])).item() == expected


def test_a_threshold_that_float32_cannot_hold_decides_in_float64() -> None:
    edge = 0.1  # float32(0.1) is larger
    rows = np.array([[edge], [np.nextafter(edge, 1)]])
    assert program(ensemble(stump(edge, 1, 2)), rows).ravel().tolist() == [1, 2]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.floats(-1e6, 1e6),
)
def test_a_float64_sum_keeps_its_digits(leaves: list[tuple[float, float]], base: float) -> None:
    source = ensemble(*(stump(i, a, b) for i, (a, b) in enumerate(leaves)), base=(base,))
    rows = np.arange(len(leaves) + 1.0)[:, None]
    size = sum(max(abs(a), abs(b)) for a, b in leaves) + abs(base)
    np.testing.assert_allclose(program(source, rows), source.sums(rows), rtol=0, atol=1e-12 * size + 1e-30)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-10, 10, width=32)] * 2), min_size=1, max_size=30), st.floats(-10, 10, width=32))
def test_a_float32_sum_is_made_in_the_order_of_the_trees(leaves: list[tuple[float, float]], base: float) -> None:
    source = ensemble(*(stump(i, a, b) for i, (a, b) in enumerate(leaves)), mode="<", dtype="float32", base=(base,))
    rows = np.arange(len(leaves) + 1.0)[:, None]
    np.testing.assert_array_equal(program(source, rows), source.sums(rows))


def test_trees_add_to_their_own_targets() -> None:
    source = ensemble(stump(0, 1, 2), stump(0, 10.1, 20.2, target=1), base=(0.5, 0.25))
    np.testing.assert_allclose(program(source, np.array([[-1.0], [1.0]])), [[1.5, 10.35], [2.5, 20.45]], rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_ensemble_without_trees_is_its_base(dtype: str) -> None:
    assert program(ensemble(dtype=dtype, base=(1.5, -2.0)), np.zeros((2, 1))).tolist() == [[1.5, -2.0]] * 2


def test_what_boundary_probes_need() -> None:
    source = ensemble(stump(3.0, 1, 2), stump(1.0, -5, 2.5), stump(3.0, 0, 0))
    assert source.thresholds == ((1.0, 3.0),)
    assert source.leaf_span == 7.5


def test_pruned_nodes_are_left_out() -> None:
    tree = Tree(
        feature=np.array([0, -1, 0, -1, -1, -1]),
        threshold=np.arange(6.0),
        left=np.array([5, 0, 3, 0, 0, 0]),
        right=np.array([1, 0, 4, 0, 0, 0]),
        missing_left=np.zeros(6, dtype=bool),
        value=np.array([[0.0], [1.0], [0.0], [9.0], [9.0], [2.0]]),
    )
    kept = tree.compact()
    assert len(kept.feature) == 3
    assert ensemble(kept).sums(np.array([[0.0], [1.0]])).ravel().tolist() == [2, 1]
    assert kept.compact() is kept
