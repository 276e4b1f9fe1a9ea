"""Links and forms against numpy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from setsail.convert.graph import Graph
from setsail.convert.links import FORMS, LINKS
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, Array

SUMS = np.array([[-800.0], [-20.0], [-0.5], [0.0], [1e-9], [2.0], [700.0]])
NUMPY = {
    "identity": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.ones_like(x),
    "exp": np.exp,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "signed_square": lambda x: np.sign(x) * x * x,
    "step": lambda x: (x > 0).astype(x.dtype),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(LINKS))
def test_a_link_is_what_numpy_says(name: str, dtype: str) -> None:
    graph = Graph()
    graph.rename(LINKS[name](graph, "x", dtype), "y")
    spec = BY_NAME[dtype]
    data = graph.model([TensorSpec("x", spec, ("N", 1))], [TensorSpec("y", spec, ("N", 1))])
    sums = SUMS.astype(dtype)
    with np.errstate(over="ignore"):
        expected = NUMPY[name](sums)
    found = onnxruntime.InferenceSession(data).run(None, {"x": sums})[0]
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(("form", "scores", "expected"), [
    ("binary", [[0.25], [0.5], [1]], {"index": [0, 0, 1], "probabilities": [[0.75, 0.25], [0.5, 0.5], [0, 1]]}),
    ("margin", [[-1], [0], [2]], {"index": [0, 0, 1], "decision": [-1, 0, 2]}),
    ("multi", [[0.2, 0.5, 0.3], [0.5, 0.5, 0]], {"index": [1, 0], "probabilities": [[0.2, 0.5, 0.3], [0.5, 0.5, 0]]}),
    ("value", [[1], [2]], {"value": [[1], [2]]}),
], ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
def test_a_form_makes_the_outputs(form: str, scores: list[list[float]], expected: dict[str, Array]) -> None:
    graph = Graph()
    results = FORMS[form](graph, "x", "float64")
    for name, value in results.items():
        graph.rename(value, name)
    rows = np.array(scores, dtype=np.float64)
    outputs = [
        TensorSpec(n, BY_NAME["int64" if n == "index" else "float64"], ("N", *np.shape(v)[1:]))
        for n, v in expected.items()
    ]
    data = graph.model([TensorSpec("x", BY_NAME["float64"], ("N", rows.shape[1]))], outputs)
    found = onnxruntime.InferenceSession(data).run(list(expected), {"x": rows})
    for answer, (name, wanted) in zip(found, expected.items(), strict=True):
        np.testing.assert_array_equal(answer, np.array(wanted), err_msg=name)
