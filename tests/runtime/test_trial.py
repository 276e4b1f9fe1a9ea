"""The trial run, called in this process: what crosses the border is JSON and tensor files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from setsail import tensorfile
from setsail.errors import SetsailError
from setsail.runtime import trial
from setsail.signature import Signature, TensorSpec
from setsail.variants import Variant

SIGNATURE = Signature((TensorSpec.parse("x:float64[N,2]"),), (TensorSpec.parse("y:float64[N,2]"),), ("y",))


def slices(tmp_path: Path, batch: Any = "N") -> dict[str, tuple[str, int, int]]:
    """A doubling program in the middle of a larger file, at an offset that is no page boundary."""
    doubled = helper.make_node("Add", ["x", "x"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [batch, 2]) for n in ("x", "y")]
    graph = helper.make_graph([doubled], "g", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    (tmp_path / "whole").write_bytes(b"\0" * 5000 + made + b"\0" * 64)
    return {"model.onnx": (str(tmp_path / "whole"), 5000, len(made))}


@pytest.mark.parametrize(
    ("at_once", "max_batch", "runs"), [(0, None, 1), (2, None, 3), (0, 1, 5), (4, 1, 5), (5, None, 1)]
)
def test_rows_go_in_at_the_size_asked_for(tmp_path: Path, at_once: int, max_batch: int | None, runs: int) -> None:
    variant = Variant("onnx", "onnx", "float64", "model.onnx", max_batch=max_batch)
    rows = np.arange(10, dtype=np.float64).reshape(5, 2)
    (tmp_path / "in0").write_bytes(tensorfile.encode({"x": rows}))
    batch = {"inputs": "in0", "outputs": "out0", "rows": at_once}
    files = slices(tmp_path, max_batch or "N")
    asked = json.loads(json.dumps(trial.arguments(variant, files, SIGNATURE, batches=(batch,), folder=tmp_path)))
    assert trial.run(asked, tmp_path) == {"ok": True, "runs": runs}
    assert tensorfile.decode((tmp_path / "out0").read_bytes())["y"].tolist() == (rows * 2).tolist()


def test_a_program_that_does_not_load_raises_its_own_code(tmp_path: Path) -> None:
    path, offset, length = slices(tmp_path)["model.onnx"]
    variant = Variant("onnx", "onnx", "float64", "model.onnx")
    with pytest.raises(SetsailError) as caught:
        trial.run(
            trial.arguments(variant, {"model.onnx": (path, offset + 1, length - 1)}, SIGNATURE, folder=tmp_path),
            tmp_path,
        )
    assert caught.value.code == "model.failed"
