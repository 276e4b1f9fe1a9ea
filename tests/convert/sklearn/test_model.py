"""The whole way of a scikit-learn model: signature, program and probes that agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.sklearn.model import convert


def run(conversion: Conversion, inputs: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(conversion.programs[0].files["model.onnx"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_core() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], y[::2])
    conversion = convert(model, Intent(example=X))
    print(conversion.signature)
    out = run(conversion, {"input": X})
    np.testing.assert_array_equal(out["label"], model.predict(X))
    np.testing.assert_allclose(out["probabilities"], model.predict_proba(X), rtol=1e-9, atol=1e-12)
    for probe in conversion.probes:
        got = run(conversion, dict(probe.inputs))
        for name, array in probe.outputs.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-9, atol=1e-12)
