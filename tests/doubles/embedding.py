"""A small graph of ONNX with two inputs, one of them integers, and two outputs: an embedding of a token, weighed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TABLE", "embedding"]

TABLE = np.random.default_rng(6).normal(size=(50, 6)).astype(np.float32)


def embedding(folder: Path, rows: int) -> tuple[Path, Any]:
    """The file, and an example of so many rows."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Gather", ["table", "token"], ["vector"]),
        helper.make_node("Mul", ["vector", "weight"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axes"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "embedding",
        [helper.make_tensor_value_info("token", TensorProto.INT64, ["n"]),
         helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("weighed", TensorProto.FLOAT, ["n", 6]),
         helper.make_tensor_value_info("total", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array([1]), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "embedding.onnx"))
    example = (np.arange(rows) % 50, np.linspace(-2, 2, rows, dtype=np.float32)[:, None])
    return folder / "embedding.onnx", example
