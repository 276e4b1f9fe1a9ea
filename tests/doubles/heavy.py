"""A model with large weights: y = x @ w with w of 512 x 1024 float32 (2 MiB), drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from setsail.artifact import Artifact, Draft, write
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array
from setsail.variants import Variant

ROWS = np.random.default_rng(1).standard_normal((3, 512)).astype(np.float32)
VARIANT = Variant("onnx", "onnx", "float32", "model.onnx")


def matrix(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((512, 1024)).astype(np.float32) / np.float32(32)


def signature() -> Signature:
    return Signature((TensorSpec.parse("x:float32[N,512]"),), (TensorSpec.parse("y:float32[N,1024]"),), ("y",))


def program(seed: int = 0, *, external: bool = False) -> dict[str, bytes]:
    """The files: the weights inside the program, or beside it."""
    weights = numpy_helper.from_array(matrix(seed), "w")
    files = {}
    if external:
        files["weights.bin"] = weights.raw_data
        weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[512, 1024],
                              data_location=TensorProto.EXTERNAL)  # fmt: skip
        for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(len(files["weights.bin"])))):
            weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1024])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return files | {"model.onnx": model.SerializeToString()}


def answers(rows: Array, seed: int = 0) -> dict[str, Array]:
    return {"y": np.maximum(rows @ matrix(seed), 0)}


def artifact(path: Path, seed: int = 0) -> Artifact:
    report = ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, 3, 0, 0.0, "", 0),))
    draft = Draft(
        name="heavy", version=1, framework="onnx", versions={"onnx": "1.0"}, estimator="Heavy", kind="tensors",
        hyperparameters={}, signature=signature(), variants=((VARIANT, program(seed)),), parity=report,
        samples={"synthetic": ({"x": ROWS}, answers(ROWS, seed))}, environment={}, notes=(),
    )  # fmt: skip
    return write(draft, path, force=True)
