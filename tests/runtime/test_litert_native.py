"""TensorFlow Lite's interpreter as a runner."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from lite_models import convolution, interpreted, recurrent, twice, written

from setsail import runtime
from setsail.errors import SetsailError
from setsail.runtime import Options, Runner
from setsail.signature import Dim, Signature, TensorSpec
from setsail.tensors import BY_NAME
from setsail.variants import Variant

pytest.importorskip("ai_edge_litert", reason="needs LiteRT, which has no wheel for macOS on Intel")
litert_native = import_module("setsail.runtime.litert_native")
DRAW = np.random.default_rng(5)
PICTURES = DRAW.integers(-128, 128, (24, 6, 6, 2), dtype=np.int8)


def signature(dtype: str, taken: tuple[Dim, ...] = ("N", 6, 6, 2), given: tuple[Dim, ...] = ("N", 3)) -> Signature:
    dtypes = BY_NAME[dtype]
    return Signature((TensorSpec("x", dtypes, taken),), (TensorSpec("scores", dtypes, given),), ("scores",))


def loaded(content: bytes, made: Signature, threads: int = 1, batch: int | None = None) -> Runner:
    settings = {"inputs": ["x"], "outputs": ["scores"]}
    variant = Variant("litert", "litert-tflite", "float32", "model.tflite", settings, batch)
    return runtime.load(variant, {"model.tflite": content}, made, options=Options(threads))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_every_bit_is_the_interpreters_at_any_batch(io: str, depthwise: bool) -> None:
    content = written(convolution(io, depthwise=depthwise))
    rows = DRAW.normal(size=PICTURES.shape).astype(np.float32) * 3 if io == "float32" else PICTURES.astype(io)
    truth = interpreted(content, rows)
    runner = loaded(content, signature(io))
    for start, count in ((0, 24), (3, 1), (4, 7), (9, 1), (0, 24)):
        answer = runner.run({"x": rows[start : start + count]})["scores"]
        assert answer.dtype == np.dtype(io)
        np.testing.assert_array_equal(answer, truth[start : start + count])
    assert len(np.unique(truth)) > 20, "an answer that is always the same shows nothing"


def test_two_threads_inside_a_run_change_nothing() -> None:
    content = written(convolution())
    answer = loaded(content, signature("int8"), threads=2).run({"x": PICTURES})["scores"]
    np.testing.assert_array_equal(answer, interpreted(content, PICTURES))


def test_a_fixed_batch_of_one() -> None:
    content = written(convolution(batch=1))
    runner = loaded(content, signature("int8"), batch=1)
    assert runner.max_batch == 1
    answers = [runner.run({"x": PICTURES[i : i + 1]})["scores"] for i in range(5)]
    np.testing.assert_array_equal(np.concatenate(answers), interpreted(content, PICTURES[:5]))


def test_answers_are_nobody_elses_memory() -> None:
    runner = loaded(written(twice()), signature("float32", ("N", 2), ("N", 2)))
    rows = np.array([[1, 2]], dtype=np.float32)
    first = runner.run({"x": rows})["scores"]
    runner.run({"x": rows * 10})
    assert first.tolist() == [[2, 4]]
    first[:] = 7
    assert runner.run({"x": rows})["scores"].tolist() == [[2, 4]]


def test_a_recurrent_state_does_not_go_on_to_the_next_request() -> None:
    content = written(recurrent())
    runner = loaded(content, signature("float32", ("N", 2), ("N", 3)), batch=1)
    rows = DRAW.normal(size=(4, 2)).astype(np.float32)
    truth = interpreted(content, rows)
    for index in (0, 1, 1, 3, 0, 2):
        np.testing.assert_array_equal(runner.run({"x": rows[index : index + 1]})["scores"][0], truth[index])


def test_runs_at_once_get_interpreters_of_their_own_but_no_more_than_four(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    inside, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(4)

    class Counted(litert_native.Interpreter):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            made.append(self)
            super().__init__(**options)

        def invoke(self) -> None:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            if len(PICTURES) == self.get_input_details()[0]["shape"][0]:
                together.wait(30)  # four are inside at the same time, or this fails
            super().invoke()
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(litert_native, "Interpreter", Counted)
    content = written(convolution())
    runner, truth = loaded(content, signature("int8")), interpreted(content, PICTURES)
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: runner.run({"x": PICTURES}), range(16)):
            np.testing.assert_array_equal(answer["scores"], truth)
    assert (len(made), most[0]) == (4, 4)
    runner.rest({"x": PICTURES[:1]})
    np.testing.assert_array_equal(runner.run({"x": PICTURES[:2]})["scores"], truth[:2])
    assert len(made) == 4


def test_memory_is_laid_out_anew_only_when_a_size_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, seen = loaded(written(convolution()), signature("int8")), list[int]()
    real = litert_native.Interpreter.allocate_tensors
    monkeypatch.setattr(litert_native.Interpreter, "allocate_tensors", lambda self: (seen.append(1), real(self))[1])
    for count in (2, 2, 2, 1, 1, 2):
        runner.run({"x": PICTURES[:count]})
    assert len(seen) == 3


def test_a_run_that_fails_is_told_and_forgotten() -> None:
    content = written(convolution())
    runner = loaded(content, signature("int8"))
    with pytest.raises(SetsailError) as caught:
        runner.run({"x": PICTURES[:2, :, :, :1]})  # a channel too few
    assert caught.value.code == "model.run"
    np.testing.assert_array_equal(runner.run({"x": PICTURES[:2]})["scores"], interpreted(content, PICTURES[:2]))


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (b"TFL3", signature("int8")),
        (bytes(4) + b"TFL3" + bytes(40), signature("int8")),
        (written(convolution("uint8")), signature("int8")),
        (written(convolution())[:900], signature("int8")),
    ],
    ids=["four letters", "nothing in it", "another dtype", "cut off"],
)
def test_what_is_no_such_model(content: bytes, made: Signature) -> None:
    with pytest.raises(SetsailError) as caught:
        loaded(content, made)
    assert caught.value.code == "model.failed"


def test_without_the_package_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "setsail.runtime.litert_native", raising=False)
    with pytest.raises(SetsailError, match=r"setsail\[litert\]") as caught:
        loaded(written(convolution()), signature("int8"))
    assert caught.value.code == "dependency.missing"


def test_what_the_runner_imports() -> None:
    """The package's compilers, and what only they need, stay out: images leave them away."""
    line = "import sys, setsail.runtime.litert_native; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout.split()
    unused = {"flatbuffers", "tqdm", "ml_dtypes", "backports", "google", "tensorflow", "onnx", "onnxruntime"}
    assert unused & set(found) == set()
    assert [
        m for m in found if m.startswith("ai_edge_litert.") and m.split(".")[1] in ("aot", "tools", "vendors")
    ] == []
