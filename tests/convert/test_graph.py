"""Programs written by hand: what `Graph` adds to lists of nodes."""

from __future__ import annotations

import numpy as np
import onnxruntime

from setsail.convert.graph import Graph
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME

FLOAT64 = BY_NAME["float64"]


def doubled_until(limit: int, bound: float) -> onnxruntime.InferenceSession:
    """A program that doubles its input until one element passes `bound`, at most `limit` times."""
    graph = Graph()
    two, top = graph.constant(2.0), graph.constant(bound)

    def step(inner: Graph, _: str, held: str) -> tuple[str, str]:
        after = inner.node("Mul", held, two)
        return after, inner.node("Less", inner.node("ReduceMax", after, keepdims=0), top)

    graph.rename(graph.loop(limit, "x", "float64", step), "y")
    model = graph.model([TensorSpec("x", FLOAT64, (None,))], [TensorSpec("y", FLOAT64, (None,))])
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_a_loop_stops_by_its_own_condition():
    (y,) = doubled_until(100, 20.0).run(None, {"x": np.array([1.0, 3.0])})
    np.testing.assert_array_equal(y, [8.0, 24.0])


def test_a_loop_stops_at_its_limit():
    (y,) = doubled_until(3, 1e9).run(None, {"x": np.array([1.0])})
    np.testing.assert_array_equal(y, [8.0])


def test_a_loop_counts_its_rounds_and_sees_values_outside():
    graph = Graph()
    outside = graph.node("Mul", "x", graph.constant(10.0))

    def step(inner: Graph, i: str, held: str) -> tuple[str, None]:
        return inner.node("Add", held, inner.node("Mul", outside, inner.cast(i, "float64"))), None

    graph.rename(graph.loop(4, "x", "float64", step), "y")
    model = graph.model([TensorSpec("x", FLOAT64, (None,))], [TensorSpec("y", FLOAT64, (None,))])
    (y,) = onnxruntime.InferenceSession(model).run(None, {"x": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(y, [61.0, 122.0])  # x + 10 x (0 + 1 + 2 + 3)
