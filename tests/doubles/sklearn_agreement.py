"""Holding one emitted estimator against its source: what the catalogue tests of the linear, svm, … modules share."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME

IRIS = load_iris(return_X_y=True)
WINE = tuple(part[::2] for part in load_wine(return_X_y=True))
CANCER = tuple(part[:200] for part in load_breast_cancer(return_X_y=True))
CANCER = ((CANCER[0][:, :8] - CANCER[0][:, :8].mean(0)) / CANCER[0][:, :8].std(0), CANCER[1])
DIABETES = tuple(part[:150] for part in load_diabetes(return_X_y=True))

# What the source calls each result, where it has it.
SOURCES = {
    "probabilities": "predict_proba",
    "decision": "decision_function",
    "prediction": "predict",
    "cluster": "predict",
    "distances": "transform",
    "label": "predict",
    "score": "decision_function",
    "transformed": "transform",
}


def catalogue(rows: list[tuple[Any, Any]]) -> list[Any]:
    """Rows of (estimator, data) as parameters, named by their class and place."""
    return [pytest.param(*row, id=f"{i}-{type(row[0]).__name__}") for i, row in enumerate(rows)]


def run(estimator: Any, rows: np.ndarray, *batches: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The emitted program's results on each batch; the program's input has the dtype of `rows`."""
    graph = Graph()
    dtype = rows.dtype.name
    results = emit(graph, estimator, Value("x", dtype, rows.shape[1]))
    outputs = [
        TensorSpec(
            graph.rename(value.name, name),
            BY_NAME[value.dtype],
            (None, *(() if value.width is None else (value.width,))),
        )
        for name, value in results.items()
    ]
    model = graph.model([TensorSpec("x", BY_NAME[dtype], (None, rows.shape[1]))], outputs)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [dict(zip(results, session.run(None, {"x": batch}), strict=True)) for batch in (rows, *batches)]


def agree(
    estimator: Any, rows: np.ndarray, *, rtol: float = 1e-9, atol: float = 1e-11, expect: tuple[str, ...] = ()
) -> None:
    """Assert equal results on the training rows, on fresh rows between and beyond them, and in batches of 1 and 7."""
    rng = np.random.default_rng(7)
    fresh = rng.normal(rows.mean(0), 1.5 * rows.std(0) + 1e-3, (101, rows.shape[1])).astype(rows.dtype)
    batches = (rows, fresh, fresh[:1], rows[:7])
    for batch, results in zip(batches, run(estimator, *batches), strict=True):
        assert set(expect) <= set(results), f"results are {sorted(results)}"
        for name, found in results.items():
            wanted = estimator.predict(batch) if name == "index" else getattr(estimator, SOURCES[name])(batch)
            if name == "index":
                found = np.asarray(estimator.classes_)[found]
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol, err_msg=name)
                assert found.shape == wanted.shape
            else:
                np.testing.assert_array_equal(found, wanted, err_msg=name)
            if name == "cluster":
                assert found.dtype == wanted.dtype
