"""ONNX models without a batch, all the way into an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack

TWO = [("a", TensorProto.FLOAT, ["q", 2]), ("b", TensorProto.FLOAT, ["k", 2])]


@pytest.mark.parametrize(
    ("nodes", "inputs", "signature"),
    [
        ([helper.make_node("ReduceSum", ["a"], ["y"], keepdims=0)], TWO[:1], "(a:float32[N,2]) -> (y:float32[])"),
        ([helper.make_node("Gemm", ["a", "b"], ["y"], transB=1)], TWO,
         "(a:float32[q,2], b:float32[k,2]) -> (y:float32[q,k])"),
    ],
)  # fmt: skip
def test_a_model_without_a_batch_is_packed(nodes: Any, inputs: Any, signature: str, tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(*i) for i in inputs]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", values, [result]),
                              opset_imports=[helper.make_opsetid("", 18)], ir_version=8)  # fmt: skip
    onnx.save(model, str(tmp_path / "m.onnx"))
    artifact = pack(tmp_path / "m.onnx", Intent(), PackOptions(output=tmp_path / "m.setsail"))
    assert str(artifact.signature) == signature
    assert not artifact.signature.batched
