"""Functions as nodes have numpy's accuracy everywhere, near 0 and at infinity too."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from setsail.convert.graph import Graph
from setsail.convert.sklearn.functions import FUNCTIONS
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME

EDGES = [
    0.0,
    1e-300,
    1e-17,
    -1e-17,
    1e-9,
    -1e-9,
    1e-3,
    0.4999,
    0.5,
    1.0,
    -0.3,
    -0.9,
    -1.0,
    30.0,
    700.0,
    1e5,
    1e30,
    1e300,
]
EDGES += [-5.0, -700.0, -1e30, np.inf, -np.inf, np.nan, 800.0]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_as_numpy(function: Any) -> None:
    graph = Graph()
    graph.rename(FUNCTIONS[function](graph, "x"), "y")
    specs = [TensorSpec(n, BY_NAME["float64"], ("N",)) for n in "xy"]
    session = onnxruntime.InferenceSession(graph.model(specs[:1], specs[1:]))
    x = np.concatenate([EDGES, np.random.default_rng(0).normal(0, 3, 500)])
    with np.errstate(all="ignore"):
        expected = function(x)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-13, atol=0)
