"""Tiny models for the tests of serving: y = scale * x over [N, 2], total = its sum, written as real artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from setsail.artifact import Artifact, Draft, write
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array
from setsail.variants import Variant

ROWS = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
REPORT = ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, 3, 0, 0.0, "", 0),))


def signature() -> Signature:
    """Two outputs, of which `y` is the default."""
    return Signature(
        (TensorSpec.parse("x:float32[N,2]"),),
        (TensorSpec.parse("y:float32[N,2]"), TensorSpec.parse("total:float32[N]")),
        ("y",),
    )


def program(scale: float, batch: Any = "N") -> bytes:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["y"]),
        helper.make_node("ReduceSum", ["y", "axis"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "scaled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2]),
         helper.make_tensor_value_info("total", TensorProto.FLOAT, [batch])],
        [numpy_helper.from_array(np.array(scale, dtype=np.float32), "scale"),
         numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def answers(rows: Array, scale: float) -> dict[str, Array]:
    scaled = rows * np.float32(scale)
    return {"y": scaled, "total": scaled.sum(axis=1)}


def artifact(
    path: Path, scale: float = 2.0, *, name: str = "scaled", version: int = 1, stored: float | None = None,
    max_batch: int | None = None, samples: str = "synthetic", programs: tuple[bytes, ...] = (),
    native: tuple[Variant, bytes] | None = None,
) -> Artifact:  # fmt: skip
    """Write an artifact. `stored` is the scale of the stored answers, if it is not the program's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bodies = programs or (program(scale, max_batch or "N"),)
    variants = tuple(
        (Variant(f"onnx{i or ''}", "onnx", "float32", "model.onnx", max_batch=max_batch), {"model.onnx": body})
        for i, body in enumerate(bodies)
    )
    if native is not None:
        variants = ((native[0], {native[0].entry: native[1]}),)
    kept = {} if samples == "none" else {samples: ({"x": ROWS}, answers(ROWS, scale if stored is None else stored))}
    draft = Draft(
        name=name, version=version, framework="onnx", versions={"onnx": "1.0"}, estimator="Scaled", kind="tensors",
        hyperparameters={}, signature=signature(), variants=variants, parity=REPORT, samples=kept,
        environment={}, notes=(),
    )  # fmt: skip
    return write(draft, path, force=True)
