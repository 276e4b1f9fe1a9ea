"""The onnxruntime runner: what only it does. What every runner does is in tests/contracts/test_runner.py."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from setsail import runtime
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.variants import Variant

ONNX = Variant("onnx", "onnx", "float32", "model.onnx")


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: list[Any] | None = None) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers or [])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(made.SerializeToString())


def info(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def signature(inputs: str, outputs: str) -> Signature:
    made = tuple(tuple(TensorSpec.parse(t) for t in side.split()) for side in (inputs, outputs))
    return Signature(made[0], made[1], (made[1][0].name,))


def add(batch: Any = "N") -> bytes:
    """y = a + b, d = a - b."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["y"]), helper.make_node("Sub", ["a", "b"], ["d"])],
        [info("a", TensorProto.FLOAT, [batch]), info("b", TensorProto.FLOAT, [batch])],
        [info("d", TensorProto.FLOAT, [batch]), info("y", TensorProto.FLOAT, [batch])],
    )


A_AND_B = {"a": np.array([1, 2], dtype=np.float32), "b": np.array([10, 20], dtype=np.float32)}


def test_outputs_come_by_name_in_the_signatures_order() -> None:
    runner = runtime.load(
        ONNX, {"model.onnx": add()}, signature("a:float32[N] b:float32[N]", "y:float32[N] d:float32[N]")
    )
    answer = runner.run(A_AND_B)
    assert list(answer) == ["y", "d"]
    assert answer["y"].tolist() == [11, 22]
    assert answer["d"].tolist() == [-9, -18]


def echo() -> bytes:
    """Text in, the same text out."""
    return model(
        [helper.make_node("Identity", ["word"], ["same"])],
        [info("word", TensorProto.STRING, ["N"])],
        [info("same", TensorProto.STRING, ["N"])],
    )


def test_text_is_objects_of_str_both_ways() -> None:
    runner = runtime.load(ONNX, {"model.onnx": echo()}, signature("word:string[N]", "same:string[N]"))
    answer = runner.run({"word": np.array(["größe", ""], dtype=object)})["same"]
    assert answer.dtype == object
    assert answer.tolist() == ["größe", ""]


def test_steps_are_done_before_the_program_and_the_signature_stays() -> None:
    step = Step("text.normalize", ("word",), (), {"lowercase": True})
    given = signature("word:string[N]", "same:string[N]")
    runner = runtime.load(ONNX, {"model.onnx": echo()}, given, Processing((step,)))
    words = np.array(["GRÖSSE"], dtype=object)
    assert runner.run({"word": words})["same"].tolist() == ["grösse"]
    assert words.tolist() == ["GRÖSSE"]
    assert (runner.signature, runner.max_batch) == (given, None)
    runner.close()
    with pytest.raises(SetsailError) as caught:
        runner.run({"word": words})
    assert caught.value.code == "model.not_ready"


