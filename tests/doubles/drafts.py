"""Small drafts for tests. The bytes of the program are not a model: nothing here runs one."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.artifact import Draft
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME, NULL
from setsail.variants import Variant


def small(**changes: Any) -> Draft:
    """A draft with every kind of member, in a few hundred bytes of payload."""
    signature = Signature(
        (TensorSpec("age", BY_NAME["float32"], ("N",)), TensorSpec("city", BY_NAME["string"], ("N",), nullable=True)),
        (TensorSpec("prediction", BY_NAME["float64"], ("N",)),),
        ("prediction",),
    )
    inputs = {"age": np.array([1.5, -2.0], np.float32), "city": np.array(["Ærø", NULL], object)}
    fields: dict[str, Any] = {
        "name": "credit",
        "version": 3,
        "framework": "scikit-learn",
        "versions": {"scikit-learn": "1.9.0"},
        "estimator": "Ridge",
        "kind": "regressor",
        "hyperparameters": {"alpha": 1.0, "missing": float("nan")},
        "signature": signature,
        "variants": (
            (Variant("onnx", "onnx", "float32", "model.onnx"), {"model.onnx": b"program", "w.bin": b"w" * 9}),
        ),
        "processing": Processing((Step("text.normalize", ("city",), (), {"lowercase": True}),)),
        "parity": ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, 2, 0, 1e-7, "prediction", 0),)),
        "samples": {"synthetic": (inputs, {"prediction": np.array([0.1, np.inf])})},
        "environment": {"python": "3.11.7"},
        "notes": ("a note",),
        "reference": {"age": {"min": 0}},
    }
    return Draft(**(fields | changes))