def test_external_weights_are_read_from_a_view_of_a_mapped_file(tmp_path: Path) -> None:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    (tmp_path / "artifact").write_bytes(b"\0" * 192 + weights.tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "64"), ("length", "48")):
        tensor.external_data.add(key=key, value=value)
    program = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [info("x", TensorProto.FLOAT, ["N", 4])],
        [info("y", TensorProto.FLOAT, ["N", 3])],
        [tensor],
    )
    with (tmp_path / "artifact").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapped)[128:]
    files: dict[str, bytes | memoryview] = {"model.onnx": program, "weights.bin": view}
    runner = runtime.load(ONNX, files, signature("x:float32[N,4]", "y:float32[N,3]"))
    view.release()
    mapped.close()  # the file may go once the session is made
    assert runner.run({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[18, 22, 26]]


def test_an_input_that_the_program_does_not_use_is_not_fed() -> None:
    wider = signature("a:float32[N] b:float32[N] unused:string[N]", "y:float32[N]")
    runner = runtime.load(ONNX, {"model.onnx": add()}, wider)
    assert runner.run(A_AND_B | {"unused": np.array(["x", "y"], dtype=object)})["y"].tolist() == [11, 22]


@pytest.mark.parametrize(
    ("inputs", "outputs", "names"),
    [
        ("a:float32[N]", "y:float32[N]", "'b'"),
        ("a:float32[N] b:float32[N]", "z:float32[N]", "'z'"),
        ("a:float64[N] b:float32[N]", "y:float32[N]", "'a'"),
        ("a:float32[N,1] b:float32[N]", "y:float32[N]", "'a'"),
        ("a:float32[N] b:float32[N]", "y:float32[N,1]", "'y'"),
        ("a:float32[N] b:float32[N]", "y:float64[N]", "'y'"),
    ],
)
def test_a_program_that_disagrees_with_the_signature_is_refused(inputs: str, outputs: str, names: str) -> None:
    with pytest.raises(SetsailError) as caught:
        runtime.load(ONNX, {"model.onnx": add()}, signature(inputs, outputs))
    assert caught.value.code == "model.failed"
    assert names in str(caught.value)


def test_a_fixed_batch_needs_a_variant_that_says_so() -> None:
    free = signature("a:float32[N] b:float32[N]", "y:float32[N]")
    one = Variant("onnx", "onnx", "float32", "model.onnx", max_batch=1)
    assert runtime.load(one, {"model.onnx": add(1)}, free).max_batch == 1
    with pytest.raises(SetsailError) as caught:
        runtime.load(ONNX, {"model.onnx": add(1)}, free)
    assert caught.value.code == "model.failed"


@pytest.mark.parametrize(
    "fault", [MemoryError(), RuntimeError("Failed to allocate memory for requested buffer of size 9")], ids=["", "ORT"]
)
def test_a_program_that_does_not_fit_is_told_apart(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def full(*_: Any) -> Any:
        raise fault

    monkeypatch.setattr("setsail.runtime.onnx_runner._private", full)
    with pytest.raises(SetsailError) as caught:
        runtime.load(ONNX, {"model.onnx": add()}, signature("a:float32[N] b:float32[N]", "y:float32[N]"))
    assert (caught.value.code, caught.value.family.http) == ("model.memory", 507)


def test_a_damaged_program_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        runtime.load(ONNX, {"model.onnx": b"not a program"}, signature("a:float32[N]", "y:float32[N]"))
    assert caught.value.code == "model.failed"


def test_the_runtimes_words_are_for_the_log_and_an_id_for_the_client() -> None:
    runner = runtime.load(ONNX, {"model.onnx": add()}, signature("a:float32[N] b:float32[N]", "y:float32[N]"))
    with pytest.raises(SetsailError) as caught:
        runner.run(A_AND_B | {"b": np.ones(7, np.float32)})
    assert caught.value.code == "model.run"
    assert "broadcast" in caught.value.facts["detail"]
    assert "broadcast" not in str(caught.value)
    assert caught.value.facts["id"] in str(caught.value)


def test_a_format_we_cannot_run_is_named() -> None:
    odd = Variant("tf", "savedmodel", "float32", "saved_model.pb")
    with pytest.raises(SetsailError) as caught:
        runtime.load(odd, {}, signature("a:float32[N]", "y:float32[N]"))
    assert caught.value.code == "artifact.requires"
    assert "onnx" in str(caught.value)


def test_a_runtime_whose_package_is_missing_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'xgboost'", name="xgboost")

    monkeypatch.setattr(runtime, "import_module", absent)
    with pytest.raises(SetsailError) as caught:
        runtime.load(
            Variant("xgboost", "xgboost-ubj", "float32", "m.ubj"), {}, signature("a:float32[N]", "y:float32[N]")
        )
    assert caught.value.code == "dependency.missing"
    assert "pip install 'setsail[xgboost]'" in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_of_large_runs_goes_back_when_a_runner_rests() -> None:
    """64 MiB of activations, in the arena that all sessions of the process share."""
    stages = [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["b"])]
    total = helper.make_node("ReduceSum", ["b"], ["y"], keepdims=0, noop_with_empty_axes=0)
    program = model([*stages, total], [info("x", TensorProto.FLOAT, ["N", 1024])], [info("y", TensorProto.FLOAT, [])])
    runner = runtime.load(ONNX, {"model.onnx": program}, signature("x:float32[N,1024]", "y:float32[]"))
    one = {"x": np.zeros((1, 1024), np.float32)}
    runner.run(one)
    before = own_memory()
    runner.run({"x": np.zeros((1 << 14, 1024), np.float32)})
    grown = own_memory() - before
    runner.rest(one)
    assert grown > 32 << 20
    assert own_memory() - before < grown / 4


def own_memory() -> int:
    """Bytes that are this process's alone."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) << 10
